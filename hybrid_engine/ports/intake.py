"""Where jobs come from, as the intake sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from hybrid_engine.errors import InputError
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import Stamp


@dataclass(slots=True, frozen=True)
class Found:
    """A file in the inbox, as it was when it was looked at. `in_place`: perhaps written there, and not moved there."""

    name: str
    size: int
    mtime_ns: int
    inode: int
    in_place: bool = False


@dataclass(slots=True)
class Parsed:
    """One job of a file, or why it cannot be one. `has_id`: its id does not depend on the file."""

    line: int | None
    job: Job | None
    error: InputError | None
    data: bytes
    has_id: bool = False


class Inbox(Protocol):
    """Files that strangers dropped."""

    def scan(self) -> tuple[list[Found], list[str]]: ...

    def has_writer(self, name: str) -> bool | None: ...

    def read(self, found: Found, now: Stamp) -> Iterator[Parsed]: ...

    def is_done(self, workflow: str) -> bool: ...

    def remove(self, found: Found) -> bool: ...

    def reject(self, found: Found, error: InputError, now: Stamp, lines: list[Parsed] | None = None) -> str: ...

    def has_signals(self, workflow: str) -> bool: ...

    def signals(self, workflow: str) -> list[tuple[str, str, dict[str, Any]]]: ...

    def answer_bell(self, workflow: str) -> None: ...
