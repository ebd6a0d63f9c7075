"""All ways to look at a home: one workflow, many, what a job waits for, logs, and waiting for an end.

Works the same with an engine at work and without; nothing is written and nobody is asked. The answer to "why does it
not run?" is in `engine.reasons`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from hybrid_engine.engine.listing import PAGE, listed
from hybrid_engine.engine.reasons import Reasons, last_request
from hybrid_engine.errors import HybridError, InputError, JobError, NotFoundError
from hybrid_engine.model.ids import is_id
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.words import FINAL_WORKFLOW
from hybrid_engine.ports.looking import LogFile, Looking, Record, Row, Rows
from hybrid_engine.rules.shortids import ending, meant, shorten

SHORTEST_PART = 4
"""Characters of an id that are enough to ask for it, when they are its beginning or its end."""
CANDIDATES = 5
"""So many ids are told when a part of one is not enough."""
FEW = 8
"""So many awaited workflows are looked at one by one; more are first held against the list of unfinished jobs."""
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.25
PAUSE_PER_COST = 10.0
"""Waiting for thousands may take this small a share of a core."""


class Queries:
    """`rows` opens the index, or gives None when there is none that can be read."""

    def __init__(
        self,
        home: Looking,
        rows: Callable[[], Rows | None],
        now: Callable[[], Stamp],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.home = home
        self._rows = rows
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep

    # --- one workflow

    def resolve(self, text: str) -> str:
        """The id that `text` is, or is a part of (`rules.shortids`). Raises NotFoundError; InputError for several."""
        if is_id(text) and (self.home.status(text) or self.home.dropped(text) or self.home.record(text)):
            return text
        if not is_id(text.strip("-.")):
            raise NotFoundError(f"no workflow {text!r:.140}")
        found = self._meant(text) if len(text) >= SHORTEST_PART else []
        if len(found) > 1:
            told = [*found[:CANDIDATES], *["…"] * (len(found) > CANDIDATES)]
            raise InputError("\n  ".join([f"{text!r} is part of several ids:", *told]), code="ambiguous")
        if found:
            return found[0]
        reason = self.home.rejected(text) if is_id(text) else None
        if reason is not None:
            raise JobError(f"{text} was rejected: {reason}", code="rejected")
        reason = self.home.quarantined(text) if is_id(text) else None
        if reason is not None:
            raise NotFoundError(f"{text} is in quarantine: {reason}")
        raise NotFoundError(f"no workflow {text}")

    def _meant(self, part: str) -> list[str]:
        """The ids that a part of one may mean, one more than are told; from the index where nothing can be missing."""
        most = CANDIDATES + 1
        known = self._from_index(lambda rows: rows.meant(part, most))
        if known is not None:
            late = () if self.home.engine() is not None else self.home.in_flight()
            found = meant((*known, *late), part, most)
            if found:
                return found
        return meant(self.home.ids(), part, most)

    def _from_index(self, question: Callable[[Rows], list[str]]) -> list[str] | None:
        """The answer of the index, when it has every workflow but those in flight; else, or when it fails, None."""
        rows = self._rows()
        if rows is None:
            return None
        try:
            whole = rows.complete and (rows.clean or self.home.engine() is not None)
            return question(rows) if whole else None
        except HybridError:
            return None  # a damaged index: the folders have the ids, too
        finally:
            rows.close()

    def short_ids(self, ids: Iterable[str]) -> dict[str, str]:
        """The short form of each id: what every command takes for it."""
        wanted = list(ids)
        if not wanted:
            return {}
        known = self._from_index(lambda rows: rows.alike({ending(workflow) for workflow in wanted}))
        return shorten(wanted, self.home.ids() if known is None else known)

    def get(self, workflow: str) -> Record:
        """The record of a workflow, as in `state.json` but never late. Raises NotFoundError, JournalError."""
        workflow = self.resolve(workflow)
        record = self.home.record(workflow)
        if record is None:
            # Not accepted yet, or accepted between the two looks.
            request = self.home.dropped(workflow)
            record = _dropped_record(request) if request is not None else self.home.record(workflow)
        if record is None:
            raise NotFoundError(f"no workflow {workflow}")
        return record

    def why(self, workflow: str) -> str:
        """In one line: what the workflow waits for, or how it ended."""
        return Reasons(self.home, self._now()).of(self.get(workflow))

    def last_request(self, workflow: str, type_: str) -> dict[str, Any] | None:
        """As `engine.reasons.last_request`."""
        return last_request(self.home, workflow, type_)

    # --- many

    def page(
        self,
        *,
        status: Collection[str] | None = None,
        template: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        user: str | None = None,
        key: str | None = None,
        since: Stamp | None = None,
        until: Stamp | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[Row]:
        """Workflows that fit all filters, newest first; go on behind the last one with `after=row["cursor"]`.

        An engine keeps the index; while none runs, what it may lack is looked up in the folders.
        """
        found = self.each(
            status=status, template=template, labels=labels, user=user, key=key,
            since=since, until=until, after=after, page=limit,
        )  # fmt: skip
        return list(islice(found, limit))

    def each(
        self,
        *,
        status: Collection[str] | None = None,
        template: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        user: str | None = None,
        key: str | None = None,
        since: Stamp | None = None,
        until: Stamp | None = None,
        after: str | None = None,
        page: int = PAGE,
    ) -> Iterator[Row]:
        """As `page`, one by one and to the end; the index is asked for so many at a time."""
        if after is not None and not after.rpartition("~")[2].isdigit():
            raise InputError(f"{after!r:.80} is not a cursor", code="bad_cursor")
        filters = {"template": template, "user": user, "key": key, "since": since, "until": until}
        return self._each({**filters, "status": sorted(status) if status else None, "label": labels}, after, page)

    def _each(self, filters: dict[str, Any], after: str | None, page: int) -> Iterator[Row]:
        rows = self._rows()
        try:
            late = self.home.unindexed(rows) if rows is None or self.home.engine() is None else []
            yield from listed(rows, late, filters, after, page)
        finally:
            if rows is not None:
                rows.close()

    def counts(self) -> dict[str, int]:
        """How many workflows the index knows in each status."""
        rows = self._rows()
        if rows is None:
            return {}
        try:
            return rows.counts()
        finally:
            rows.close()

    # --- logs

    def logs(self, workflow: str, step: str | None = None, attempt: int | None = None) -> list[LogFile]:
        """The log files of a step's attempt (the latest), or of all steps that have begun. Raises NotFoundError."""
        record = self.get(workflow)
        steps: dict[str, Any] = record["steps"]
        if step is not None and step not in steps:
            raise NotFoundError(f"{record['id']} has no step {step!r:.70}: it has {', '.join(list(steps)[:20])}")
        begun = [step] if step else sorted((n for n in steps if steps[n]["attempt"]), key=lambda n: _began(steps[n]))
        files: list[LogFile] = []
        for name in begun:
            number = attempt or steps[name]["attempt"]
            if number > steps[name]["attempt"]:
                raise NotFoundError(f"step {name} of {record['id']} has had {steps[name]['attempt']} attempts")
            if number:
                files += self.home.log_files(record["id"], name, number)
        return files

    # --- waiting

    def wait(
        self,
        ids: Iterable[str],
        timeout: float | None = None,
        watch: Callable[[list[str]], object] | None = None,
    ) -> dict[str, str]:
        """The final status of each workflow, once all have one ("rejected" for a job that was not accepted).

        After `timeout` seconds those that have none yet are left out. `watch` is told before every pause which are
        still waited for. Raises NotFoundError for an id that nobody knows.
        """
        found: dict[str, str] = {}
        waiting = list(dict.fromkeys(ids))
        deadline = None if timeout is None else self._monotonic() + timeout
        pause = FIRST_PAUSE
        while True:
            began = self._monotonic()
            waiting = self._look(waiting, found)
            now = self._monotonic()
            if not waiting or (deadline is not None and now >= deadline):
                return found
            if watch is not None:
                watch(waiting)
            rest = max(pause, (now - began) * PAUSE_PER_COST)
            self._sleep(rest if deadline is None else min(rest, deadline - now))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _look(self, waiting: list[str], found: dict[str, str]) -> list[str]:
        """Take the final statuses of those that have one; returns the others."""
        few = len(waiting) <= FEW
        flying: Collection[str] = () if few else self.home.in_flight()
        left = []
        for workflow in waiting:
            status = None if workflow in flying else self._final(workflow)
            if status is None:
                left.append(workflow)
            else:
                found[workflow] = status
        return left

    def _final(self, workflow: str) -> str | None:
        status = self.home.status(workflow)
        if status is not None:
            return status if status in FINAL_WORKFLOW else None
        if self.home.dropped(workflow) is not None:
            return None
        record = self.home.record(workflow)
        if record is not None:
            return str(record["status"]) if record["status"] in FINAL_WORKFLOW else None
        if self.home.rejected(workflow) is not None:
            return "rejected"
        raise NotFoundError(f"no workflow {workflow}")


def _began(step: Mapping[str, Any]) -> str:
    return str(step.get("started_at") or "")


def _dropped_record(request: Record) -> Record:
    """What can be said of a job that lies in the inbox: queued, but nobody has accepted it yet."""
    record: Record = {
        "id": request["id"],
        "template": request.get("template"),
        "status": "queued",
        "accepted": False,
        "seq": 0,
        "priority": request.get("priority") or 0,
        "user": request.get("user"),
        "trigger": request.get("trigger"),
        "key": request.get("key"),
        "params": request.get("params") or {},
        "labels": request.get("labels") or {},
        "steps": {},
        "progress": {"done": 0, "total": 0, "percent": 0},
    }
    return {**dict.fromkeys(("version", "queued_at", "due_at", "started_at", "ended_at", "error")), **record}
