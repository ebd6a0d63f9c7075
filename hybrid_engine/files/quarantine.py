"""The quarantine: what cannot be understood is put aside whole, with its reason. Never deleted, never written over.

Used by the engine when it starts and by the doctor when it repairs; both hold the lock.
"""

from __future__ import annotations

import json
import os

from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.ids import parse_queue_name


def put_aside(layout: Layout, workflow: str, reason: str, name: str | None) -> str:
    """Put a workflow into quarantine: its folder unchanged, the reason, and its file of the queue.

    The queue's file goes first: left alone in the queue, it would make the next engine begin the workflow anew.
    """
    source, target = layout.workflow(workflow), _free(os.path.join(layout.quarantine, workflow))
    atomic.make_folder(source)
    if name is not None and parse_queue_name(name) and os.path.lexists(layout.queued(name)):
        atomic.rename(layout.queued(name), os.path.join(source, "queued.json"))
        atomic.sync_folder(source)
        atomic.sync_folder(layout.queue)
    atomic.rename(source, target)
    _note_reason(target, {"workflow": workflow, "reason": reason})
    for folder in (target, layout.quarantine, layout.workflows):
        atomic.sync_folder(folder)
    return target


def put_queue_file_aside(layout: Layout, name: str, reason: str) -> str:
    """Put a file of the queue that is no job into quarantine."""
    target = _free(os.path.join(layout.quarantine, name))
    atomic.make_folder(target)
    _note_reason(target, {"queue_file": name, "reason": reason})
    atomic.rename(layout.queued(name), os.path.join(target, "job.json"))
    for folder in (target, layout.quarantine, layout.queue):
        atomic.sync_folder(folder)
    return target


def _note_reason(folder: str, reason: dict[str, str]) -> None:
    atomic.write_new(os.path.join(folder, "reason.json"), (json.dumps(reason, indent=1) + "\n").encode())


def _free(path: str) -> str:
    number, target = 1, path
    while os.path.lexists(target):
        number += 1
        target = f"{path}.{number}"
    return target
