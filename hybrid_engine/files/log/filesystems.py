"""`syncfs` for the file systems that a home lies on.

The descriptors are opened before the first write and kept: the kernel reports a failed write-back once to every
descriptor that was open when it happened, so one opened later would miss it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)


class FileSystems:
    """One descriptor for each file system that `folders` lie on."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._fds: dict[int, int] = {}
        for folder in folders:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if self._fds.setdefault(os.fstat(fd).st_dev, fd) != fd:
                os.close(fd)

    def sync(self) -> None:
        """All that was written before is durable when this returns. Raises OSError, also for what others wrote."""
        failed = 0
        for fd in self._fds.values():
            if _libc.syncfs(fd) != 0:
                failed = failed or ctypes.get_errno()
        if failed:
            raise OSError(failed, os.strerror(failed))

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])
