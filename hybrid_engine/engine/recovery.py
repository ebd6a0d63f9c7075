"""Recovery: what a start makes of what it finds. See the table in docs/internals.md.

It reads, folds and decides; nothing here assumes how the last engine ended, and running it twice gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hybrid_engine.engine.driver import Driver
from hybrid_engine.errors import HybridError, JournalError, NewerJournalError
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.events import StepReopened, WorkflowReopened
from hybrid_engine.model.ids import ANONYMOUS, parse_queue_name, queue_name
from hybrid_engine.ports.storage import Store, Unfinished


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
                self._store.leave_queue(found.name)
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
        except Exception as error:  # whatever is wrong with one workflow, it is put aside and the others go on
            if isinstance(error, OSError) and error.errno is not None:
                raise
            self._put_aside(found, str(error) or repr(error))
            report.put_aside.append(found.workflow)

    def _take_up(self, found: Unfinished, report: Report) -> None:
        entry = _entry_of_hint(found)
        if found.begun is False and entry is not None:
            entry.size = found.size
            self._driver.admit(entry)
            report.waiting.append(found.workflow)
            return
        history = self._store.history(found.workflow)
        if history is None:  # of a home of format 1: accepted, and no journal yet
            job = self._store.job(found.workflow, found.name)
            self._driver.accept([job])
            report.waiting.append(found.workflow)
            return
        run = self._driver.loader.run_of(found.workflow, history)
        if run.entry.name != found.name:
            if run.state.is_final:
                self._store.leave_queue(found.name)
                return
            raise JournalError(f"its name in the queue, {found.name}, is not that of the workflow")
        if run.state.is_final:
            report.finished += 1
            self._driver.finish_again(run)
        elif run.state.seq == 1:
            run.entry.size = found.size
            self._driver.admit(run.entry, run.job)
            report.waiting.append(found.workflow)
        else:
            report.under_way += 1
            self._driver.resume_run(run, torn_retry=isinstance(history.last, WorkflowReopened | StepReopened))

    def _entry(self, found: Unfinished) -> Entry:
        """The entry of a job that is not taken up, from whatever can be read of it."""
        try:
            return _entry_of_hint(found) or Entry.of(self._store.job(found.workflow, found.name))
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
