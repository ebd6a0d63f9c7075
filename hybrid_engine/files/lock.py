"""The engine's lock: kernel locks on `queue-state.json.lock` and `.hybrid/lock`, held for its life. The only filelock.

Two files, one lock: the first stands beside the view it protects, where people look for it, and may be moved by a
setting or be swept away with the view; the second belongs to the home and is neither. Both are always taken.

Whoever holds it may write journals and the queue. The file is never removed (a second holder could appear), and what
it says inside (pid, host, start) is for people: only the kernel's answer counts. `filelock` itself is loaded only by
those who stay: a `hybrid enqueue` that merely asks takes the same `flock` directly.
"""

from __future__ import annotations

import fcntl
import os
import time

from hybrid_engine.errors import HomeError, LockHeldError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.jsontext import decode, encode


def holder(layout: Layout) -> dict[str, object] | None:
    """What the lock file says of the engine that holds it: pid, host, started_at …; None when nobody holds it.

    Looked at with a shared lock, so that any number may look at once; a `hybrid enqueue` that holds the lock for a few
    milliseconds is no engine. Nothing is written: this works on a read-only disk, too.
    """
    for _ in range(LOOKS):
        if not (_is_held(layout.home_lock) or _is_held(layout.lock)):
            return None
        try:
            said = decode(atomic.read(layout.home_lock, 4096) or b"{}")
        except (OSError, ValueError):
            said = {}
        if isinstance(said, dict) and _lives(said.get("pid")):
            return said
        time.sleep(PAUSE)
    return said if isinstance(said, dict) else {}


def _is_held(path: str) -> bool:
    try:
        fd = os.open(path, atomic.READ)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise HomeError(f"cannot look at {path}: {error.strerror}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def _lives(pid: object) -> bool:
    try:
        os.kill(int(str(pid)), 0)
        return True
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False


LOOKS = 40
PAUSE = 0.005
"""Seconds between looks at a lock that somebody holds who is no engine that lives."""


class BriefLock:
    """`with BriefLock(layout) as mine:` – `mine` is True when nobody else holds the lock; then it is ours inside."""

    def __init__(self, layout: Layout) -> None:
        self._paths = (layout.home_lock, layout.lock)
        self._fds: list[int] = []

    def __enter__(self) -> bool:
        try:
            for path in self._paths:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                self._fds.append(os.open(path, flags, atomic.FILE_MODE))
                fcntl.flock(self._fds[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            self.__exit__()
            raise HomeError(f"cannot lock {self._paths[len(self._fds) - 1]}: {error.strerror}") from None

    def __exit__(self, *_: object) -> None:
        while self._fds:
            os.close(self._fds.pop())


class EngineLock:
    """The lock for an engine's life. Descriptors are not inherited, so no step keeps it after a kill of the engine."""

    def __init__(self, layout: Layout) -> None:
        from filelock import FileLock

        self._layout = layout
        self._inodes: list[int] = []
        self._locks = [
            FileLock(path, mode=atomic.FILE_MODE, thread_local=False, fallback_to_soft=False)
            for path in (layout.home_lock, layout.lock)
        ]

    def acquire(self, about: dict[str, object]) -> None:
        """Take the lock, or raise LockHeldError that says who holds it."""
        from filelock import Timeout

        try:
            for lock in self._locks:
                lock.acquire(timeout=0.3, poll_interval=0.02)
        except Timeout:
            self.release()
            who = holder(self._layout) or {}
            raise LockHeldError(
                f"another engine holds {self._layout.home}: pid {who.get('pid', '?')} on {who.get('host', '?')}, "
                f"since {who.get('started_at', '?')} (end it with `hybrid stop`)"
            ) from None
        except OSError as error:
            self.release()
            raise HomeError(f"cannot lock {self._layout.home}: {error.strerror}") from None
        self._inodes = self._on_disk()
        self.describe(about)

    def check(self) -> None:
        """Raise LockHeldError when somebody removed a lock file: the lock on it keeps nobody out any more."""
        if self._on_disk() != self._inodes:
            raise LockHeldError(
                f"a lock file of {self._layout.home} was removed or replaced: another engine may have been started"
            )

    def _on_disk(self) -> list[int]:
        try:
            return [os.stat(path).st_ino for path in (self._layout.home_lock, self._layout.lock)]
        except FileNotFoundError:
            return []

    def describe(self, about: dict[str, object]) -> None:
        """Write who we are into the lock files, in place: they must keep their inodes."""
        for path in (self._layout.home_lock, self._layout.lock):
            try:
                fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue  # somebody removed it; the lock still is the lock
            try:
                os.ftruncate(fd, 0)
                atomic.write_all(fd, (encode(about) + "\n").encode())
            except OSError:
                pass  # on a full disk the lock still is the lock
            finally:
                os.close(fd)

    def release(self) -> None:
        for lock in reversed(self._locks):
            lock.release()
