"""One way in for every program of ours: check a request, drop it, and accept it at once when no engine runs.

With an engine at work a dropped file makes the request safe; without one the holder of the lock commits it as an engine
would, so that the queue and its view show the job. A known key gives the id it gave before, and nothing is written.
Light module: part of `hybrid enqueue`. What is not here: reading template files (files.templates).
"""

from __future__ import annotations

import os
import time

from hybrid_engine.errors import HomeError
from hybrid_engine.files import atomic, dropbox, queue, queueview
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.model.ids import keyed_workflow_id, workflow_id
from hybrid_engine.model.jsontext import decode
from hybrid_engine.rules.acceptance import make_job
from hybrid_engine.rules.requests import check_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from hybrid_engine.model.job import Job

PATIENCE = 0.3
"""Seconds to wait for a lock that another `hybrid enqueue` seems to hold."""
_PAUSE = 0.005


def prepare(
    raw: dict[str, Any], frozen: dict[str, Any], version: str, *, trigger: str, user: str, coerce: bool = False
) -> tuple[dict[str, Any], Job]:
    """The request to drop and the job it makes. Raises JobError for what the template does not allow.

    The request keeps only what was asked for, because defaults are those of the template at acceptance; a `delay`
    becomes the moment it means now.
    """
    asked = check_request({**raw, "user": raw.get("user") or user})
    now = dropbox.stamp_now()
    key = asked.get("key")
    if key:
        workflow = keyed_workflow_id(asked["user"], asked["template"], key)
    else:
        workflow = asked.get("id") or workflow_id(asked["user"], now, os.urandom(dropbox.SUFFIX).hex())
    job = make_job(asked, frozen, version, id=workflow, queued_at=now, trigger=trigger, coerce=coerce)
    request = {**asked, "id": workflow, "trigger": trigger}
    if asked.get("params"):
        request["params"] = {name: job.params[name] for name in asked["params"]}
    if request.pop("delay", None):
        request["at"] = job.due_at
    return request, job


def submit(layout: Layout, request: dict[str, Any], job: Job) -> bool:
    """Make a prepared request durable, once; True when it was also accepted here, because no engine runs."""
    if is_known(layout, job.id):
        return False
    with BriefLock(layout) as mine:
        if mine:
            accept(layout, job)
            return True
    dropbox.drop(layout, request)
    deadline = time.monotonic() + PATIENCE
    while not engine_lives(layout) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
        with BriefLock(layout) as mine:
            if mine:
                accept(layout, job)
                return True
    return False


def accept(layout: Layout, job: Job) -> None:
    """Accept a job by the holder of the lock: a commit to a log segment of its own. Raises HomeError."""
    from hybrid_engine.files.log import single

    try:
        size = single.commit(layout, job)
    except OSError as error:
        raise HomeError(f"cannot accept the job in {layout.home}: {error.strerror}") from None
    if size is None:
        return  # it was known
    try:
        atomic.unlink_quietly(dropbox.inbox_path(layout, job.id))
        queueview.accepted(layout, job, job.queued_at, size)
    except OSError:
        pass  # the job is accepted; views come back, and a name left in the inbox is known when it is looked at


def engine_lives(layout: Layout) -> bool:
    """Does the process that the lock file names exist? Only a guess at who holds the lock just now."""
    try:
        pid = decode(atomic.read(layout.home_lock, 4096))["pid"]
        os.kill(pid, 0)
        return True
    except PermissionError:
        return True
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return False


def is_known(layout: Layout, workflow: str) -> bool:
    """Has a job with this id been dropped or accepted before?"""
    if os.path.lexists(dropbox.inbox_path(layout, workflow)):
        # Whoever dropped it may not have synced its name yet, and it is answered with as if it were safe.
        atomic.sync_folder(layout.inbox)
        return True
    if os.path.lexists(layout.journal(workflow)):
        return True
    try:
        job = queue.read_job(layout.job(workflow))
    except FileNotFoundError:
        return False
    return os.path.lexists(layout.queued(queue.name_of(job)))
