"""Rows of the index: which fields of a workflow it holds, and how a record, a state or a job becomes a tuple of them.

Called by the engine's main thread for every change of status, so it costs one or two microseconds and no SQL. What
does not live here: how rows are stored (schema) and found again (listing).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybrid_engine.model.job import Job
    from hybrid_engine.model.state import WorkflowState

Row = tuple[Any, ...]

FIELDS = (
    "id", "seq", "template", "version", "status", "priority", "user", "trigger", "key", "queued_at", "due_at",
    "started_at", "ended_at", "error", "labels",
)  # fmt: skip
ERROR_LENGTH = 200

_of_record: Callable[[Any], Row] = itemgetter(*FIELDS)
_of_state: Callable[[Any], Row] = attrgetter(*FIELDS)
_of_job: Callable[[Any], Row] = attrgetter(
    "id", "template", "version", "priority", "user", "trigger", "key", "queued_at", "due_at", "labels"
)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def row_of(record: Mapping[str, Any] | WorkflowState) -> Row:
    """The row of the JSON object of a `state.json`, or of the state it was made from."""
    row = _of_record(record) if isinstance(record, dict) else _of_state(record)
    if row[-2] or row[-1]:
        return (*row[:-2], short_error(row[-2]), _labels(row[-1]))
    return (*row[:-2], None, None)


def row_of_job(job: Job) -> Row:
    """The row of a job of which nothing but its acceptance, its first event, is known."""
    id_, template, version, priority, user, trigger, key, queued_at, due_at, labels = _of_job(job)
    return (
        id_, 1, template, version, "queued", priority, user, trigger, key, queued_at, due_at, None, None, None,
        _labels(labels),
    )  # fmt: skip


def short_error(error: Any) -> str | None:
    """The first line of what went wrong, cut to a length that fits a table."""
    if not error:
        return None
    text = str(error.get("message") or error.get("kind") or "failed") if isinstance(error, Mapping) else str(error)
    return text.split("\n", 1)[0][:ERROR_LENGTH].encode("utf-8", "replace").decode()


def _labels(labels: Mapping[str, str] | None) -> str | None:
    return _encode(labels).encode("utf-8", "replace").decode() if labels else None
