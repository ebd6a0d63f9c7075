"""Log segments as files: names, creation with reserved space, appending, and reading all of them. Light module.

A segment that a write or a sync failed on is never written to again, and no number is ever used twice. What a segment's
bytes mean is in `frames`; when to begin a new one is decided by `commit_log`.
"""

from __future__ import annotations

import os

from hybrid_engine.files import atomic
from hybrid_engine.files.log import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
FILL = b"\0" * (1 << 16)


def path_of(folder: str, number: int) -> str:
    return os.path.join(folder, f"{number:016d}.log")


def numbers(folder: str) -> list[int]:
    """The numbers of the segments in `folder`, in order; none when there is no such folder."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name[:16]) for name in names if name[:16].isdigit() and name[16:] == ".log")


class Segment:
    """An open segment. `start` is behind its header, `end` behind the last frame that is known to be durable; `space`
    is what the file occupies."""

    __slots__ = ("end", "fd", "number", "path", "sound", "space", "start")

    def __init__(self, number: int, path: str, fd: int, space: int) -> None:
        self.number = number
        self.path = path
        self.fd = fd
        self.start = self.end = 0
        self.space = space
        self.sound = True

    @classmethod
    def create(cls, folder: str, number: int, space: int = 0, *, durable: bool = False) -> Segment:
        """A new segment with `space` bytes of zeros ahead; with `durable`, it and its name are synced."""
        path = path_of(folder, number)
        fd = os.open(path, _CREATE, atomic.FILE_MODE)
        try:
            for at in range(0, space, len(FILL)):
                atomic.write_all(fd, FILL[: space - at])
            if durable:
                atomic.sync(fd)
                atomic.sync_folder(folder)
        except OSError:
            os.close(fd)
            atomic.unlink_quietly(path)
            raise
        return cls(number, path, fd, space)

    def begin(self, number: int, previous: int, previous_end: int) -> None:
        """Write the header; durable with the first append, or with `sync`."""
        head = frames.header(number, self.number, previous, previous_end)
        self._write(head)
        self.start = self.end = len(head)

    def append(self, data: bytes) -> None:
        """Write whole frames and make them durable. After an OSError nothing of them counts, and the segment is over:
        a second sync of the same file would call lost pages written (F7)."""
        self._write(data)
        self.sync()
        self.end += len(data)

    def sync(self) -> None:
        try:
            atomic.sync_data(self.fd)
        except OSError:
            self.sound = False
            raise

    def _write(self, data: bytes) -> None:
        try:
            written = os.pwrite(self.fd, data, self.end)
            while written < len(data):
                written += os.pwrite(self.fd, data[written:], self.end + written)
        except OSError:
            self.sound = False
            raise

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


Piece = tuple[int, int, bytes]


class Found:
    """All segments of a folder, read: the frames that count, in order, and what is wrong with the rest.

    `last` is the number of the last segment, `end` its valid end, `next` the number of the next frame. `torn` and
    `damaged` hold (segment number, where it starts, bytes) of what does not count and is not void.
    """

    __slots__ = ("damaged", "end", "frames", "last", "next", "numbers", "torn")

    def __init__(self) -> None:
        self.frames: list[tuple[int, frames.Frame]] = []
        self.numbers: list[int] = []
        self.last = 0
        self.end = 0
        self.next = 1
        self.torn: list[Piece] = []
        self.damaged: list[Piece] = []


def read_all(folder: str, read: Callable[[str], bytes] = atomic.read) -> Found:
    """Read all segments of `folder`, in order. Raises OSError when one cannot be read.

    A segment says in its header where the one before validly ends: frames behind that end, and those of any segment
    between the two, belong to commits that failed and were made again.
    """
    found = Found()
    found.numbers = numbers(folder)
    for number in found.numbers:
        try:
            data = read(path_of(folder, number))
        except FileNotFoundError:  # dropped by a checkpoint between the two looks
            continue
        scanned = frames.scan(data)
        if scanned.header is not None:
            _drop_void(found, scanned.header)
        for start, end in scanned.bad:
            place = found.torn if end > scanned.end else found.damaged
            place.append((number, start, data[start:end].rstrip(b"\0")))
        found.frames += [(number, frame) for frame in scanned.frames]
        if scanned.frames:
            found.next = scanned.frames[-1].number + 1
        found.last, found.end = number, scanned.end
    return found


def _drop_void(found: Found, head: frames.Header) -> None:
    previous, end = head.previous, head.previous_end
    found.frames = [
        (number, frame)
        for number, frame in found.frames
        if number < previous or (number == previous and frame.end <= end)
    ]
    # What lies before the valid end was committed once: it is not the torn end of a write, it is damage.
    found.damaged += [piece for piece in found.torn if piece[0] == previous and piece[1] < end]
    found.torn = [piece for piece in found.torn if piece[0] < previous]
