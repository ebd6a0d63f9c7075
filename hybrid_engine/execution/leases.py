"""Leases: how to tell, from a file, whether a step or a worker still runs.

A lease is a kernel lock (`flock`) on a descriptor that a step's processes inherit: it is held exactly as long as one of
them lives, across a kill of the engine. No heartbeat, no clock, no trust in pids.

The lease of a shell step is also its record: the first line is its shell's pid, the last one, once the script has
ended, `exit <status>`. Both are written by the shell, over the descriptor that holds the lock. Behind the pid is when
the step began, in seconds since the start of the machine, sleep included (CLOCK_BOOTTIME): nobody can set that clock.
A step of format 1 wrote no such time, and its status into a file `exit` beside the lease.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import dataclass

from hybrid_engine.files import atomic

HEAD = 64
TAIL = 16
_FIRST = re.compile(rb"([0-9]{1,10})(?: ([0-9]{1,12}(?:\.[0-9]{1,9})?))?\n")
_LAST = re.compile(rb"exit ([0-9]{1,3})\n\Z")


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


@dataclass(frozen=True, slots=True)
class Record:
    """What a lease says. `pid` is None until the shell has written it, `status` until the script has ended, `began`
    in format 1."""

    pid: int | None = None
    began: float | None = None
    status: int | None = None


def read(path: str) -> Record:
    """What the lease of a shell step says; an empty record when there is none. OSError when the machine is in trouble.

    The step holds a descriptor of the file and may have written into it: only whole lines in their places count.
    """
    try:
        head = atomic.read(path, HEAD)
        tail = head if len(head) < HEAD else atomic.read_tail(path, TAIL)
    except OSError as error:
        if error.errno in atomic.PASSING:
            raise
        return Record()
    first, last = _FIRST.match(head), _LAST.search(tail)
    return Record(
        int(first[1]) if first else None,
        float(first[2]) if first and first[2] else None,
        int(last[1]) if last else None,
    )


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
