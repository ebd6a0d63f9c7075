"""The engine's lock: a kernel lock on `queue-state.json.lock`, held for the engine's life. The only filelock.

Whoever holds it may write journals and the queue. The file is never removed (a second holder could appear), and what
it says inside (pid, host, start) is for people: only the kernel's answer counts. `filelock` itself is loaded only by
those who stay: a `hybrid enqueue` that merely asks takes the same `flock` directly.
"""

from __future__ import annotations

import fcntl
import os

from hybrid_engine.errors import HomeError, LockHeldError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.jsontext import decode, encode


def holder(layout: Layout) -> dict[str, object] | None:
    """What the lock file says of the engine that holds it: pid, host, started_at …; None when nobody holds it."""
    with BriefLock(layout) as mine:
        if mine:
            return None
    try:
        said = decode(atomic.read(layout.lock, 4096) or b"{}")
    except (OSError, ValueError):
        said = {}
    return said if isinstance(said, dict) else {}


class BriefLock:
    """`with BriefLock(layout) as mine:` – `mine` is True when nobody else holds the lock; then it is ours inside."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.lock
        self._fd = -1

    def __enter__(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, atomic.FILE_MODE)
        except OSError as error:
            raise HomeError(f"cannot open the lock {self._path}: {error.strerror}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


class EngineLock:
    """The lock for an engine's life. Descriptors are not inherited, so no step keeps it after a kill of the engine."""

    def __init__(self, layout: Layout) -> None:
        from filelock import FileLock

        self._layout = layout
        self._lock = FileLock(layout.lock, mode=atomic.FILE_MODE, thread_local=False, fallback_to_soft=False)

    def acquire(self, about: dict[str, object]) -> None:
        """Take the lock, or raise LockHeldError that says who holds it."""
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0.3, poll_interval=0.02)
        except Timeout:
            who = holder(self._layout) or {}
            raise LockHeldError(
                f"another engine holds {self._layout.home}: pid {who.get('pid', '?')} on {who.get('host', '?')}, "
                f"since {who.get('started_at', '?')} (end it with `hybrid stop`)"
            ) from None
        except OSError as error:
            raise HomeError(f"cannot lock {self._layout.lock}: {error.strerror}") from None
        self.describe(about)

    def describe(self, about: dict[str, object]) -> None:
        """Write who we are into the lock file, in place: the file must keep its inode."""
        fd = os.open(self._layout.lock, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.ftruncate(fd, 0)
            atomic.write_all(fd, (encode(about) + "\n").encode())
        except OSError:
            pass  # on a full disk the lock still is the lock
        finally:
            os.close(fd)

    def release(self) -> None:
        self._lock.release()
