"""Acceptance: jobs are committed by the driver. All that the intake knows of how that is done.

A batch is out of the way when its jobs are committed; what they came from may leave the inbox when they are in their
places, where everybody can see them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.gate import Gate
from hybrid_engine.model.job import Job
from hybrid_engine.ports.storage import CommitLog

BEHIND = 128
"""While so many files are open whose jobs are committed and not yet in their places, the next batch waits."""


class Acceptance:
    """Nothing is accepted while the gate says that the log is too large."""

    def __init__(self, driver: Driver, log: CommitLog, gate: Gate) -> None:
        self._driver = driver
        self._log = log
        self._gate = gate
        self._under_way: dict[str, Job] = {}
        self._committing = False
        self._behind = 0

    @property
    def is_accepting(self) -> bool:
        """Must the next batch wait?"""
        return self._committing or self._behind >= BEHIND or self._gate.is_shut_for("log")

    @property
    def is_busy(self) -> bool:
        return bool(self._under_way)

    def is_unfinished(self, workflow: str) -> bool:
        return workflow in self._under_way or workflow in self._driver.backlog

    def is_known(self, workflow: str) -> bool:
        return workflow in self._under_way or self._driver.knows(workflow)

    def contradicts(self, job: Job) -> bool:
        """Is the known workflow of this id known to be something else than this job?"""
        known = self._under_way.get(job.id) or self._driver.job(job.id)
        return known is not None and not asks_the_same(known, job)

    def begin(self, job: Job) -> None:
        """The job will be in the next batch."""
        self._under_way[job.id] = job

    def give_up(self, job: Job) -> None:
        """It will not."""
        self._under_way.pop(job.id, None)

    def accept(self, jobs: Sequence[Job], files: int, committed: Callable[[], None], done: Callable[[], None]) -> None:
        """Have them committed: then the next batch may come. When they are in their places, call `done`.

        They come from so many `files`, which stay open until then.
        """
        workflows = [job.id for job in jobs]

        def answered() -> None:
            self._committing = False
            self._behind += files
            self._log.when_placed(workflows, placed)
            committed()

        def placed() -> None:
            self._behind -= files
            for workflow in workflows:
                self._under_way.pop(workflow, None)
            done()

        self._committing = True
        self._driver.accept(jobs, answered)


def asks_the_same(one: Job, other: Job) -> bool:
    """Do two jobs of one id ask for the same? Of another version of the template the defaults may differ."""
    if (one.template, one.user, one.key) != (other.template, other.user, other.key):
        return False
    if one.version != other.version:
        return True
    return (one.params, one.priority, one.labels) == (other.params, other.priority, other.labels)
