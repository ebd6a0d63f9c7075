"""The journal: one event a line, numbered, with a checksum; how it is encoded, read and checked.

A line is `{"n":…,"at":…,"type":…,[“batch”:…,]…fields…,"crc":"xxxxxxxx"}`. The checksum is over the line without its
own field. `batch` stands in lines that were written together with others and holds the number of the first of them:
a power cut may keep the end of such a write and lose its beginning, and only so can that be told from damage.

What deliberately does not live here: what events mean (rules), how lines become durable and get into the file (log).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from hybrid_engine.errors import NewerJournalError
from hybrid_engine.files import atomic
from hybrid_engine.model.events import EVENT_TYPES, Event, as_record, from_record
from hybrid_engine.model.ids import queue_name
from hybrid_engine.model.stamps import Stamp

SEED = 0x48594252
_CRC_LENGTH = len(',"crc":"00000000"}')
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False).encode


@dataclass(slots=True)
class Entry:
    """One good line: `n` counts from 1; `at` is the moment its turn began."""

    n: int
    at: Stamp
    event: Event


@dataclass(slots=True)
class Reading:
    """What a journal file holds. `good` bytes from its start are sound lines; `tail` is what lies behind them.
    `known` events before the first of `entries` were not read, because they are known from elsewhere.

    `torn`: the tail is the rest of a write that a crash cut short, and may be cut. `damage`: a sentence when a bad
    line is followed by a later write's good ones; such a journal must not be used or changed.
    """

    entries: list[Entry] = field(default_factory=list)
    good: int = 0
    tail: bytes = b""
    damage: str | None = None
    known: int = 0

    @property
    def n(self) -> int:
        """The number of the last sound event."""
        return self.known + len(self.entries)

    @property
    def torn(self) -> bool:
        return bool(self.tail) and self.damage is None


def encode(first: int, at: Stamp, events: Sequence[Event]) -> bytes:
    """The lines of `events`, numbered from `first`, that were decided together."""
    return b"".join(encode_lines(first, at, events))


def encode_lines(first: int, at: Stamp, events: Sequence[Event]) -> list[bytes]:
    """As `encode`, line by line."""
    lines = []
    for n, event in enumerate(events, first):
        record: dict[str, object] = {"n": n, "at": at, "type": event.TYPE}
        if len(events) > 1:
            record["batch"] = first
        record.update(as_record(event))
        body = _encode(record).encode("utf-8", "backslashreplace")
        lines.append(b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body, SEED)))
    return lines


def queue_name_of(data: bytes) -> str | None:
    """The name in `queue/` of the workflow whose journal this is; None when its first line does not tell."""
    record: dict[str, Any] | None = _decode(data.partition(b"\n")[0])
    try:
        return queue_name(record.get("priority", 0), record["due_at"], record["workflow"]) if record else None
    except (KeyError, TypeError, AttributeError):
        return None


def _decode(line: bytes) -> dict[str, Any] | None:
    """The record of a line, or None when it is not, byte for byte, what was written."""
    body = line[:-_CRC_LENGTH] + b"}"
    if line[-_CRC_LENGTH:] != b',"crc":"%08x"}' % crc32(body, SEED):
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "at" in record and "type" in record else None


def read(path: str) -> Reading:
    """Read and check a journal; a missing file reads as an empty one. Raises JournalError for a newer format."""
    try:
        data = atomic.read(path)
    except FileNotFoundError:
        return Reading()
    return parse(data)


def parse(data: bytes, start: int = 0, known: int = 0) -> Reading:
    """`read` of the bytes of a journal, of which the `known` events before byte `start` are known from elsewhere. Never
    raises for bad bytes, whatever they are."""
    reading = Reading(good=start, known=known)
    while start < len(data):
        end = data.find(b"\n", start)
        record = _decode(data[start:end]) if end >= 0 else None
        if record is None or record.get("n") != reading.n + 1:
            reading.tail = data[start:]
            reading.damage = _damage(reading, data[start:])
            return reading
        reading.entries.append(_entry(record))
        start = reading.good = end + 1
    return reading


def _entry(record: dict[str, object]) -> Entry:
    n, at, type_ = record.pop("n"), record.pop("at"), str(record.pop("type"))
    record.pop("batch", None)
    if type_ not in EVENT_TYPES:
        raise NewerJournalError(f"event {n} is a {type_!r}, which only a newer version knows")
    try:
        return Entry(int(str(n)), str(at), from_record(type_, record))
    except TypeError as error:
        raise NewerJournalError(f"event {n} ({type_}) has fields that this version does not know: {error}") from None


def number_of_last(data: bytes) -> int | None:
    """The number of the last line in these bytes of a journal; None when it is not a whole and sound one."""
    if not data.endswith(b"\n"):
        return None
    record = _decode(data[data.rfind(b"\n", 0, -1) + 1 : -1])
    number = record.get("n") if record is not None else None
    return number if isinstance(number, int) else None


def find(data: bytes, types: Collection[str]) -> Iterator[Entry]:
    """The sound events of these types, in order; the lines of others are not even decoded."""
    for start in sorted({start for type_ in types for start in _lines_with(data, b'"type":"%b"' % type_.encode())}):
        record = _decode(data[start : data.find(b"\n", start)])
        if record is not None and record["type"] in types:
            yield _entry(record)


def _lines_with(data: bytes, mark: bytes) -> Iterator[int]:
    """Where the whole lines begin that hold the mark."""
    at = data.find(mark)
    while at >= 0 and (end := data.find(b"\n", at)) >= 0:
        yield data.rfind(b"\n", 0, at) + 1
        at = data.find(mark, end)


def _damage(reading: Reading, tail: bytes) -> str | None:
    """Why the bad bytes at the start of `tail` are damage, or None when they are a torn write."""
    expected = reading.n + 1
    for number, line in enumerate(tail.split(b"\n")):
        record = _decode(line)
        if record is None:
            continue
        n, batch = record.get("n"), record.get("batch", record.get("n"))
        if number == 0 and n == expected:
            continue  # of this write only the end of the line is missing
        if not (isinstance(n, int) and isinstance(batch, int) and batch <= expected < n):
            return f"line {expected} is bad, but a sound line (event {n}) of a later write follows it"
    return None


def cut_torn_tail(path: str, reading: Reading) -> str:
    """Keep a copy of the torn tail beside the journal, then cut it off. Returns the name of the copy."""
    copy = _free_name(path.removesuffix(".jsonl") + ".torn-")
    atomic.write_new(copy, reading.tail)
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(fd, reading.good)
        atomic.sync(fd)
    finally:
        os.close(fd)
    atomic.sync_folder(os.path.dirname(path))
    return copy


def _free_name(prefix: str) -> str:
    number = 1
    while os.path.lexists(f"{prefix}{number}"):
        number += 1
    return f"{prefix}{number}"
