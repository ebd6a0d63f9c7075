"""Leases: how to tell, from a file, whether a step or a worker still runs.

A lease is a kernel lock (`flock`) on a descriptor that a step's processes inherit: it is held exactly as long as one of
them lives, across a kill of the engine. No heartbeat, no clock, no trust in pids.
"""

from __future__ import annotations

import fcntl
import os

from hybrid_engine.files import atomic


def take(path: str) -> int:
    """Open and lock a new lease; the descriptor is to be inherited by the step and then closed here."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def is_held(path: str) -> bool:
    """Does any process of the step live? A missing lease is not held; one that cannot be looked at now may be."""
    try:
        fd = os.open(path, atomic.READ)
    except OSError as error:
        return error.errno in atomic.PASSING
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def pid_of(path: str) -> int | None:
    """The pid that the step wrote into its lease as its first act; None when it has not come to that."""
    try:
        words = atomic.read(path, 64).split()
        return int(words[0]) if words else None
    except (OSError, ValueError):
        return None


def holders_of(path: str) -> list[int]:
    """The processes that have this file open. Walks /proc: for the rare case only."""
    try:
        wanted = os.stat(path)
    except OSError:
        return []
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and _has_open(name, wanted.st_dev, wanted.st_ino):
            found.append(int(name))
    return found


def _has_open(pid: str, device: int, inode: int) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            status = os.stat(f"{folder}/{name}")
            if status.st_ino == inode and status.st_dev == device:
                return True
    except OSError:
        pass
    return False
