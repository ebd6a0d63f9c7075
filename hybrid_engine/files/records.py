"""Reading workflows back from their folders: what `state.json` says, or should say, from the best record that is left.

`state.json` is a view; when it is missing or unreadable the journal is folded, and before the journal has begun the
job file is the record. Nothing is written here and nothing damaged is hidden: `Records.record` gives None then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from hybrid_engine.errors import HybridError
from hybrid_engine.files import atomic, journal, queue, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import overlay
from hybrid_engine.model.ids import is_id, parse_queue_name
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.words import FINAL_WORKFLOW, WORKFLOW_STATUSES
from hybrid_engine.rules.transitions import fold

_TAIL = 65_536
_LONGEST_TAIL = 4 << 20
"""A line is longer than `_TAIL` when it holds much that was asked for, or an output of format 1."""
LONG = 65_536
"""Bytes of a journal whose view is believed, when it is as new as the last line. Below, folding is quick."""


def workflow_ids(layout: Layout) -> Iterator[str]:
    """The ids of all workflows that have a folder, in the order of the disk; nothing is held in memory."""
    try:
        entries = os.scandir(layout.workflows)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if is_id(entry.name) and entry.is_dir(follow_symlinks=False):
                yield entry.name


def queued_ids(layout: Layout) -> dict[str, str]:
    """Workflow id to the name of its file in the queue."""
    try:
        names = os.listdir(layout.queue)
    except FileNotFoundError:
        return {}
    return {parts[2]: name for name in names if (parts := parse_queue_name(name))}


def read_state(layout: Layout, workflow: str) -> dict[str, Any] | None:
    """The object in `state.json` when it is one of ours, else None. It may be behind the journal."""
    try:
        record = json.loads(atomic.read(layout.state(workflow)))
    except (OSError, ValueError, RecursionError):
        return None
    if isinstance(record, dict) and record.get("id") == workflow and record.get("status") in WORKFLOW_STATUSES:
        return record
    return None


def folded(reading: journal.Reading) -> WorkflowState | None:
    """The state that a journal adds up to. Raises HybridError when its events do not fit together."""
    return fold((entry.n, entry.at, entry.event) for entry in reading.entries)


def view_of_long(layout: Layout, workflow: str, logged: list[bytes]) -> dict[str, Any] | None:
    """The record in `state.json` when it spares folding a long journal: it is whole, and stands for the last event of
    journal and log (`logged`). Views are never wrong, only late. None when the journal has to be folded."""
    path = layout.journal(workflow)
    try:
        if os.stat(path, follow_symlinks=False).st_size < LONG:
            return None
        record = read_state(layout, workflow)  # before the journal: it may be late, never early
        if record is None or not views.is_whole(record):
            return None
        last = _last_number(path)
        if last is None or record["seq"] != max(last, overlay.number_of(logged[-1]) if logged else 0):
            return None
        # The view is sorted; a person wants the steps as the template has them.
        steps = record["steps"]
        known = [name for name in queue.read_job(path).steps if name in steps]
    except (HybridError, OSError):
        return None
    record["steps"] = {name: steps[name] for name in (*known, *steps)}
    return record


def _last_number(path: str) -> int | None:
    """The number of the last line of a long journal; None when it is torn or damaged."""
    for size in (_TAIL, _LONGEST_TAIL):
        data = atomic.read_tail(path, size)
        if b"\n" in data[:-1]:
            return journal.number_of_last(data)
    return None


def final_status(layout: Layout, workflow: str) -> str | None:
    """How a workflow ended, or None when it has not, or nobody can be sure of it. The journal has the last word.

    When `state.json` is final and its number is that of the journal's last line, the rest need not be read.
    """
    state = read_state(layout, workflow)
    path = layout.journal(workflow)
    if state is not None and state["status"] in FINAL_WORKFLOW:
        last = _last_line(path)
        if last is not None and (last.get("n"), last.get("type")) == (state.get("seq"), "workflow_" + state["status"]):
            return str(state["status"])
    try:
        reading = journal.read(path)
        folded_state = None if reading.tail else folded(reading)
    except (HybridError, OSError):
        return None
    return folded_state.status if folded_state is not None and folded_state.is_final else None


def _last_line(path: str) -> dict[str, Any] | None:
    """The object of a journal's last line, its checksum not looked at; None when it is not to be had cheaply."""
    try:
        fd = os.open(path, atomic.READ)
        try:
            size = os.fstat(fd).st_size
            data = os.pread(fd, _TAIL, max(0, size - _TAIL))
        finally:
            os.close(fd)
        record = json.loads(data[data.rfind(b"\n", 0, -1) + 1 :]) if data.endswith(b"}\n") else None
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


class Records:
    """All workflows of a home, as the index wants to read them when it is rebuilt."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def ids(self) -> Iterator[str]:
        return workflow_ids(self._layout)

    def exists(self, workflow: str) -> bool:
        return os.path.lexists(self._layout.workflow(workflow))

    def unfinished(self) -> dict[str, str]:
        return queued_ids(self._layout)

    def record(self, workflow: str) -> dict[str, Any] | None:
        """The JSON object of `state.json`, if need be made from the journal or the job file; None when all fail."""
        record = read_state(self._layout, workflow)
        if record is not None:
            return record
        try:
            state = folded(overlay.read_journal(self._layout, workflow, engine_lives=True))
            if state is not None:
                return views.state_record(state)
            return views.queued_record(queue.read_job(self._layout.job(workflow)))
        except (HybridError, OSError):
            return None
