"""What the engine asks of the place where workflows are kept. `files.store` is the folder; tests have one in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

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


class History(NamedTuple):
    """A journal as it was found: its entries (n, at, event) and how it can be written on."""

    entries: Sequence[tuple[int, Stamp, Event]]
    journal: Journal


class Unfinished(NamedTuple):
    """A job that was found in the queue at a start. `hint` is what an earlier view said of it, if any."""

    name: str
    workflow: str
    has_journal: bool
    hint: dict[str, Any] | None


class Store(Protocol):
    """Jobs, templates and journals of one home."""

    def unfinished(self) -> Iterator[Unfinished]:
        """All that lies in the queue, in order. What cannot be a job is put aside on the way."""

    def forget(self, found: Unfinished) -> None:
        """The job is in the queue under another name, too: an acceptance was cut short and made again."""

    def restore(self, found: Unfinished) -> Job:
        """The job of a queue file; its folder is made from it when a crash came between the two.

        Raises JobError when the file cannot be a job.
        """

    def job(self, workflow: str, name: str | None = None) -> Job:
        """`name` is that in the queue: what is missing of the workflow's folder is made again from that file."""

    def template(self, version: str, workflow: str) -> Template:
        """The frozen template of this version, of which the workflow may have the last copy. Raises TemplateError."""

    def new_journal(self, workflow: str) -> Journal:
        """The journal of a workflow that has none yet. Nothing is made on disk before its first append."""

    def history(self, workflow: str) -> History | None:
        """Open a journal for writing on; a torn tail is cut (and kept). None when there is none.

        Raises JournalError for a damaged one.
        """

    def sync_workflow(self, workflow: str) -> None:
        """Make the names in the workflow's folder durable: once, after the journal's first sync."""

    def requeue(self, job: Job) -> str:
        """Give a workflow that goes on again its durable place in the queue; returns its name there."""

    def finish(self, job: Job, name: str, view: bytes) -> None:
        """The last view, durable; then the job leaves the queue. Any thread."""

    def drop_signal(self, workflow: str, name: str) -> None:
        """The signal has been committed; it need not be seen again."""

    def quarantine(self, workflow: str, reason: str, name: str) -> None:
        """Put the workflow, and its file in the queue, aside with the reason, untouched."""


class Syncer(Protocol):
    """Does slow, durable work (syncs above all) away from the reactor."""

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Do `work` in some thread; then `done(error or None)` in the reactor's thread."""

    @property
    def idle(self) -> bool:
        """Nothing is under way: a single piece of work may as well be done in place."""
