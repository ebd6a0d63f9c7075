"""Slots and pools: who may run now. Order: priority, then due time, then arrival – the order of names in `queue/`.

One heap of candidates: jobs not yet started and steps whose needs are met. A candidate whose pool is full is moved to
that pool's own heap and returns when a place is free, so nothing is looked at twice. No I/O here.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import NamedTuple

START = ""
"""The `step` of a candidate that is a job not yet started."""


class Candidate(NamedTuple):
    """Who wants a slot. Compared field by field: the job's rank, then a step's position in its template.

    `pool` is the one in which it waited: it was chosen for a free place there, and who does not take it passes it on.
    """

    rank: str
    workflow: str
    position: int = -1
    step: str = START
    pool: str = ""


class Slots:
    """`limit` attempts at once; `used` counts those that are under way, or begin with the commit at hand."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._candidates: list[Candidate] = []

    @property
    def free(self) -> int:
        return self.limit - self.used

    def offer(self, candidate: Candidate) -> None:
        """This job may start, or this step may begin an attempt."""
        heapq.heappush(self._candidates, candidate)

    def pop(self) -> Candidate | None:
        """The first in order, or None."""
        return heapq.heappop(self._candidates) if self._candidates else None

    def peek(self) -> Candidate | None:
        return self._candidates[0] if self._candidates else None

    def __len__(self) -> int:
        return len(self._candidates)


class Pools:
    """Named limits. A holder is a workflow id (for a template's pool) or an attempt's `<workflow>/<step>`."""

    def __init__(self) -> None:
        self.holders: dict[str, dict[str, None]] = defaultdict(dict)
        self._limits: dict[str, int] = {}
        self._parked: dict[str, list[Candidate]] = defaultdict(list)
        self._steps: dict[tuple[str, str], set[Candidate]] = {}

    def enter(self, pool: str, limit: int, holder: str) -> bool:
        """Take a place; False when the pool is full."""
        holders = self.holders[pool]
        self._limits[pool] = limit
        if holder not in holders and len(holders) >= limit:
            return False
        holders[holder] = None
        return True

    def is_full(self, pool: str) -> bool:
        """Has this pool no free place, as far as its last visitor knew its limit?"""
        return len(self.holders[pool]) >= self._limits.get(pool, 1 << 62)

    def force(self, pool: str, limit: int, holder: str) -> None:
        """After a restart: this holder is in, whatever the limit says today."""
        self._limits[pool] = limit
        self.holders[pool][holder] = None

    def park(self, pool: str, candidate: Candidate) -> None:
        """Wait for a place."""
        candidate = candidate._replace(pool=pool)
        heapq.heappush(self._parked[pool], candidate)
        if candidate.step != START:
            self._steps.setdefault((pool, candidate.workflow), set()).add(candidate)

    def leave(self, pool: str, holder: str) -> Candidate | None:
        """Give the place back; returns the first who waits for one."""
        if self.holders[pool].pop(holder, self) is self:
            return None
        return self.next(pool)

    def next(self, pool: str) -> Candidate | None:
        """The first who waits for a place, because one is free that its finder did not want."""
        parked = self._parked[pool]
        while parked:
            candidate = heapq.heappop(parked)
            if candidate.step == START or self._take(pool, candidate):
                return candidate
        return None

    def companions(self, pool: str, workflow: str) -> list[Candidate]:
        """All steps of a workflow that wait for a place, because the workflow has one now."""
        return sorted(self._steps.pop((pool, workflow), ()))

    def _take(self, pool: str, candidate: Candidate) -> bool:
        """False for one that went on as a companion; its entry in the heap is void."""
        waiting = self._steps.get((pool, candidate.workflow))
        if waiting is None or candidate not in waiting:
            return False
        waiting.discard(candidate)
        if not waiting:
            del self._steps[(pool, candidate.workflow)]
        return True
