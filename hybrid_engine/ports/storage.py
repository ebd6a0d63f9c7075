"""What the engine asks of the place where workflows are kept. `files.store` is the folder; tests have one in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hybrid_engine.model.events import Event
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.template import Template


class Journal(Protocol):
    """An open journal. `n` events are in it, `size` bytes."""

    n: int
    size: int

    def append(self, at: Stamp, events: Sequence[Event]) -> None:
        """Write; durable after `sync`. On OSError nothing of it is in the journal."""

    def sync(self) -> None: ...

    def rewrite(self, keep: int) -> None:
        """After a failed sync: start a new file with the first `keep` bytes, which an earlier sync confirmed."""

    def close(self) -> None: ...


class History(Protocol):
    """A journal as it was found: its entries (n, at, event) and how it can be written on."""

    entries: list[tuple[int, Stamp, Event]]
    journal: Journal


class Store(Protocol):
    """Jobs, templates and journals of one home."""

    def job(self, workflow: str) -> Job: ...

    def template(self, version: str) -> Template: ...

    def new_journal(self, workflow: str) -> Journal:
        """The journal of a workflow that has none yet. Nothing is made on disk before its first append."""

    def history(self, workflow: str) -> History | None:
        """Open a journal for writing on; a torn tail is cut (and kept). None when there is none.

        Raises JournalError for a damaged one.
        """

    def sync_workflow(self, workflow: str) -> None:
        """Make the names in the workflow's folder durable: once, after the journal's first sync."""

    def write_view(self, workflow: str, data: bytes) -> None:
        """Replace `state.json`. Any thread."""

    def requeue(self, job: Job) -> None:
        """Give a workflow that goes on again its durable place in the queue."""

    def finish(self, job: Job, view: bytes) -> None:
        """The last view, durable; then the job leaves the queue. Any thread."""

    def drop_signal(self, workflow: str, name: str) -> None:
        """The signal has been committed; it need not be seen again."""

    def quarantine(self, workflow: str, reason: str) -> None:
        """Put the workflow aside with its reason, untouched."""


class Syncer(Protocol):
    """Does slow, durable work (syncs above all) away from the reactor."""

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Run `work` in some thread; then `done(error or None)` in the reactor's thread."""

    @property
    def idle(self) -> bool:
        """Nothing is under way: a single piece of work may as well be done in place."""


class Index(Protocol):
    """The searchable view of all workflows. Late at worst."""

    def put(self, workflow: str, record: dict[str, Any]) -> None:
        """`record` is that of `state.json`."""
