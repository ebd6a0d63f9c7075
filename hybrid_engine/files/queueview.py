"""`queue-state.json` when no engine runs: brought up to date by whoever holds the lock for a moment, read by all.

The view is one line per job in the order of the names in `queue/`. To bring it up to date, the lines of jobs still in
the queue are kept as they are and only unknown jobs are read, so a line may be late but not wrong. An engine renders
its view from memory with the same `render`. Light module: part of `hybrid enqueue`.
"""

from __future__ import annotations

import os
import time
from errno import EINVAL

from hybrid_engine.errors import JobError
from hybrid_engine.files import atomic, queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.views import queue_entry, queue_line, render_queue
from hybrid_engine.model.jsontext import decode
from hybrid_engine.model.waits import DAEMON, DUE, FOR_A_DAEMON, PERSON, RETRY, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from hybrid_engine.model.job import Job

_KEPT = tuple(b'{"kind": "%b"' % kind.encode() for kind in (DUE, RETRY, PERSON, DAEMON))
"""The waits that have nothing to do with an engine."""
_KEPT_1 = (b'"due time', b'"retry at', b'"a person', b'"a daemon')
"""The same in views of format 1, which have only the sentence."""

SMALL = 500_000
"""Bytes up to which the view is always brought up to date."""
SECONDS_PER_BYTE = 20e-9
SHARE = 20
"""A larger view is written again only after this many times what a writing costs."""
MOST_READ = 2_000
"""Unknown jobs that a mere `hybrid enqueue` reads; when there are more, the view stays late until somebody looks."""

_STATUS = b'"status": "'
_ID = b'"id": "'
_WAIT = b'"wait": '
_WAITS = b'"waits_for": '
_FOR_A_DAEMON = b'"wait": {"kind": "%b"}, "waits_for": "a daemon"}' % DAEMON.encode()
NAME_HEAD = len("9-20261120T073600000123Z-")
COUNTED = ("queued", "delayed", "running", "retrying", "waiting", "paused")


def queue_mtime(layout: Layout) -> int:
    """When a name last came into or left `queue/`: what ties a view to the queue it shows."""
    return os.stat(layout.queue).st_mtime_ns


def render(
    lines: Iterable[bytes],
    counts: Mapping[str, int],
    *,
    updated_at: str,
    mtime_ns: int,
    engine: Mapping[str, Any] | None = None,
) -> bytes:
    """The bytes of `queue-state.json`. `counts` has no total; it is the number of lines only when all are there."""
    told = {name: counts.get(name, 0) for name in COUNTED}
    told["total"] = sum(told.values())
    head = {"updated_at": updated_at, "queue_mtime_ns": mtime_ns, "engine": engine, "counts": told}
    return render_queue(head, lines)


def waiting_line(job: Job, now: str, size: int | None = None) -> bytes:
    """The line of a job that nothing has been done about yet, while no engine runs."""
    is_due = job.due_at <= now or job.due_at == job.queued_at
    return queue_line(queue_entry(job, "queued", FOR_A_DAEMON if is_due else Wait(DUE, until=job.due_at), size))


# --- bringing it up to date ----------------------------------------------------------------------------------------


def accepted(layout: Layout, job: Job, now: str, size: int | None = None) -> bool:
    """Show a job that was accepted just now, by the holder of the lock; False when the view stays late."""
    if is_dear(layout):
        return False
    return bring_up_to_date(layout, now, {job.id.encode(): waiting_line(job, now, size)}, most=MOST_READ)


def is_dear(layout: Layout) -> bool:
    """Is the view so large, and so fresh, that writing it again now would cost more than it tells?"""
    try:
        found = os.stat(layout.queue_state)
    except FileNotFoundError:
        return False
    if found.st_size <= SMALL:
        return False
    age = time.time() - found.st_mtime
    return 0 <= age < SHARE * SECONDS_PER_BYTE * found.st_size


def bring_up_to_date(layout: Layout, now: str, known: dict[bytes, bytes], most: int | None = None) -> bool:
    """Write the view of what is in `queue/`; the caller holds the lock. False when more than `most` must be read."""
    data = current(layout, now, known, most)
    if data is None:
        return False
    atomic.replace(layout.queue_state, data)
    return True


def current(
    layout: Layout, now: str, known: Mapping[bytes, bytes] | None = None, most: int | None = None
) -> bytes | None:
    """The bytes the view should have while no engine runs; None when more than `most` jobs would have to be read."""
    mtime_ns = queue_mtime(layout)
    names = sorted(os.listdir(layout.queue))
    have: dict[bytes, bytes] = {**lines_by_id(_old(layout)), **(known or {})}
    lines, read = [], 0
    for name in names:
        line = have.get(name[NAME_HEAD:-5].encode())
        if line is None:
            read += 1
            if most is not None and read > most:
                return None
            line = _line_of(layout, name, now)
        if line is not None:
            lines.append(_without_engine(line))
    return render(lines, count(lines), updated_at=now, mtime_ns=mtime_ns)


