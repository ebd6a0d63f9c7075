"""How the views look: `state.json` and `queue-state.json` as bytes. Rendering only; who writes them when is elsewhere.

Byte-stable: keys sorted, one field a line, one step a line, one job a line, so that `git diff`, `grep` and `tail` are
good at them. Light module: a queued workflow's first view is written by `hybrid enqueue` itself.
"""

from __future__ import annotations

from hybrid_engine.model.jsontext import encoder
from hybrid_engine.model.waits import sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from hybrid_engine.model.entry import Entry
    from hybrid_engine.model.job import Job
    from hybrid_engine.model.state import StepState, WorkflowState
    from hybrid_engine.model.waits import Wait

STATE_FORMAT = 1
QUEUE_FORMAT = 1

_encode = encoder(sort_keys=True, item_separator=", ", key_separator=": ")

_STATE_FIELDS = (
    "id", "template", "version", "status", "seq", "priority", "user", "trigger", "key", "source", "parent",
    "forked_from", "params", "labels", "queued_at", "due_at", "started_at", "ended_at", "updated_at",
    "cancel_requested_at", "error", "signals",
)  # fmt: skip
_LINES = tuple((name, f'  "{name}": ') for name in sorted((*_STATE_FIELDS, "steps", "progress", "format")))
"""The fields in the order of the view, and how their lines begin."""

_STEP_FIELDS = (
    "started_at", "ended_at", "retry_at", "exit_code", "output", "output_ref", "error", "reason", "lost",
    "reopened_at_attempt",
)  # fmt: skip


def state_record(state: WorkflowState) -> dict[str, Any]:
    """The JSON object of `state.json`."""
    record: dict[str, Any] = {name: getattr(state, name) for name in _STATE_FIELDS}
    record["steps"] = {name: step_record(step) for name, step in state.steps.items()}
    record["progress"] = _progress(state)
    record["format"] = STATE_FORMAT
    return record


def is_whole(record: dict[str, Any]) -> bool:
    """Does a record that was read from `state.json` have all that this version would write?"""
    return record.get("format") == STATE_FORMAT and all(name in record for name, _ in _LINES)


def step_record(step: StepState) -> dict[str, Any]:
    """One step of `state.json`: status and attempt always, the rest where there is something to say."""
    record: dict[str, Any] = {"status": step.status, "attempt": step.attempt}
    for name in _STEP_FIELDS:
        value = getattr(step, name)
        if value or (value is not None and name in ("exit_code", "output")):
            record[name] = value
    if step.percent is not None:
        record["progress"] = {"percent": step.percent, "message": step.message}
    return record


def queued_record(job: Job, updated_at: str | None = None) -> dict[str, Any]:
    """The JSON object of `state.json` of a job that has not begun: what its first event folds to."""
    record: dict[str, Any] = dict.fromkeys(_STATE_FIELDS)
    for name in ("id", "template", "version", "priority", "user", "trigger", "key", "source", "params", "labels",
                 "queued_at", "due_at", "parent"):  # fmt: skip
        record[name] = getattr(job, name)
    record.update(status="queued", seq=1, signals=[], updated_at=updated_at or job.queued_at, format=STATE_FORMAT)
    record["steps"] = {name: {"status": "pending", "attempt": 0} for name in job.steps}
    record["progress"] = {"done": 0, "total": len(job.steps), "percent": 0}
    return record


def _progress(state: WorkflowState) -> dict[str, Any]:
    total = len(state.steps)
    inner = sum(step.percent or 0 for step in state.steps.values() if step.status == "running") if state.active else 0
    percent = (state.done * 100 + inner) / total if total else 100
    return {"done": state.done, "total": total, "percent": int(percent)}


def render_state(record: dict[str, Any]) -> bytes:
    """The bytes of `state.json`."""
    lines = []
    for name, prefix in _LINES:
        value = record[name]
        if name == "steps":
            steps = ",\n".join(f"    {_encode(key)}: {_encode(step)}" for key, step in sorted(value.items()))
            lines.append(f"{prefix}{{\n{steps}\n  }}" if steps else prefix + "{}")
        else:
            lines.append(prefix + ("null" if value is None else _encode(value)))
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8", "backslashreplace")


def queue_line(entry: dict[str, Any]) -> bytes:
    """One job of `queue-state.json`, without the comma."""
    return _encode(entry).encode("utf-8", "backslashreplace")


def render_progress(progress: Mapping[str, tuple[float, str | None]]) -> bytes:
    """The bytes of `progress.json`: what running steps say of themselves, one step a line."""
    lines = (
        f"    {_encode(step)}: {_encode({'percent': percent, 'message': message})}"
        for step, (percent, message) in sorted(progress.items())
    )
    text = ",\n".join(lines)
    return f'{{\n  "format": 1,\n  "steps": {{\n{text}\n  }}\n}}\n'.encode("utf-8", "backslashreplace")


def queue_entry(
    job: Job | Entry,
    status: str = "queued",
    waits_for: Wait | None = None,
    size: int | None = None,
    pool: str | None = "",
) -> dict[str, Any]:
    """What `queue-state.json` says of one job. `size` is the length of its journal while it has not begun; `pool` that
    of its template, "" when that is not known."""
    return {
        "id": job.id,
        "template": job.template,
        "priority": job.priority,
        "due_at": job.due_at,
        "queued_at": job.queued_at,
        "status": status,
        "user": job.user,
        "labels": job.labels,
        "pool": pool,
        "size": size,
        "wait": waits_for.as_record() if waits_for is not None else None,
        "waits_for": sentence(waits_for),
    }


def render_queue(head: dict[str, Any], lines: Iterable[bytes]) -> bytes:
    """The bytes of `queue-state.json`: the head's fields, then `jobs`, one a line."""
    head = {"format": QUEUE_FORMAT, **head}
    top = b",\n".join(b"  " + f"{_encode(name)}: {_encode(head[name])}".encode() for name in sorted(head))
    body = b",\n".join(lines)
    jobs = b"[\n%b\n]" % body if body else b"[]"
    return b'{\n%b,\n  "jobs": %b\n}\n' % (top, jobs)
