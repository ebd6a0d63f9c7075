"""One way in for every program of ours: check a request, drop it, and accept it at once when no engine runs.

The dropped file makes the request safe whatever happens next; a holder of the lock then does what an engine would do,
so that the queue and its view show the job. A key that is known gives the id it gave before, and nothing is written.
Light module: part of `hybrid enqueue`. What is not here: reading template files (files.templates).
"""

from __future__ import annotations

import os
import time

from hybrid_engine.errors import HybridError, UncertainError
from hybrid_engine.files import atomic, dropbox, queue, queueview
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.files.views import queued_record, render_state
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
            if is_known(layout, job.id):
                return False
            accept(layout, request, job)
            return True
    dropbox.drop(layout, request, is_known=lambda: is_known(layout, job.id, inbox=False))
    deadline = time.monotonic() + PATIENCE
    while not engine_lives(layout) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
        with BriefLock(layout) as mine:
            if mine:
                return is_known(layout, job.id, inbox=False) or _accepted_after_drop(layout, job)
    return False


def _accepted_after_drop(layout: Layout, job: Job) -> bool:
    """Accept a job that lies in the inbox. When that fails it lies there still, durably: an engine will take it."""
    try:
        accept(layout, None, job)
        return True
    except (OSError, HybridError):
        return False


def accept(layout: Layout, request: dict[str, Any] | None, job: Job) -> None:
    """What an engine does with a dropped job, done by the holder of the lock. `request` is None when it was dropped.

    When it fails nothing is left of the request, or UncertainError says that something may be.
    """
    if request is not None:
        # Not lost to a kill from here on; the queue's sync below is what makes it durable.
        dropbox.drop(layout, request, durable=False)
    try:
        queue.accept_now(layout, job)
    except (OSError, HybridError) as error:
        if request is not None:
            _undo(layout, job, error)
        raise
    try:
        atomic.replace(layout.state(job.id), render_state(queued_record(job)))
        atomic.unlink_quietly(dropbox.inbox_path(layout, job.id))
        queueview.accepted(layout, job, job.queued_at)
    except OSError:
        pass  # the job is accepted; views come back, and a name left in the inbox is known when it is looked at


def _undo(layout: Layout, job: Job, why: OSError | HybridError) -> None:
    """Take back the names that a failed acceptance has made; the caller holds the lock, so nobody has read them."""
    text = f"it is not known whether {job.id} will run: {why}; look before asking again"
    if job.key:  # somebody with the same key may have been told that it is there
        raise UncertainError(text) from None
    try:
        queue.remove(layout, queue.name_of(job))
        os.unlink(dropbox.inbox_path(layout, job.id))
    except OSError:
        raise UncertainError(text) from None
    for path in (layout.job(job.id), layout.template(job.id)):
        atomic.unlink_quietly(path)
    try:
        os.rmdir(layout.workflow(job.id))
    except OSError:
        pass


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


def is_known(layout: Layout, workflow: str, *, inbox: bool = True) -> bool:
    """Has a job with this id been dropped or accepted before?"""
    if inbox and os.path.lexists(dropbox.inbox_path(layout, workflow)):
        # Whoever dropped it may not have synced its name yet, and it is answered with as if it were safe.
        atomic.sync_folder(layout.inbox)
        return True
    if queue.is_known(layout, workflow):
        return True
    try:
        job = queue.read_job(layout.job(workflow))
    except FileNotFoundError:
        return False
    return os.path.lexists(layout.queued(queue.name_of(job)))
