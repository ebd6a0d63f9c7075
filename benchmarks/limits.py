"""The limits that figures are held against, each measured in the same run, before and after the figure.

They say what this machine's disk and kernel give just now, to somebody who does nothing else. The mean of before and
after is what a ratio is made with; both are printed, so that a reader sees how steady the machine was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
RECORD = b"x" * 199 + b"\n"


@dataclass(slots=True)
class Limit:
    """A limit as it was before and after the figure."""

    before: float
    after: float

    @property
    def mean(self) -> float:
        return (self.before + self.after) / 2

    def __str__(self) -> str:
        return f"{self.mean:,.0f} ({self.before:,.0f} … {self.after:,.0f})"


def between(limit: Callable[[], float], measure: Callable[[], T]) -> tuple[Limit, T]:
    """Measure something between two measurements of its limit."""
    before = limit()
    found = measure()
    return Limit(before, limit()), found


def appends_per_second(folder: str, seconds: float = 0.7) -> float:
    """Records of 200 bytes appended to one file, each synced before the next: what one committer could do at best."""
    path = os.path.join(folder, "appends")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return _rate(lambda: _append(fd), seconds)
    finally:
        os.close(fd)


def _append(fd: int) -> None:
    os.write(fd, RECORD)
    os.fdatasync(fd)


def spawns_per_second(seconds: float = 0.7) -> float:
    """`/bin/true` started and waited for, one at a time."""
    return _rate(_spawn, seconds)


def _spawn() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)


def _rate(work: Callable[[], None], seconds: float) -> float:
    for _ in range(10):
        work()
    start = now = time.perf_counter()
    count = 0
    while now - start < seconds:
        for _ in range(10):
            work()
        count += 10
        now = time.perf_counter()
    return count / (now - start)
