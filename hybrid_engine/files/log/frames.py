"""The bytes of a log segment: frames, one per commit, each whole or nothing. Pure; light module.

A frame is a head of fixed length, `=<number> <length> <crc>` and a newline, and a payload of whole lines. `number`
counts the frames of a home for its life; the CRC covers number, length and payload. The first line of a segment's first
frame is its header, `#<format> <segment> <previous segment> <its valid end>`: what lies behind that end, and all that
lies between the two segments, is void. Every other payload line is `<workflow id> <line of its journal>`, or
`<workflow id> -` for a workflow that was removed. Zeros end a segment: space is reserved by filling it ahead.
"""

from __future__ import annotations

from zlib import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FORMAT = 1
SEED = 0x4C4F4731
HEAD_LENGTH = 36
REMOVED = b"-"


class Frame:
    """One sound frame of a segment, from byte `start` to byte `end`."""

    __slots__ = ("end", "number", "payload", "start")

    def __init__(self, number: int, payload: bytes, start: int, end: int) -> None:
        self.number = number
        self.payload = payload
        self.start = start
        self.end = end

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """(workflow, line with its newline) of each payload line but a header; that of a removal is `REMOVED`."""
        for line in self.payload[:-1].split(b"\n"):
            if line.startswith(b"#"):
                continue
            workflow, _, rest = line.partition(b" ")
            yield workflow.decode("ascii", "replace"), rest if rest == REMOVED else rest + b"\n"


class Header:
    """What the first frame of a segment says."""

    __slots__ = ("format", "previous", "previous_end", "segment")

    def __init__(self, format: int, segment: int, previous: int, previous_end: int) -> None:
        self.format = format
        self.segment = segment
        self.previous = previous
        self.previous_end = previous_end


class Scan:
    """What a segment holds. `end`: behind its last sound frame. `bad`: (start, end) of bytes that are no frame and
    not zero; the one that reaches beyond `end` is a torn end, any other is damage."""

    __slots__ = ("bad", "end", "frames", "header")

    def __init__(self) -> None:
        self.header: Header | None = None
        self.frames: list[Frame] = []
        self.end = 0
        self.bad: list[tuple[int, int]] = []


def encode(number: int, payload: bytes) -> bytes:
    """The bytes of a frame. `payload` is not empty and ends with a newline."""
    head = b"%016d %08x" % (number, len(payload))
    return b"=%b %08x\n%b" % (head, crc32(payload, crc32(head, SEED)), payload)


def header(number: int, segment: int, previous: int, previous_end: int, payload: bytes = b"") -> bytes:
    """The bytes of a segment's first frame. One that makes others void carries what takes their place in `payload`."""
    return encode(number, b"#%d %d %d %d\n%b" % (FORMAT, segment, previous, previous_end, payload))


def without_header(payload: bytes) -> bytes:
    """The lines of a frame, but for a header."""
    return payload.partition(b"\n")[2] if payload.startswith(b"#") else payload


def scan(data: bytes) -> Scan:
    """All sound frames of a segment, also those behind damage. Never raises, whatever the bytes are."""
    found = Scan()
    at = 0
    while at < len(data):
        frame = _frame(data, at)
        if frame is None:
            start, at = at, _next_frame(data, at + 1)
            if data[start:at].strip(b"\0"):
                found.bad.append((start, at))
            continue
        if frame.start == 0 and frame.payload.startswith(b"#"):
            found.header = _header(frame.payload)
        found.frames.append(frame)
        at = found.end = frame.end
    return found


def _header(payload: bytes) -> Header | None:
    """What a first frame says; a later format may say more. None when it cannot be understood."""
    try:
        format_, segment, previous, previous_end = map(int, payload[1:].partition(b"\n")[0].split()[:4])
    except ValueError:
        return None
    return Header(format_, segment, previous, previous_end)


def _frame(data: bytes, at: int) -> Frame | None:
    if data[at : at + 1] != b"=" or data[at + HEAD_LENGTH - 1 : at + HEAD_LENGTH] != b"\n":
        return None
    try:
        number, size, crc = (
            int(data[at + 1 : at + 17]),
            int(data[at + 18 : at + 26], 16),
            int(data[at + 27 : at + 35], 16),
        )
    except ValueError:
        return None
    start = at + HEAD_LENGTH
    payload = data[start : start + size]
    if not payload or len(payload) < size or crc32(payload, crc32(data[at + 1 : at + 26], SEED)) != crc:
        return None
    return Frame(number, payload, at, start + size)


def _next_frame(data: bytes, at: int) -> int:
    """Where the next sound frame begins; the end of the data when there is none."""
    while (at := data.find(b"=", at)) >= 0:
        if _frame(data, at) is not None:
            return at
        at += 1
    return len(data)
