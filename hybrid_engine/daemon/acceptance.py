"""Acceptance: jobs become durable, then the driver has them. All that the intake knows of how that is done.

A single job on a quiet engine is done in place; a batch goes through the sync threads in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.run import Entry
from hybrid_engine.model.job import Job
from hybrid_engine.ports.intake import Acceptor, Inbox
from hybrid_engine.ports.storage import Syncer

LANES = 4
"""Into so many pieces a batch is cut for the sync threads."""

Done = Callable[[BaseException | None], None]


class Acceptance:
    """`queued` hears of every job that the driver has got."""

    def __init__(
        self, acceptor: Acceptor, inbox: Inbox[Any], driver: Driver, syncer: Syncer, queued: Callable[[Job], None]
    ) -> None:
        self._acceptor = acceptor
        self._inbox = inbox
        self._driver = driver
        self._syncer = syncer
        self._queued = queued
        self._under_way: dict[str, Job] = {}
        self.is_accepting = False

    @property
    def is_busy(self) -> bool:
        return bool(self._under_way)

    def is_unfinished(self, workflow: str) -> bool:
        return workflow in self._under_way or workflow in self._driver.backlog

    def is_known(self, workflow: str) -> bool:
        return self.is_unfinished(workflow) or self._inbox.is_done(workflow)

    def contradicts(self, job: Job) -> bool:
        """Is the known workflow of this id known to be something else than this job?"""
        known = self._under_way.get(job.id) or self._inbox.accepted(job.id)
        return known is not None and not asks_the_same(known, job)

    def begin(self, job: Job) -> None:
        """The job will be in the next batch."""
        self._under_way[job.id] = job

    def give_up(self, job: Job) -> None:
        """It will not."""
        self._under_way.pop(job.id, None)

    def accept(self, jobs: Sequence[Job], done: Done) -> None:
        """Make them durable and hand them on; then, or when that fails, call `done`."""
        batch = list(jobs)
        self.is_accepting = True
        if len(batch) == 1 and self._syncer.idle:
            try:
                self._acceptor.lay(batch)
                self._acceptor.announce(batch)
            except OSError as error:
                self._end(batch, done, error)
                return
            self._end(batch, done, None)
            return
        self._lay(batch, lambda error: self._announce(batch, done, error))

    def _lay(self, batch: list[Job], laid: Done) -> None:
        lanes = [lane for number in range(LANES) if (lane := batch[number::LANES])]
        waiting = len(lanes)
        failed: list[BaseException] = []

        def one_laid(error: BaseException | None) -> None:
            nonlocal waiting
            waiting -= 1
            if error is not None:
                failed.append(error)
            if not waiting:
                laid(failed[0] if failed else None)

        for lane in lanes:
            self._syncer.submit(partial(self._acceptor.lay, lane), one_laid)

    def _announce(self, batch: list[Job], done: Done, error: BaseException | None) -> None:
        if error is not None:
            self._end(batch, done, error)
            return
        self._syncer.submit(partial(self._acceptor.announce, batch), partial(self._end, batch, done))

    def _end(self, batch: list[Job], done: Done, error: BaseException | None) -> None:
        self.is_accepting = False
        for job in batch:
            self._under_way.pop(job.id, None)
            if error is None:
                self._driver.admit(Entry.of(job), job)
                self._queued(job)
        done(error)


def asks_the_same(one: Job, other: Job) -> bool:
    """Do two jobs of one id ask for the same? Of another version of the template the defaults may differ."""
    if (one.template, one.user, one.key) != (other.template, other.user, other.key):
        return False
    if one.version != other.version:
        return True
    return (one.params, one.priority, one.labels) == (other.params, other.priority, other.labels)
