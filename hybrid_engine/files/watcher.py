"""The watcher: a wake-up when something is dropped. The only place that knows watchdog.

A hint, never the truth: it can lose events, and dies when the folder is removed and made again. So the intake also
looks every few seconds, and `is_alive` tells when a fresh watcher is needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from watchdog.events import FileClosedEvent, FileCreatedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

# What a dropper does ends in one of these. The kernel is not asked for others: our own reading would wake us.
_TELLING: list[type[FileSystemEvent]] = [FileCreatedEvent, FileClosedEvent, FileMovedEvent]


class InboxWatcher:
    """Calls `wake` (from its own thread) when something has come into the folder."""

    def __init__(self, folder: str, wake: Callable[[], None]) -> None:
        self._folder = folder
        self._handler = _Handler(wake)
        _listen_for_overflow(wake)
        self._observer = Observer()
        self._inode = -1

    def start(self) -> None:
        """Raises OSError when the system has no more watches to give."""
        self._inode = os.stat(self._folder).st_ino
        self._observer.schedule(self._handler, self._folder, recursive=False, event_filter=_TELLING)
        self._observer.start()

    @property
    def is_alive(self) -> bool:
        """Does it still watch the folder that is there now?"""
        try:
            same = os.stat(self._folder).st_ino == self._inode
        except OSError:
            return False
        return same and self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def stop(self) -> None:
        self._observer.stop()


class _Overflow(logging.Handler):
    """watchdog tells of a lost event only in its log: that, too, is a reason to look."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__()
        self._wake = wake

    def emit(self, record: logging.LogRecord) -> None:
        self._wake()


def _listen_for_overflow(wake: Callable[[], None]) -> None:
    log = logging.getLogger("watchdog")
    log.handlers = [_Overflow(wake)]
    log.propagate = False


class _Handler(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._wake()
