"""What the engine asks of the place where workflows are kept. `files` is the folder; tests have one in memory.

Two seams: the `CommitLog`, where facts become durable, one commit for all that happened in a round (in a database: one
transaction); and the `Store`, which knows jobs, templates and what became of workflows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from hybrid_engine.model.events import Event
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.template import Template
from hybrid_engine.model.words import Json


class Turn(NamedTuple):
    """What was decided for one workflow in one turn: its events, numbered from `first`."""

    workflow: str
    first: int
    at: Stamp
    events: Sequence[Event]


class CommitLog(Protocol):
    """Where facts become durable. Called from the reactor's thread only."""

    def commit(self, turns: Sequence[Turn], removed: Iterable[str] = ()) -> Sequence[int]:
        """All of it is durable when this returns. On OSError nothing of it is acknowledged, and the same batch must be
        committed again before any other. Workflows in `removed` are gone: nothing that was committed before is made
        again of them. Returns how many bytes the journal of each workflow grew."""

    def checkpoint(self, done: Callable[[BaseException | None], None]) -> None:
        """Make what follows from commits durable in its place, in the background, and drop the log of it."""

    def write_behind(self, seconds: float, min_age: float = 0.0) -> bool:
        """Work for at most so many seconds on what follows from commits and is at least so old (seconds); True when
        something of that age is left."""

    def when_placed(self, workflows: Sequence[str], done: Callable[[], None]) -> None:
        """Call when everybody can see these workflows, which were committed just now, in their places."""

    @property
    def is_dirty(self) -> bool:
        """Is there anything for a checkpoint to do?"""

    @property
    def is_behind(self) -> bool:
        """Is anything committed not in its place yet?"""

    @property
    def size(self) -> int:
        """Bytes that wait for a checkpoint."""


class History(NamedTuple):
    """What was committed of a workflow: (n, at, event), in order.

    Of a long one perhaps only the last part: then `base` is what the events before it add up to, to be folded on, and
    `covered` the last of them."""

    entries: Sequence[tuple[int, Stamp, Event]]
    base: WorkflowState | None = None
    covered: Event | None = None

    @property
    def last(self) -> Event | None:
        """The last event."""
        return self.entries[-1][2] if self.entries else self.covered


class Unfinished(NamedTuple):
    """A job that was found in the queue at a start. `begun` is False when surely nothing but its acceptance is known of
    it, and None when that cannot be told without looking. `hint` is what an earlier view said of it, if any; `size` the
    length of its journal in bytes."""

    name: str
    workflow: str
    begun: bool | None
    hint: dict[str, Any] | None
    size: int | None


class Store(Protocol):
    """Jobs, templates and histories of one home."""

    def unfinished(self) -> Iterator[Unfinished]:
        """All that lies in the queue, in order. What cannot be a job is put aside on the way."""

    def leave_queue(self, name: str) -> None:
        """Take this name out of the queue: its workflow has another one, or is no more."""

    def job(self, workflow: str, name: str | None = None) -> Job:
        """The job as accepted; `name` is that in the queue. Raises JobError."""

    def template(self, version: str, workflow: str) -> Template:
        """The frozen template of this version, of which the workflow may have the last copy. Raises TemplateError."""

    def history(self, workflow: str) -> History | None:
        """What was committed of a workflow; a torn tail is cut (and kept). None when there is nothing.

        Raises JournalError for a damaged one.
        """

    def exists(self, workflow: str) -> bool:
        """Has anything of this workflow been committed? False for one that was removed."""

    def settle(self, workflow: str) -> None:
        """Put what was committed of this workflow in its place now: a process is about to begin there."""

    def write_output(self, workflow: str, step: str, number: int, data: bytes) -> dict[str, Json]:
        """Keep a large output, as JSON, durably; returns the reference that an event may name. Any thread.

        Raises OSError when the disk fails, JobError when it cannot be kept there at all.
        """

    def read_output(self, workflow: str, reference: dict[str, Any]) -> Json:
        """The output that a reference names. Raises InputError when it is gone, or changed."""

    def requeue(self, job: Job) -> None:
        """The workflow goes on again: give it its place in the queue, behind its commit."""

    def finish(self, job: Job, name: str, view: bytes) -> None:
        """The workflow has ended: write its last view and take it out of the queue, behind its commit."""

    def drop_signal(self, workflow: str, name: str) -> None:
        """The signal has been committed; it need not be seen again."""

    def quarantine(self, workflow: str, reason: str, name: str | None) -> None:
        """Put the workflow, and its name in the queue, aside with the reason, untouched."""


class Syncer(Protocol):
    """Does slow, durable work (syncs above all) away from the reactor."""

    def submit(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
        """Do `work` in some thread; then `done(error or None)` in the reactor's thread."""

    @property
    def idle(self) -> bool:
        """Nothing is under way."""
