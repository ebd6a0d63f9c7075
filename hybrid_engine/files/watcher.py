"""The watcher: a wake-up when something is dropped. The only place that knows watchdog.

Watchdog's inotify bindings are used without its observer: the observer hands each event through three threads, which
costs a millisecond a drop, and we want to know nothing of an event but that there was one. The descriptor sits in the
reactor. A hint, never the truth: the intake also looks every few seconds, and `is_alive` tells when a fresh watcher is
needed because the folder was removed and made again. An overflow of the kernel's queue is an event like any other.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from watchdog.observers.inotify_c import InotifyConstants, inotify_add_watch, inotify_init

from hybrid_engine.ports.reactor import Reactor

# What a dropper does ends in one of these. The kernel is not asked for others: our own reading would wake us.
_TELLING = InotifyConstants.IN_CREATE | InotifyConstants.IN_CLOSE_WRITE | InotifyConstants.IN_MOVED_TO
_BUFFER = 65_536


class InboxWatcher:
    """Calls `wake`, from the reactor, when something has come into the folder."""

    def __init__(self, reactor: Reactor, folder: str, wake: Callable[[], None]) -> None:
        self._reactor = reactor
        self._folder = folder
        self._wake = wake
        self._fd = -1
        self._inode = -1

    def start(self) -> None:
        """Raises OSError when the system has no more watches to give."""
        self._inode = os.stat(self._folder).st_ino
        self._fd = _checked(inotify_init())
        try:
            os.set_blocking(self._fd, False)
            os.set_inheritable(self._fd, False)
            _checked(inotify_add_watch(self._fd, os.fsencode(self._folder), _TELLING))
        except OSError:
            os.close(self._fd)
            self._fd = -1
            raise
        self._reactor.watch(self._fd, self._readable)

    @property
    def is_alive(self) -> bool:
        """Does it still watch the folder that is there now?"""
        try:
            return self._fd >= 0 and os.stat(self._folder).st_ino == self._inode
        except OSError:
            return False

    def stop(self) -> None:
        if self._fd >= 0:
            self._reactor.unwatch(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _readable(self) -> None:
        try:
            os.read(self._fd, _BUFFER)
        except BlockingIOError:
            return
        self._wake()


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
