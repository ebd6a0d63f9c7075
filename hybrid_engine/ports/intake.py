"""Where jobs and signals come from, as the intake sees it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from hybrid_engine.errors import InputError
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import Stamp

Mark = tuple[int, int, int]
"""Inode, size and time of the last change: what differs between two looks at a file that is being written."""


@dataclass(slots=True, frozen=True)
class Found:
    """A file in the inbox, as it was when it was looked at."""

    name: str
    size: int
    mtime_ns: int
    inode: int

    @property
    def mark(self) -> Mark:
        return (self.inode, self.size, self.mtime_ns)


@dataclass(slots=True)
class Look:
    """What lies in the inbox: files, oldest first; workflows whose bell was rung; folders, which nobody takes."""

    found: list[Found] = field(default_factory=list)
    bells: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Parsed:
    """One job of a file, or why it cannot be one.

    `is_own`: the file was written by one of our own programs, which gave the job its id. `is_terminated` is False for
    the last line of a file that does not end there: more of it may come.
    """

    line: int | None
    job: Job | None
    error: InputError | None
    data: bytes
    is_own: bool = False
    has_key: bool = False
    is_terminated: bool = True


class Opened(Protocol):
    """A file of the inbox that is being taken, from the first look at its content until it has left.

    `has_writer`: is somebody still writing it? None when that cannot be known. `may_grow`: may what can be read be only
    the first part of it, though nobody has it open?
    """

    has_writer: bool | None

    @property
    def name(self) -> str: ...

    @property
    def mark(self) -> Mark: ...

    @property
    def may_grow(self) -> bool: ...

    @property
    def is_slow(self) -> bool:
        """Does it take long to understand?"""

    def close(self) -> None: ...


FileT = TypeVar("FileT", bound=Opened)
"""The opened files of one implementation."""


class Inbox(Protocol[FileT]):
    """Files that strangers dropped."""

    def recover(self) -> None:
        """Before the first look: bring back what an engine that was killed had in hand."""

    def scan(self, known: Collection[str] = ()) -> Look:
        """What lies there; files in `known` are only named."""

    def open(self, found: Found) -> FileT:
        """Raises JobError when it cannot be taken at all, OSError when it cannot be opened just now."""

    def jobs(self, opened: FileT, now: Stamp) -> Iterator[Parsed]:
        """The jobs of a file, checked against their templates, or why one cannot be taken. JobError for the whole."""

    def remove(self, opened: FileT) -> bool:
        """The jobs of a file are durable elsewhere: it may go. False when there is more in it than was read."""

    def reject(self, found: Found, opened: FileT | None, error: InputError, now: Stamp) -> str | None:
        """Put a file aside with the reason; returns its name in `rejected/`, None when it has changed."""

    def remove_but(self, opened: FileT, lines: list[Parsed], error: InputError, now: Stamp) -> str | None:
        """As `remove`, with some lines put aside; returns the name of the file that has them."""


@dataclass(slots=True)
class DroppedSignal:
    """A signal: its file's name, what it asks for, and the text fields of its content; or why it is none."""

    name: str
    verb: str
    content: dict[str, str] = field(default_factory=dict)
    error: InputError | None = None


class Signals(Protocol):
    """The `signals/` folders of workflows."""

    def has_any(self, workflow: str) -> bool: ...

    def read(self, workflow: str) -> tuple[list[DroppedSignal], bool]:
        """What was dropped, oldest first, and whether something could not be read just now."""

    def has(self, workflow: str, name: str) -> bool: ...

    def sync(self, workflow: str) -> None:
        """What was removed from the folder stays removed. May be called from any thread."""

    def put_aside(self, workflow: str, dropped: DroppedSignal, now: Stamp) -> str:
        """Out of the way, with the reason; returns its name in `rejected/`."""

    def answer_bell(self, workflow: str) -> None: ...
