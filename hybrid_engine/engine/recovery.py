"""Recovery: what a start makes of what it finds. See the table in docs/internals.md.

It reads, folds and decides; nothing here assumes how the last engine ended, and running it twice gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.run import Entry, Run
from hybrid_engine.errors import HybridError, IllegalTransitionError, JournalError, NewerJournalError
from hybrid_engine.model.events import StepReopened, WorkflowReopened
from hybrid_engine.model.ids import ANONYMOUS, parse_queue_name, queue_name
from hybrid_engine.model.job import Job
from hybrid_engine.ports.storage import History, Store, Unfinished
from hybrid_engine.rules.transitions import fold


@dataclass(slots=True)
class Report:
    """What was found."""

    waiting: list[str] = field(default_factory=list)
    under_way: int = 0
    finished: int = 0
    put_aside: list[str] = field(default_factory=list)


class Recovery:
    """`said(workflow, reason)` hears of what was put aside."""

    def __init__(self, store: Store, driver: Driver, said: Callable[[str, str], None]) -> None:
        self._store = store
        self._driver = driver
        self._said = said
        self._later: list[Unfinished] = []

    def run(self) -> Report:
        """Take up everything in the queue."""
        report = Report()
        for found in self._store.unfinished():
            if found.workflow in self._driver.backlog:
                self._store.forget(found)
            else:
                self._try(found, report)
        self._driver.take_places()
        return report

    def again(self) -> None:
        """Take up what the disk did not let us take up before."""
        later, self._later = self._later, []
        for found in later:
            self._try(found, Report())
        if later:
            self._driver.take_places()

    def _try(self, found: Unfinished, report: Report) -> None:
        try:
            self._take_up_or_put_aside(found, report)
        except OSError as error:
            self._later.append(found)
            self._driver.put_off(self._entry(found), error)

    def _take_up_or_put_aside(self, found: Unfinished, report: Report) -> None:
        try:
            self._take_up(found, report)
        except NewerJournalError as error:
            # Sound, and right for the version that wrote it: left as it is for that one.
            self._driver.hold(self._entry(found), error)
        except (HybridError, RecursionError, UnicodeError) as error:
            self._put_aside(found, str(error))
            report.put_aside.append(found.workflow)

    def _take_up(self, found: Unfinished, report: Report) -> None:
        history = self._store.history(found.workflow) if found.has_journal else None
        if history is None:
            self._driver.admit(_entry_of_hint(found) or Entry.of(self._store.restore(found)))
            report.waiting.append(found.workflow)
            return
        run = self.load(found.workflow, self._store.restore(found), history)
        if run.state.is_final:
            report.finished += 1
            self._driver.finish_again(run)
        else:
            report.under_way += 1
            self._driver.resume_run(run, torn_retry=isinstance(history.entries[-1][2], WorkflowReopened | StepReopened))

    def load(self, workflow: str, job: Job, history: History) -> Run:
        """The run of a journal: what its events add up to. Raises JournalError when they do not."""
        try:
            state = fold(history.entries)
        except IllegalTransitionError as error:
            raise JournalError(f"the journal of {workflow} tells an impossible story: {error}") from None
        if state is None or state.id != workflow:
            raise JournalError(f"the journal of {workflow} is that of another workflow")
        plan = self._driver.loader.plan(state.version, workflow)
        return Run(job, Entry.of(job), plan, state, history.journal, is_new=False)

    def reopen(self, workflow: str) -> Run | None:
        """A finished workflow that somebody wants to go on, with its place in the queue; None when it cannot."""
        history = self._store.history(workflow)
        if history is None:
            return None
        run = self.load(workflow, self._store.job(workflow), history)
        if run.state.status in ("failed", "cancelled"):
            self._store.requeue(run.job)
        return run

    def _entry(self, found: Unfinished) -> Entry:
        """The entry of a job that is not taken up, from whatever can be read of it."""
        try:
            return _entry_of_hint(found) or Entry.of(self._store.restore(found))
        except (HybridError, OSError):
            priority = (parse_queue_name(found.name) or (0,))[0]
            return Entry(found.name, found.workflow, "", priority, "", "", ANONYMOUS, None)

    def _put_aside(self, found: Unfinished, reason: str) -> None:
        self._store.quarantine(found.workflow, reason, found.name)
        self._said(found.workflow, reason)


def _entry_of_hint(found: Unfinished) -> Entry | None:
    """The entry of a job that has not started, from an earlier view: saves reading its file."""
    hint = found.hint
    if hint is None:
        return None
    try:
        entry = Entry(
            found.name, found.workflow, hint["template"], hint["priority"], hint["due_at"], hint["queued_at"],
            hint["user"], hint["labels"],
        )  # fmt: skip
        # A view is not trusted with more than looks: what decides when the job starts must be what its name says.
        return entry if queue_name(entry.priority, entry.due_at, entry.id) == found.name else None
    except (KeyError, TypeError, AttributeError):
        return None
