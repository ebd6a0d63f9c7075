"""The commit log of the second toy engine: segments of zeros, frames written over them, one sync for each batch."""

from __future__ import annotations

import ctypes
import os
import struct
import zlib
from collections.abc import Iterator

from tests.crash.oracle import SEED
from tests.crash.toy import Home

HEAD = struct.Struct("<III")
SEGMENT = 4096
"""So many zeros are written and synced ahead; frames go over them, and beyond where they do not suffice."""
LIBC = ctypes.CDLL(None, use_errno=True)
Batch = list[tuple[str, bytes]]


def frame(number: int, batch: Batch) -> bytes:
    """One batch, whole or nothing."""
    body = b"".join(id.encode() + b"\t" + line for id, line in batch)
    return HEAD.pack(number, len(body), _crc(number, body)) + body


def _crc(number: int, body: bytes) -> int:
    return zlib.crc32(struct.pack("<II", number, len(body)) + body, SEED)


def frames(segment: bytes) -> Iterator[Batch]:
    """Those of a segment, up to the first that is not whole; zeros are the end of it."""
    at, number = 0, 1
    while at + HEAD.size <= len(segment):
        known, length, crc = HEAD.unpack_from(segment, at)
        body = segment[at + HEAD.size : at + HEAD.size + length]
        if known != number or len(body) < length or crc != _crc(number, body):
            return
        pairs = (line.partition(b"\t") for line in body.splitlines(keepends=True))
        yield [(id.decode(), line) for id, _, line in pairs]
        at, number = at + HEAD.size + length, number + 1


def write_at(fd: int, data: bytes, offset: int) -> None:
    """All of it at its place; safe to repeat."""
    while data:
        wrote = os.pwrite(fd, data, offset)
        data, offset = data[wrote:], offset + wrote


class Log:
    """The segments below `.hybrid/log`. An error of a sync ends the process; the next one reads what is there."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.folder = home.at(".hybrid", "log")
        os.makedirs(self.folder, 0o700, exist_ok=True)
        self.file_system = os.open(home.path, os.O_RDONLY | os.O_DIRECTORY)  # before the first write, and kept
        self.fd, self._offset, self._frame = -1, 0, 0

    def segments(self) -> list[str]:
        return sorted(os.listdir(self.folder))

    def replay(self) -> list[Batch]:
        found: list[Batch] = []
        for name in self.segments():
            with open(os.path.join(self.folder, name), "rb") as file:
                found += frames(file.read())
        return found

    def switch(self) -> None:
        """Begin a new segment: its number is used for the first time, its space and its name are durable."""
        names = self.segments()
        path = os.path.join(self.folder, f"{int(names[-1]) + 1 if names else 1:08d}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        write_at(fd, bytes(SEGMENT), 0)
        os.fsync(fd)
        self.home.sync_folder(".hybrid", "log")
        if self.fd >= 0:
            os.close(self.fd)
        self.fd, self._offset, self._frame = fd, 0, 1

    def write(self, batch: Batch) -> None:
        data = frame(self._frame, batch)
        self.home.patiently(lambda: write_at(self.fd, data, self._offset))
        self._offset += len(data)
        self._frame += 1

    def sync(self) -> None:
        try:
            os.fdatasync(self.fd)
        except OSError:
            if self.home.bug != "sync-retried":
                raise
            os.fdatasync(self.fd)

    def sync_all(self) -> None:
        """All that was written to the file system is durable."""
        fd = os.open(self.home.path, os.O_RDONLY) if self.home.bug == "late-descriptor" else self.file_system
        if LIBC.syncfs(fd) < 0:
            raise OSError(ctypes.get_errno(), "syncfs failed")

    def forget(self, names: list[str]) -> None:
        """Remove these segments, oldest first, for good: one that came back would bring its work back."""
        for name in names:
            os.unlink(os.path.join(self.folder, name))
        if names and self.home.bug != "unlink-unsynced":
            self.home.sync_folder(".hybrid", "log")
