"""The engine's heartbeat: a mapped page that others can read while the engine itself waits for a disk that hangs.

A thread of its own writes the moment every half second; the engine notes when a commit begins and how far the log is
durable. Moments are of CLOCK_BOOTTIME, which does not jump; the page is of no use after the engine's end.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time

from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout

_PAGE = struct.Struct("<8sdddQQ")
_MAGIC = b"hybrid01"
_BEAT, _COMMIT, _DURABLE = 8, 16, 32
_MOMENT = struct.Struct("<d")
_POSITION = struct.Struct("<QQ")
INTERVAL = 0.5
SILENT = 5.0
"""Seconds without a beat after which something is wrong."""
SLOW = 2.0
"""Seconds of one commit after which the disk is called stuck."""


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Heartbeat:
    """The engine's end."""

    def __init__(self, layout: Layout) -> None:
        fd = os.open(layout.heartbeat, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, atomic.FILE_MODE)
        try:
            os.ftruncate(fd, mmap.PAGESIZE)
            self._page = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)
        _PAGE.pack_into(self._page, 0, _MAGIC, now(), 0.0, 0.0, 0, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def commit_begins(self) -> None:
        _MOMENT.pack_into(self._page, _COMMIT, now())

    def durable(self, segment: int, end: int) -> None:
        """No commit is under way, and the log is durable up to this byte of this segment."""
        _POSITION.pack_into(self._page, _DURABLE, segment, end)
        _MOMENT.pack_into(self._page, _COMMIT, 0.0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=INTERVAL)

    def _beat(self) -> None:
        while not self._stop.wait(INTERVAL):
            _MOMENT.pack_into(self._page, _BEAT, now())


class Pulse:
    """What the page said when it was read: seconds since the last beat and since the commit under way began (None when
    there is none), and how far the log is durable."""

    __slots__ = ("commit", "durable", "silent")

    def __init__(self, silent: float, commit: float | None, durable: tuple[int, int]) -> None:
        self.silent = silent
        self.commit = commit
        self.durable = durable

    def problem(self) -> str | None:
        """A sentence when the engine seems to hang."""
        if self.commit is not None and self.commit > SLOW:
            return f"a commit has been waiting for the disk for {self.commit:.0f} s"
        if self.silent > SILENT:
            return f"the daemon has given no sign of life for {self.silent:.0f} s: it was stopped, or the disk hangs"
        return None


def read(layout: Layout) -> Pulse | None:
    """The page of a living engine; None when there is none that can be read."""
    try:
        magic, beat, commit, _, segment, end = _PAGE.unpack(atomic.read(layout.heartbeat, _PAGE.size))
    except (OSError, struct.error):
        return None
    if magic != _MAGIC:
        return None
    moment = now()
    return Pulse(max(0.0, moment - beat), max(0.0, moment - commit) if commit else None, (segment, end))
