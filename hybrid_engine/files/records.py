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
from hybrid_engine.model.ids import is_id, parse_queue_name
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.words import WORKFLOW_STATUSES
from hybrid_engine.rules.transitions import fold


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
            state = folded(journal.read(self._layout.journal(workflow)))
            if state is not None:
                return views.state_record(state)
            return views.queued_record(queue.read_job(self._layout.job(workflow)))
        except (HybridError, OSError):
            return None
