"""What the log holds and the folders may lack: for those who look, with or without an engine at work. Read-only."""

from __future__ import annotations

from hybrid_engine.files import atomic, heartbeat, journal
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import frames, segments


def lines(layout: Layout, *, engine_lives: bool, only: str | None = None) -> dict[str, list[bytes]]:
    """The committed lines that wait for a checkpoint, by workflow; of one workflow with `only`.

    While an engine lives, nothing counts that it has not synced yet: it would be shown and then perhaps be lost.
    """
    found = segments.read_all(layout.log)
    pulse = heartbeat.read(layout) if engine_lives else None
    gathered: dict[str, list[bytes]] = {}
    mark = None if only is None else only.encode() + b" "
    for number, frame in found.frames:
        if pulse is not None and (number, frame.end) > pulse.durable:
            continue
        if mark is not None and mark not in frame.payload:
            continue
        for workflow, line in frame.lines():
            if only is not None and workflow != only:
                continue
            if line == frames.REMOVED:
                gathered.pop(workflow, None)
            else:
                gathered.setdefault(workflow, []).append(line)
    return gathered


def whole_journal(data: bytes, logged: list[bytes]) -> bytes:
    """The bytes that a journal has when the lines of the log are in their place."""
    if not logged:
        return data
    first = number_of(logged[0])
    start = 0
    for _ in range(first - 1):
        at = data.find(b"\n", start) + 1
        if not at:
            return data  # a hole: the journal as it is tells more
        start = at
    joined = b"".join(logged)
    rest = data[start:]
    return data if len(rest) > len(joined) and rest.startswith(joined) else data[:start] + joined


def number_of(line: bytes) -> int:
    """The number of an event, from its line; 0 when it does not tell."""
    digits = line[5 : line.find(b",", 5)]
    return int(digits) if line.startswith(b'{"n":') and digits.isdigit() else 0


def read_journal(layout: Layout, workflow: str, *, engine_lives: bool) -> journal.Reading:
    """A workflow's journal with what the log has beyond it. Raises OSError, NewerJournalError."""
    return journal.parse(read_whole(layout, workflow, lines_of(layout, workflow, engine_lives=engine_lives)))


def lines_of(layout: Layout, workflow: str, *, engine_lives: bool) -> list[bytes]:
    """The committed lines of one workflow that wait for a checkpoint."""
    return lines(layout, engine_lives=engine_lives, only=workflow).get(workflow, [])


def read_whole(layout: Layout, workflow: str, logged: list[bytes]) -> bytes:
    """The bytes of a workflow's journal with what the log has beyond it. Raises OSError."""
    try:
        data = atomic.read(layout.journal(workflow))
    except FileNotFoundError:
        data = b""
    return whole_journal(data, logged)
