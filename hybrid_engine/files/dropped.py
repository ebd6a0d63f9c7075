"""A dropped file, opened: what is read from it is what it is identified by, and what may be removed later.

One descriptor serves from the first look until the file has left the inbox. While a file is identified and read nobody
can open it for writing, where the kernel has leases; everywhere else two looks at the open file must agree. The shared
lock on the descriptor tells a dropper who wants his file back that it is being taken (`files.dropbox`).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from zlib import crc32

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files import atomic, birth, jobfile
from hybrid_engine.files.strict import open_plain_file
from hybrid_engine.ports.intake import Found, Mark

_BATCH = re.compile(r"batch-[0-9]{8}T[0-9]{12}Z-[0-9a-f]{6}\.jsonl")
"""What `dropbox.drop_many` calls its files."""
_SLOW_BYTES = 16_384
"""YAML of more than this takes long enough to keep others waiting."""


class DroppedFile:
    """`ports.intake.Opened`. `data` is the content of a file of one job; a file of lines is read as they are asked for.

    `origin_ns` and `inode` are the same for as long as it is the same file, also when it grows; see `FileInbox`.
    """

    def __init__(self, name: str, fd: int, status: os.stat_result) -> None:
        self.fd = fd
        self.name = name
        self.suffix = jobfile.checked_suffix(name)
        self.has_writer: bool | None = True
        self.data: bytes | None = None
        self.origin_ns: int | None = None
        self._identify(status)

    @property
    def mark(self) -> Mark:
        return (self.inode, self.status.st_size, self.status.st_mtime_ns)

    @property
    def is_lines(self) -> bool:
        return self.suffix == ".jsonl"

    @property
    def is_batch(self) -> bool:
        """Is it one of our own files of many requests? They are complete when they get their name."""
        return _BATCH.fullmatch(self.name) is not None

    @property
    def is_slow(self) -> bool:
        return self.suffix in (".yaml", ".yml") and self.status.st_size > _SLOW_BYTES

    def owns(self, workflow: str) -> bool:
        """May this file say the id of its job? Only our own programs make ids, and they name their files so."""
        return self.is_batch or self.name == f"{workflow}.json"

    @property
    def may_grow(self) -> bool:
        """Could this be complete only so far? The first half of a file of lines, or of YAML, is one of its kind, too.

        A file that was moved into its place, and not written there, is whole.
        """
        if self.is_lines:
            return not self.is_batch
        return self.suffix != ".json" and self.status.st_mtime_ns == self.status.st_ctime_ns

    def _identify(self, status: os.stat_result) -> None:
        self.status = status
        self.inode = status.st_ino

    def load(self) -> None:
        """Identify the file and, when it holds one job, read it, both while nobody writes.

        `has_writer` tells how that went: True, and nothing else is to be trusted, when somebody does, or when the file
        has changed meanwhile; None when the kernel could not be asked. Raises JobError for a file that is no more.
        """
        if not _lock_shared(self.fd):
            return
        alone = atomic.lock_out_writers(self.fd)
        if alone is False:
            return
        try:
            self._identify(os.fstat(self.fd))
            if self.status.st_nlink == 0:
                raise JobError("is not there any more", file=self.name, code="vanished")
            if not self.is_lines:
                self.data = _read(self.fd, self.name, self.status.st_size)
            if self.has_changed():
                return
        finally:
            if alone:
                atomic.let_writers_in(self.fd)
        self.origin_ns = birth.birth_ns(self.fd)
        self.has_writer = None if alone is None else False

    def has_changed(self) -> bool:
        """Is it another file than the one that was identified, as far as its status tells?"""
        now = os.fstat(self.fd)
        return (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns)

    def is_as_read(self) -> bool:
        """Is what was read all that there is, and is nobody about to add to it? The file has no public name any more.

        Of a file that was read whole the content decides: clocks of file systems are coarse, and copying programs set
        the times of a file after they have written it.
        """
        if atomic.has_writer(self.fd):
            return False
        if self.data is None:
            return not self.has_changed()
        return os.fstat(self.fd).st_size == len(self.data) and os.pread(self.fd, len(self.data) + 1, 0) == self.data

    def entries(self) -> Iterator[jobfile.JobEntry]:
        """What it says, job by job. Raises JobError when that is nothing."""
        if self.data is not None:
            yield jobfile.single_entry(self.name, self.data)
            return
        with open(os.dup(self.fd), "rb", buffering=256 * 1024) as file:
            yield from jobfile.line_entries(file, self.name)

    def identity(self, line: int | None, data: bytes) -> str:
        """A text that is the same whenever this job is read from this file, and is not for any other job."""
        return f"{self.inode} {self.origin_ns} {line} {crc32(data):08x}"

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()


def open_dropped(path: str, found: Found) -> DroppedFile:
    """Raises JobError when the file as a whole cannot be taken, OSError when it cannot be opened just now."""
    limit = jobfile.MAX_LINES_FILE if jobfile.checked_suffix(found.name) == ".jsonl" else jobfile.MAX_FILE
    try:
        opened = DroppedFile(found.name, *open_plain_file(path, limit, links=1))
        try:
            opened.load()
        except BaseException:
            opened.close()
            raise
        return opened
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in atomic.PASSING:
            raise cause from None  # this says nothing about the file
        error.file = found.name
        raise


def _lock_shared(fd: int) -> bool:
    """False when somebody holds the file's lock for himself: its dropper, who takes it back."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


def _read(fd: int, name: str, size: int) -> bytes:
    """All of the file; as much more as it takes to see that it has grown."""
    data = os.pread(fd, min(size, jobfile.MAX_FILE) + 1, 0)
    while len(data) < size and (more := os.pread(fd, size + 1 - len(data), len(data))):
        data += more
    if len(data) > jobfile.MAX_FILE:
        raise JobError(
            f"is {len(data)} bytes or more; at most {jobfile.MAX_FILE} are read", file=name, code="too_large"
        )
    return data
