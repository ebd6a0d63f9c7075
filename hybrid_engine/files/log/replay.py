"""What a start makes of the log: every committed line goes to its place, durably, before anything is acted on.

What can be read was not necessarily synced: the engine may have been killed between a write and its sync. So what is
accepted is first written into a new segment, then over its place in the journals, then synced, and only then may the
log go. Interrupted anywhere, it can be done again. The caller holds the lock.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from hybrid_engine.errors import HybridError, NewerJournalError
from hybrid_engine.files import atomic, journal, quarantine, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import frames, segments
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.overlay import number_of
from hybrid_engine.files.log.places import link_queued, link_template
from hybrid_engine.files.log.rewriting import rewrite_all
from hybrid_engine.model.ids import parse_queue_name
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.rules.transitions import fold

Lines = list[bytes]


@dataclass(slots=True)
class Replayed:
    """What was found: how many workflows the log named, and which were put aside, with the reason. `next_number` and
    `next_segment` are to be used next. `evidence` names copies of what could not be
    read, `rest` the segment that is left to count on from."""

    workflows: int = 0
    put_aside: list[tuple[str, str]] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    next_number: int = 1
    next_segment: int = 1
    rest: str | None = None


def replay(layout: Layout, systems: FileSystems) -> Replayed:
    """Empty the log into the folders. Raises OSError when the disk fails; then nothing is lost."""
    found = segments.read_all(layout.log)
    report = Replayed(next_number=found.next, next_segment=max(found.numbers, default=0) + 1)
    for folder, pieces in ((layout.log, found.torn), (layout.quarantine, found.damaged)):
        report.evidence += [_keep(folder, number, data) for number, _, data in pieces if data]
    lines, removed = gather(found)
    payload = b"".join(frames.without_header(frame.payload) for _, frame in found.frames)
    trusted: list[str] = []
    if payload:
        trusted.append(_write_trusted(layout, report, payload))
    for workflow, of_it in lines.items():
        report.workflows += 1
        reason = _place(layout, workflow, of_it)
        if reason is not None:
            _put_aside(layout, workflow, of_it, reason)
            report.put_aside.append((workflow, reason))
    _forget_names(layout, removed)
    if payload:
        # COMMIT: replayed – what the log held is durable in its place
        try:
            systems.sync()
        except OSError:
            rewrite_all(layout, trusted)
    old = [segments.path_of(layout.log, number) for number in found.numbers] + trusted
    if _is_at_rest(found):
        report.rest = old[0]
    elif old:
        report.rest = _leave_numbers(layout, report)
        for path in old:
            atomic.unlink(path)
        atomic.sync_folder(layout.log)
    return report


def _is_at_rest(found: segments.Found) -> bool:
    """Is there nothing but one segment that says how to count on?"""
    pieces = (*found.torn, *found.damaged)
    return len(found.numbers) == len(found.frames) == 1 and not any(data for *_, data in pieces)


def _leave_numbers(layout: Layout, report: Replayed) -> str:
    """An empty segment for whoever comes next: numbers go on for the life of the home, and are never used twice."""
    segment = segments.Segment.create(layout.log, report.next_segment)
    try:
        segment.begin(report.next_number, 0, 0)
        segment.sync()
        atomic.sync_folder(layout.log)
    except OSError:
        atomic.unlink_quietly(segment.path)
        raise
    finally:
        segment.close()
    report.next_segment += 1
    report.next_number += 1
    return segment.path


def gather(found: segments.Found) -> tuple[dict[str, Lines], set[str]]:
    """The lines of each workflow, in order, but nothing of one that was removed later; and those removed."""
    lines: dict[str, Lines] = {}
    removed: set[str] = set()
    for _, frame in found.frames:
        for workflow, line in frame.lines():
            if line == frames.REMOVED:
                lines.pop(workflow, None)
                removed.add(workflow)
            else:
                lines.setdefault(workflow, []).append(line)
                removed.discard(workflow)
    return lines, removed


def _forget_names(layout: Layout, removed: set[str]) -> None:
    """A removed workflow, unless it was to be put aside and still has its folder, leaves no name in the queue."""
    gone = {workflow for workflow in removed if not os.path.lexists(layout.workflow(workflow))}
    for name in os.listdir(layout.queue) if gone else ():
        parsed = parse_queue_name(name)
        if parsed is not None and parsed[2] in gone:
            atomic.unlink(layout.queued(name))


def _write_trusted(layout: Layout, report: Replayed, payload: bytes) -> str:
    """A segment that stands for all before it, so that what is acted on is durable whatever the old ones were."""
    segment = segments.Segment.create(layout.log, report.next_segment)
    report.next_segment += 1
    try:
        segment.append(frames.header(report.next_number, segment.number, 0, 0, payload))
        atomic.sync_folder(layout.log)
    except OSError:
        atomic.unlink_quietly(segment.path)
        raise
    finally:
        segment.close()
    report.next_number += 1
    return segment.path


def _place(layout: Layout, workflow: str, lines: Lines) -> str | None:
    """Write the lines over their place in the journal; returns why that cannot be."""
    numbers = [number_of(line) for line in lines]
    first = numbers[0]
    if numbers != list(range(first, first + len(numbers))):
        return f"the log has a gap: it holds events {numbers[0]} to {numbers[-1]}, but not all"
    path = layout.journal(workflow)
    try:
        data = atomic.read(path)
    except FileNotFoundError:
        data = b""
    try:
        reading = journal.parse(data)
    except NewerJournalError:
        return None
    if len(reading.entries) < first - 1:
        return f"its journal ends with event {len(reading.entries)}, and the log begins with event {first}"
    start = _offset(data, first - 1)
    logged = b"".join(lines)
    whole = data[:start] + logged + data[start + len(logged) :]
    end = _sound_end(whole, start + len(logged))
    _write_over(layout, workflow, path, start, logged, end)
    _bring_in_line(layout, workflow, whole[:end])
    return None


def _sound_end(whole: bytes, least: int) -> int:
    """Where the sound lines end: behind those of the log there may be later ones, whose segments are gone."""
    try:
        return max(least, journal.parse(whole).good)
    except NewerJournalError:
        return len(whole)


def _offset(data: bytes, lines: int) -> int:
    """Where the line behind so many begins."""
    at = 0
    for _ in range(lines):
        at = data.find(b"\n", at) + 1
    return at


def _write_over(layout: Layout, workflow: str, path: str, start: int, data: bytes, end: int) -> None:
    atomic.make_folder(layout.workflow(workflow))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, atomic.FILE_MODE)
    try:
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], start + written)
        os.ftruncate(fd, end)
    finally:
        os.close(fd)


def _bring_in_line(layout: Layout, workflow: str, data: bytes) -> None:
    """Names and views as the journal says; what cannot be folded keeps its name in the queue, for recovery to see."""
    folder, name = layout.workflow(workflow), journal.queue_name_of(data)
    state = _folded(data)
    if state is not None:
        link_template(layout, folder, state.version)
        view = views.render_state(views.state_record(state))
        try:
            atomic.replace(layout.state(workflow), view, tmp=layout.temporary(workflow), durable=False)
        except (IsADirectoryError, NotADirectoryError):
            pass
    if name is None:
        return
    if state is not None and state.is_final:
        atomic.unlink(layout.queued(name))
    else:
        link_queued(layout, folder, name)


def _folded(data: bytes) -> WorkflowState | None:
    try:
        return fold((entry.n, entry.at, entry.event) for entry in journal.parse(data).entries)
    except (HybridError, TypeError, AttributeError, ValueError, KeyError):
        return None


# --- what cannot be ------------------------------------------------------------------------------------------------


def _put_aside(layout: Layout, workflow: str, lines: Lines, reason: str) -> None:
    """Put the workflow into quarantine with the lines that the log has of it."""
    ending = f"-{workflow}.json"  # nothing else may be left that tells its name in the queue
    name = next((name for name in os.listdir(layout.queue) if name.endswith(ending)), None)
    target = quarantine.put_aside(layout, workflow, reason, name)
    atomic.write_new(os.path.join(target, "log-lines.jsonl"), b"".join(lines))
    atomic.sync_folder(target)


def _keep(folder: str, number: int, data: bytes) -> str:
    """A copy of bytes of a segment that are no frame: the torn end of one beside it, damage in the quarantine."""
    stem, k = os.path.join(folder, f"log-{number}"), 1
    while os.path.lexists(path := f"{stem}.torn-{k}"):
        k += 1
    atomic.write_new(path, data)
    atomic.sync_folder(folder)
    return path