def _old(layout: Layout) -> bytes:
    try:
        return atomic.read(layout.queue_state)
    except OSError:
        return b""


def lines_by_id(data: bytes) -> dict[bytes, bytes]:
    """The lines of the jobs in a view, by id; nothing of a view that is not whole."""
    _, sign, body = data.partition(b'\n  "jobs": [\n')
    if not sign or not body.endswith(b"\n]\n}\n"):
        return {}
    found: dict[bytes, bytes] = {}
    for line in body[:-5].split(b"\n"):
        # Keys are sorted and a quote inside of a text is escaped: the first `"id": "` and the last `"status": "` of a
        # line are the job's own, whatever its labels are called.
        start = line.find(_ID) + len(_ID)
        found[line[start : line.find(b'"', start)]] = line.rstrip(b",")
    return found


def count(lines: Iterable[bytes]) -> dict[str, int]:
    """How many jobs are in which status; one that waits for its moment counts as delayed, or as retrying."""
    counts: dict[str, int] = {}
    for line in lines:
        start = line.rfind(_STATUS) + len(_STATUS)
        status = line[start : line.find(b'"', start)].decode()
        waits = line.rfind(_WAITS) + len(_WAITS)
        if status == "queued" and line.startswith(b'"due time', waits):
            status = "delayed"
        elif status == "running" and line.startswith(b'"retry at', waits):
            status = "retrying"
        counts[status] = counts.get(status, 0) + 1
    return counts


def _line_of(layout: Layout, name: str, now: str) -> bytes | None:
    """The line of a job that the old view does not have; None for one that has just gone or cannot be read."""
    try:
        job = queue.read_job(layout.queued(name))
        if queue.name_of(job) != name:
            return None
    except (JobError, OSError, ValueError):
        return None
    size = _size_of_acceptance(layout, job.id)
    try:
        status = decode(atomic.read(layout.state(job.id)))["status"]
    except (OSError, ValueError, KeyError, TypeError):
        status = "running" if size is None else "queued"
    if status == "queued":
        return waiting_line(job, now, size or None)
    return queue_line(queue_entry(job, status, FOR_A_DAEMON))


def _size_of_acceptance(layout: Layout, workflow: str) -> int | None:
    """The length of a journal in which nothing but the acceptance stands; 0 when there is none (format 1)."""
    try:
        data = atomic.read(layout.journal(workflow))
    except FileNotFoundError:
        return 0
    except OSError:
        return None
    return len(data) if data.find(b"\n") == len(data) - 1 else None


def _without_engine(line: bytes) -> bytes:
    """A line that an engine left: nothing waits for a slot, a pool or the disk any more, but for an engine."""
    waits = line.rfind(_WAITS)
    start = line.rfind(_WAIT, 0, waits)
    kept = _KEPT if start >= 0 else _KEPT_1
    if line.startswith(kept, start + len(_WAIT) if start >= 0 else waits + len(_WAITS)):
        return line
    return line[: start if start >= 0 else waits] + _FOR_A_DAEMON


# --- reading it ----------------------------------------------------------------------------------------------------


def read(layout: Layout) -> dict[str, Any] | None:
    """The view as it lies there; None when it is missing or is not one of ours."""
    try:
        found = decode(atomic.read(layout.queue_state))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("jobs"), list):
        return None
    return found


def put_foreign_aside(layout: Layout) -> str | None:
    """Before an engine writes its view: whatever stands there and is not a view goes into quarantine. Returns where."""
    try:
        found = decode(atomic.read(layout.queue_state) or b"{}")
    except ValueError:
        found = None
    except OSError as error:
        if error.errno != EINVAL:  # missing, or not to be read just now; else no plain file
            return None
        found = None
    if isinstance(found, dict) and (not found or isinstance(found.get("jobs"), list)):
        return None
    name = os.path.basename(layout.queue_state)
    target, number = os.path.join(layout.quarantine, name), 1
    while os.path.lexists(target):
        number += 1
        target = os.path.join(layout.quarantine, f"{name}.{number}")
    atomic.rename(layout.queue_state, target)
    return target


def read_current(layout: Layout, now: str) -> dict[str, Any]:
    """The view, made in memory where the one on disk is late. For use while no engine runs."""
    found = read(layout)
    if found is not None and found.get("engine") is None and found.get("queue_mtime_ns") == queue_mtime(layout):
        found["jobs"] = [decode(_without_engine(queue_line(job))) for job in found["jobs"]]
        return found
    data = current(layout, now)
    assert data is not None
    made: dict[str, Any] = decode(data)
    return made
