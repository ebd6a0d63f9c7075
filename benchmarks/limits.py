"""The limits that figures are held against, each measured in the same run, before and after the figure.

They say what this machine's disk and kernel give just now, to somebody who does nothing else. The mean of before and
after is what a ratio is made with; both are printed, so that a reader sees how steady the machine was.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
RECORD = b"x" * 199 + b"\n"
STEADY = 1.3
FILES = 200


@dataclass(slots=True)
class Limit:
    """A limit as it was before and after the figure."""

    before: float
    after: float

    @property
    def mean(self) -> float:
        return (self.before + self.after) / 2

    @property
    def spread(self) -> float:
        """How many times as much the larger one is: 1 on a machine that nobody else uses."""
        return max(self.before, self.after) / min(self.before, self.after)

    def __str__(self) -> str:
        return f"{self.mean:,.0f} ({self.before:,.0f} … {self.after:,.0f})"


def between(limit: Callable[[], float], measure: Callable[[], T]) -> tuple[Limit, T]:
    """Measure something between two measurements of its limit."""
    before = limit()
    found = measure()
    return Limit(before, limit()), found


def steady(limit: Callable[[], float], measure: Callable[[], T], most: int) -> tuple[Limit, T]:
    """As `between`; again, at most `most` times in all, until the limit is nearly the same before and after.

    Returns the time when it was steadiest: with a limit that fell to a tenth meanwhile, a ratio says nothing.
    """
    found = [between(limit, measure)]
    while found[-1][0].spread > STEADY and len(found) < most:
        found.append(between(limit, measure))
    return min(found, key=lambda one: one[0].spread)


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


def microseconds_per_file(folder: str) -> float:
    """What a new file in a new folder costs, unsynced: on ext4 ten times as much when many were deleted lately."""
    place = tempfile.mkdtemp(dir=folder)
    start = time.perf_counter()
    for number in range(FILES):
        path = os.path.join(place, str(number))
        os.mkdir(path)
        os.close(os.open(os.path.join(path, "file"), os.O_WRONLY | os.O_CREAT, 0o600))
    return (time.perf_counter() - start) / FILES * 1e6


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
