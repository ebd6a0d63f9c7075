"""The recorder: the one place where facts become durable. One commit for all that was decided in a round.

When the disk fails, nothing is acknowledged and nothing is lost: the batch stays as it is and is committed again,
before anything else is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybrid_engine.engine import turn
from hybrid_engine.engine.run import Run
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.job import Job
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import CommitLog, Turn

RETRY_FIRST = 0.25
RETRY_MOST = 5.0

Accepted = Sequence[tuple[Entry, Job]]
Answers = Sequence[Callable[[], None]]


class Recorder:
    """`committed(runs, accepted, answers)` is called when a batch is durable; `trouble` when the disk fails, or works
    again; `broken` of a workflow whose facts cannot be written down."""

    def __init__(
        self,
        log: CommitLog,
        reactor: Reactor,
        committed: Callable[[Sequence[Run], Accepted, Answers], None],
        trouble: Callable[[BaseException | None], None],
        broken: Callable[[Run, BaseException], None],
    ) -> None:
        self.commits = 0
        self.failing = False
        self._log = log
        self._reactor = reactor
        self._committed = committed
        self._trouble = trouble
        self._broken = broken
        self._delay = RETRY_FIRST

    def commit(self, runs: list[Run], accepted: Accepted, removed: Sequence[str], answers: Answers) -> None:
        """Make all of it durable, now or as soon as the disk works."""
        turns = [Turn(entry.id, 1, job.queued_at, [turn.created_event(job)]) for entry, job in accepted]
        for run in runs:
            turns += run.turns()
        try:
            sizes = self._log.commit(turns, removed) if turns or removed else ()
        except OSError as error:
            self.failing = True
            self._trouble(error)
            self._reactor.call_later(self._delay, lambda: self.commit(runs, accepted, removed, answers))
            self._delay = min(RETRY_MOST, self._delay * 2)
            return
        except Exception as error:  # something in it cannot be written as JSON
            self._one_by_one(runs, accepted, removed, answers, error)
            return
        was_failing, self.failing, self._delay = self.failing, False, RETRY_FIRST
        self.commits += 1
        for (entry, _), size in zip(accepted, sizes, strict=False):
            entry.size = size
        for run in runs:
            run.events = []
        if was_failing:
            self._trouble(None)
        self._committed(runs, accepted, answers)

    def _one_by_one(
        self,
        runs: list[Run],
        accepted: Accepted,
        removed: Sequence[str],
        answers: Answers,
        error: Exception,
    ) -> None:
        """Find out whose facts cannot be written down; the others must not wait for it."""
        if len(runs) == 1 and not accepted and not removed:
            self._broken(runs[0], error)
        elif not runs:
            raise error
        else:
            for run in runs:
                self.commit([run], (), (), ())
            self.commit([], accepted, removed, answers)
