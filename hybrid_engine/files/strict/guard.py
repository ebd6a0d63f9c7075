"""The guard around every parser of untrusted input: whatever it raises is an error of the input, in its place.

Libraries raise more than they document (ruamel.yaml an AssertionError for `%YAML 1.3`, `chr` an OverflowError for an
escape), and one such exception in the intake would stop every job behind it. So nothing is listed here by type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hybrid_engine.errors import InputError

T = TypeVar("T")
_LONGEST = 200
"""Characters of a library's own words in an error."""


def guarded(parse: Callable[[], T], what: str, file: str | None, error: type[InputError]) -> T:
    """The result of `parse`. An InputError passes as it is; any other exception becomes an `error` of `file`.

    MemoryError is included: input is bounded, so what asks for too much of it is the input's doing.
    """
    try:
        return parse()
    except InputError:
        raise
    except Exception as failure:
        raise error(f"cannot be read as {what}: {in_words(failure)}", file=file, code="syntax") from None


def in_words(failure: BaseException) -> str:
    """An unexpected exception as part of a sentence: its type, and the first line of its message."""
    try:
        lines = str(failure).splitlines()
    except Exception:  # an exception whose own __str__ fails must not get past the guard
        lines = []
    words = lines[0][:_LONGEST] if lines else ""
    return f"{type(failure).__name__}: {words}" if words else type(failure).__name__


def place_of(text: str, offset: int) -> tuple[int, int]:
    """(line, column) of an offset into a text, both from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
