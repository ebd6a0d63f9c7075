"""Arrivals: jobs that were asked for and are not committed yet, and how workflows come into memory.

A job that can start at once is committed as accepted and as started in one batch; one that must wait is committed
alone, and its run is made when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from hybrid_engine.engine import turn
from hybrid_engine.engine.loader import Loader
from hybrid_engine.engine.run import Run
from hybrid_engine.engine.work import Work
from hybrid_engine.errors import HybridError
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.job import Job
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.stamps import Stamp

BATCH = 1_000
"""So many jobs are committed together at the most."""

Answer = Callable[[], None]


class Arrivals:
    """`waiting` holds what is to be committed as accepted, in order."""

    def __init__(self, work: Work, loader: Loader) -> None:
        self.waiting: dict[str, tuple[Entry, Job]] = {}
        self._work = work
        self._loader = loader
        self._answers: list[Answer] = []

    def __len__(self) -> int:
        return len(self.waiting) + len(self._answers)

    def add(self, jobs: Sequence[Job], done: Answer) -> list[Entry]:
        """These jobs were asked for; `done` is to be called when all of them are committed."""
        entries = [Entry.of(job) for job in jobs]
        for entry, job in zip(entries, jobs, strict=True):
            self.waiting[job.id] = entry, job
            self._work.backlog.add(entry)
            self.know_pool(entry, job)
        self._answers.append(done)
        return entries

    def answer(self, done: Answer) -> None:
        """Call this after the next commit."""
        self._answers.append(done)

    def take(self) -> tuple[list[tuple[Entry, Job]], list[Answer]]:
        """What is to be committed now, and who is to be answered then."""
        taken = dict(islice(self.waiting.items(), BATCH))
        for workflow in taken:
            del self.waiting[workflow]
        answers: list[Answer] = []
        if not self.waiting:
            answers, self._answers = self._answers, []
        return list(taken.values()), answers

    def forget(self, workflow: str) -> None:
        self.waiting.pop(workflow, None)

    def know_pool(self, entry: Entry, job: Job) -> None:
        """Which pool the job will want, so that it need not be loaded to find that one full."""
        try:
            entry.pool = _pool_of(self._loader.plan(job.version, job.id).template.concurrency)
        except (HybridError, OSError):
            pass  # it is told when the job is to begin

    # --- into memory

    def open(self, entry: Entry, at: Stamp) -> Run:
        """The run of a job that has not begun; its first event is in it when that is not committed yet."""
        found = self.waiting.get(entry.id)
        run = self._loader.begin(entry, at, found[1] if found else None)
        self.forget(entry.id)
        entry.pool = _pool_of(run.plan.template.concurrency)
        self._work.runs[entry.id] = run
        return run

    def put_back(self, run: Run) -> None:
        """It was opened only to see that its pool is full."""
        del self._work.runs[run.id]
        self._loader.remember(run.job)

    def open_for_signal(self, workflow: str, signal: Signal, at: Stamp) -> Run | None:
        """The run that a signal is for; None when there is nothing that it could change."""
        entry = self._work.backlog.get(workflow)
        if entry is not None and (workflow in self.waiting or (entry.status == "queued" and entry.size is not None)):
            return self.open(entry, at)
        if entry is None and signal.verb != "retry":
            return None
        run = self._loader.load(workflow, entry)
        if run is None or (entry is not None and run.state.is_final):
            return None
        if entry is None and not turn.may_retry(run.state, signal):
            return None
        run.has_left = run.state.is_final
        self._work.runs[workflow] = run
        self._work.backlog.add(run.entry)
        return run


def _pool_of(concurrency: object) -> str | None:
    return getattr(concurrency, "pool", None)
