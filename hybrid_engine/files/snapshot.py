"""The snapshot of a long journal: the whole state that its first events add up to, so that only the rest is folded.

It says for how many bytes of the journal it stands, and their checksum: one that does not fit them, or that another
version of the program made, is as good as none. It can be deleted at any time; nothing is ever acted on by it that the
journal does not say.
"""

from __future__ import annotations

import os
from dataclasses import MISSING, dataclass, fields
from typing import Any
from zlib import crc32

from hybrid_engine import __version__
from hybrid_engine.files import atomic, journal
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.events import Event
from hybrid_engine.model.jsontext import decode, encode
from hybrid_engine.model.state import StepState, WorkflowState

FORMAT = 1
EVERY = 262_144
"""Bytes by which a journal has grown before the next snapshot of it."""
SHARE = 4
"""A journal grows at least by so many times the length of its snapshot before the next one: a large state is costly."""
_REMEMBERED = 256

_STATE = tuple(field.name for field in fields(WorkflowState) if field.name != "steps")
_STEP = tuple((field.name, field.default if field.default is not MISSING else MISSING) for field in fields(StepState))
_MADE_BY = f"{__version__} {crc32(' '.join((*_STATE, *(name for name, _ in _STEP))).encode()):08x}"
"""Which program may use it: what an event means to a state may differ in another version."""


@dataclass(slots=True)
class Snapshot:
    """`state` is what the first `size` bytes of the journal add up to; `last` is their last event."""

    state: WorkflowState
    size: int
    last: Event


def render(state: WorkflowState, size: int, checksum: int) -> bytes:
    """The bytes of `snapshot.json`: one line, with its own checksum at its end, as those of journals."""
    record: dict[str, Any] = {"format": FORMAT, "by": _MADE_BY, "size": size, "checksum": checksum}
    record["state"] = {name: getattr(state, name) for name in _STATE}
    record["steps"] = {name: _step_record(step) for name, step in state.steps.items()}
    body = encode(record).encode("utf-8", "backslashreplace")
    return b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body))


def parse(data: bytes, journal_data: bytes) -> Snapshot | None:
    """The snapshot, when it fits the journal; else None. Never raises for bad bytes."""
    body = data[:-19] + b"}"
    if data[-19:] != b',"crc":"%08x"}\n' % crc32(body):
        return None
    try:
        record = decode(body)
        if (record["format"], record["by"]) != (FORMAT, _MADE_BY):
            return None
        size, steps = record["size"], record["steps"]
        if size > len(journal_data) or crc32(memoryview(journal_data)[:size]) != record["checksum"]:
            return None
        state = WorkflowState(**record["state"], steps={name: StepState(**step) for name, step in steps.items()})
        line = journal_data.rfind(b"\n", 0, size - 1) + 1
        (entry,) = journal.parse(journal_data[line:size], known=state.seq - 1).entries
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Snapshot(state, size, entry.event)


def _step_record(step: StepState) -> dict[str, Any]:
    return {name: value for name, default in _STEP if (value := getattr(step, name)) != default or default is MISSING}


def read(layout: Layout, workflow: str, journal_data: bytes) -> Snapshot | None:
    """The snapshot of a workflow, when there is one that fits its journal."""
    try:
        return parse(atomic.read(layout.snapshot(workflow)), journal_data)
    except OSError:
        return None


class Snapshots:
    """Writes snapshots of journals as they grow. Of a journal that was looked at lately only the growth is read."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[int, int, int]] = {}  # size, checksum, when the next one is due

    def grown(self, state: WorkflowState) -> None:
        """The journal holds all events of this state and no more. An error of the disk leaves it without a snapshot."""
        try:
            size = os.stat(self._layout.journal(state.id), follow_symlinks=False).st_size
            known, checksum, due = self._known.get(state.id, (0, 0, EVERY))
            if size >= due:
                self._add(state, size, known, checksum)
        except OSError:
            pass

    def _add(self, state: WorkflowState, size: int, known: int, checksum: int) -> None:
        grown = _read_from(self._layout.journal(state.id), known, size - known)
        if journal.number_of_last(grown) != state.seq:
            return
        self.write(state, size, crc32(grown, checksum))

    def write(self, state: WorkflowState, size: int, checksum: int) -> None:
        """Keep the state that the first `size` bytes of its journal add up to, not durably. Raises OSError."""
        data = render(state, size, checksum)
        path = self._layout.snapshot(state.id)
        while len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[state.id] = size, checksum, size + max(EVERY, SHARE * len(data))
        atomic.replace(path, data, tmp=self._layout.temporary(state.id), durable=False)


def _read_from(path: str, start: int, length: int) -> bytes:
    fd = os.open(path, atomic.READ)
    try:
        return os.pread(fd, length, start)
    finally:
        os.close(fd)
