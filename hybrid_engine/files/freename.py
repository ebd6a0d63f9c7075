"""Names that nothing has yet, made from a name that is taken: `a.json`, `a.2.json`, `a.3.json` …"""

from __future__ import annotations

import os
from collections.abc import Iterator

from hybrid_engine.errors import JobError

_MOST = 1_000_000
_MAX_STEM = 200
"""Bytes of the name's beginning that are kept: leaves room for a number and for `.reason.json`."""
_MAX_SUFFIX = 20


def candidates(name: str) -> Iterator[str]:
    """The names that `free_name` tries, in order."""
    stem, suffix = os.path.splitext(name)
    if len(os.fsencode(suffix)) > _MAX_SUFFIX:
        stem, suffix = name, ""
    stem = os.fsdecode(os.fsencode(stem)[:_MAX_STEM])
    yield stem + suffix
    for number in range(2, _MOST):
        yield f"{stem}.{number}{suffix}"


def free_name(folder: str, name: str) -> str:
    """The first candidate that nothing in `folder` has. Raises JobError when there are a million of them."""
    for candidate in candidates(name):
        if not os.path.lexists(os.path.join(folder, candidate)):
            return candidate
    raise JobError(f"{folder} is full of files of this name", file=name)
