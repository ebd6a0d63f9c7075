"""The dispatcher: which jobs are due, and which candidates get a slot and their places in pools. No I/O here.

It names who may go next; whether that one still wants to, and what follows, is the driver's business.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from hybrid_engine.engine.run import Run
from hybrid_engine.engine.slots import START, Candidate
from hybrid_engine.engine.work import Work
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.stamps import moment, stamp
from hybrid_engine.model.waits import FOR_A_SLOT, POOL, Wait
from hybrid_engine.ports.reactor import Reactor, Timer

LONGEST_TIMER = 30.0
"""Seconds after which a wall-clock wait is looked at again: the wall clock may have been set meanwhile."""


class Dispatcher:
    """`shown(run)` is called when what a run waits for has changed. `clock` tells the wall-clock time."""

    def __init__(
        self,
        work: Work,
        reactor: Reactor,
        clock: Callable[[], datetime],
        shown: Callable[[Run], None],
    ) -> None:
        self.slots = work.slots
        self.pools = work.pools
        self._backlog = work.backlog
        self._runs = work.runs
        self._reactor = reactor
        self._clock = clock
        self._shown = shown
        self._due_timer: Timer | None = None

    # --- offers

    def offer_start(self, entry: Entry) -> None:
        """This job may start as soon as it is due and a slot is free."""
        if entry.id not in self._backlog or entry.status != "queued":
            return
        if not entry.is_due(stamp(self._clock())):
            self._backlog.postpone(entry)
            self._arm_due_timer()
        else:
            self.slots.offer(Candidate(entry.name, entry.id))
            self._backlog.show(entry, "queued", FOR_A_SLOT)

    def offer_steps(self, run: Run) -> None:
        """The steps that became ready want slots."""
        for step in run.newly_ready:
            if step in run.ready and step not in run.offered:
                run.offered.add(step)
                self.slots.offer(Candidate(run.entry.name, run.id, run.plan.position_of(step), step))
        run.newly_ready.clear()

    def next(self) -> Candidate | None:
        """The first candidate, when a slot is free for it. One that is known to find its pool full waits there."""
        while self.slots.free > 0 and (candidate := self.slots.pop()):
            entry = self._backlog.get(candidate.workflow)
            if entry is None or not self._finds_pool_full(candidate, entry):
                return candidate
            self.park(entry.pool or "", candidate)
        return None

    def _finds_pool_full(self, candidate: Candidate, entry: Entry) -> bool:
        """Is it known of a job that is not in memory that its pool has no place?"""
        if candidate.step != START or candidate.pool or not entry.pool or candidate.workflow in self._runs:
            return False
        if entry.status != "queued":  # paused since it was offered: whoever gets it as a candidate passes it on
            return False
        return self.pools.is_full(entry.pool)

    def pass_on(self, candidate: Candidate) -> None:
        """The candidate did not want the place in the pool that it was chosen for."""
        if candidate.pool:
            self.unpark(self.pools.next(candidate.pool))

    # --- pools

    def park(self, pool: str, candidate: Candidate) -> None:
        """The candidate waits for a place in the pool."""
        self.pools.park(pool, candidate)
        entry, run = self._backlog.get(candidate.workflow), self._runs.get(candidate.workflow)
        if candidate.step != START and run is not None:
            run.offered.add(candidate.step)
            run.parked[candidate.step] = pool
            self._shown(run)
        elif entry is not None:
            self._backlog.show(entry, "queued", Wait(POOL, pool))

    def enter_of_workflow(self, run: Run) -> str | None:
        """Take the workflow's place in its template's pool; the name of the pool when it has none."""
        pool = run.plan.template.concurrency
        if pool is None or run.pool is not None:
            return None
        if not self.pools.enter(pool.pool, pool.limit, run.id):
            return pool.pool
        run.pool = pool.pool
        for candidate in self.pools.companions(pool.pool, run.id):
            self.unpark(candidate)
        return None

    def enter(self, run: Run, step: str) -> str | None:
        """Take the places that an attempt of this step needs; the name of a pool that has none."""
        full = self.enter_of_workflow(run)
        if full is not None:
            return full
        pool = run.plan.definition(step).concurrency
        if pool is None:
            return None
        return None if self.pools.enter(pool.pool, pool.limit, f"{run.id}/{step}") else pool.pool

    def release(self, run: Run) -> None:
        """Attempts of the run are over: their slots and places are free."""
        self.slots.used = max(0, self.slots.used - run.freed)
        ended, run.freed, run.ended = run.ended, 0, []
        for step in ended:
            pool = run.plan.definition(step).concurrency
            if pool is not None:
                self.unpark(self.pools.leave(pool.pool, f"{run.id}/{step}"))

    def leave_all(self, run: Run) -> None:
        """The workflow is over, or cannot go on: every slot and place that it holds is free."""
        run.ended += (name for name, step in run.state.steps.items() if step.status == "running")
        run.freed = len(run.ended)
        self.release(run)
        if run.pool is not None:
            pool, run.pool = run.pool, None
            self.unpark(self.pools.leave(pool, run.id))

    def take_over(self, run: Run, step: str) -> None:
        """After a restart: an attempt of this step is under way, whatever the limits say today."""
        self.slots.used += 1
        pool = run.plan.definition(step).concurrency
        if pool is not None:
            self.pools.force(pool.pool, pool.limit, f"{run.id}/{step}")

    def unpark(self, candidate: Candidate | None) -> None:
        """There is a place for this candidate: now it waits for a slot."""
        if candidate is None:
            return
        self.slots.offer(candidate)
        entry, run = self._backlog.get(candidate.workflow), self._runs.get(candidate.workflow)
        if run is not None and candidate.step != START:
            run.parked.pop(candidate.step, None)
            self._shown(run)
        elif entry is not None and entry.status == "queued":
            self._backlog.show(entry, "queued", FOR_A_SLOT)

    # --- due times

    def _arm_due_timer(self) -> None:
        """Wake up when the next postponed job is due, and look at the wall clock every half minute until then."""
        due = self._backlog.next_due()
        if due is None:
            return
        if self._due_timer is not None:
            self._due_timer.cancel()
        seconds = (moment(due) - self._clock()).total_seconds()
        self._due_timer = self._reactor.call_later(max(0.0, min(seconds, LONGEST_TIMER)), self._check_due)

    def _check_due(self) -> None:
        self._due_timer = None
        for entry in self._backlog.pop_due(stamp(self._clock())):
            self.offer_start(entry)
        self._arm_due_timer()
