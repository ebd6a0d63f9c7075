"""Ending another process of ours, the daemon: only the very one that has the lock file open, and never a pid reused."""

from __future__ import annotations

import os
import select
import signal
import time


def has_open(pid: int, path: str) -> bool:
    """Has this process of ours the file open?"""
    try:
        wanted = os.stat(path)
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for name in names:
        try:
            found = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def end_holder(pid: int, path: str, timeout: float) -> bool | None:
    """Send TERM to `pid` if it has `path` open, and wait for its end. None when it is not the one (any more).

    The descriptor of the process is taken first, so what is looked at, signalled and waited for is one process.
    """
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return None
    try:
        if not has_open(pid, path):
            return None
        signal.pidfd_send_signal(process, signal.SIGTERM)
        waiting = select.poll()
        waiting.register(process, select.POLLIN)
        deadline = time.monotonic() + timeout
        while not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
            if time.monotonic() >= deadline:
                return False
        return True
    except ProcessLookupError:
        return True
    finally:
        os.close(process)
