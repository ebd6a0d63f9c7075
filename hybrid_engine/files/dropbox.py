"""How our own programs ask for something: the inbox's protocol, kept to the letter.

A job file is written into `.hybrid/tmp`, synced, and renamed into `inbox/`; so a name in the inbox is complete. A
signal is a file in the workflow's `signals/` and then a bell in the inbox. Nothing here needs the engine's lock, and
nothing here decides whether a request is right. Light module.
"""

from __future__ import annotations

import errno
import os
import time
from _thread import allocate_lock

from hybrid_engine.errors import HomeError, NotFoundError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.ids import check_id, check_name, keyed_workflow_id, workflow_id
from hybrid_engine.model.jsontext import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SUFFIX = 3
"""Bytes of chance in an id. Two programs would have to draw the same ones within the same microsecond."""

_latest = 0
_one_at_a_time = allocate_lock()


def stamp_now() -> str:
    """A stamp of now, later than every stamp this process has been given before."""
    global _latest
    with _one_at_a_time:
        _latest = max(time.time_ns() // 1000, _latest + 1)
        seconds, micros = divmod(_latest, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06d}Z"


def new_ids(user: str, count: int) -> list[str]:
    """Fresh workflow ids, each later than the one before."""
    chance = os.urandom(SUFFIX * count).hex()
    width = SUFFIX * 2
    return [workflow_id(user, stamp_now(), chance[at : at + width]) for at in range(0, count * width, width)]


def id_for(request: dict[str, Any], default_user: str = "anonymous") -> str:
    """The id of the workflow that `request` asks for: the one its key names, else a fresh one."""
    user = request.get("user") or default_user
    key = request.get("key")
    return keyed_workflow_id(user, request["template"], key) if key else new_ids(user, 1)[0]


def inbox_path(layout: Layout, workflow: str) -> str:
    """Where the job file of one of our own requests lies until it is accepted."""
    return os.path.join(layout.inbox, check_id(workflow) + ".json")


def drop(layout: Layout, request: dict[str, Any], *, durable: bool = True) -> str:
    """Drop one request, which has its `id`; returns the path of the job file.

    With `durable` False the name is not synced: for a caller that holds the lock and accepts the job at once.
    """
    path = inbox_path(layout, request["id"])
    return _put_job(layout, path, encode(request) + "\n", durable)


def drop_many(layout: Layout, requests: Sequence[dict[str, Any]]) -> str:
    """Drop many requests, each with its `id`, as one file with one sync; returns its path."""
    name = f"batch-{stamp_now().replace(':', '').replace('-', '').replace('.', '')}-{os.urandom(SUFFIX).hex()}.jsonl"
    path = os.path.join(layout.inbox, name)
    return _put_job(layout, path, "\n".join(map(encode, requests)) + "\n", True)


def _put_job(layout: Layout, path: str, text: str, durable: bool) -> str:
    try:
        _put(layout, path, text.encode("utf-8", "backslashreplace"))
        if durable:
            atomic.sync_folder(layout.inbox)
    except OSError as error:
        raise HomeError(f"cannot write {path}: {error.strerror}") from None
    return path


def send_signal(layout: Layout, workflow: str, verb: str, content: dict[str, Any] | None = None) -> str:
    """Ask the engine to do `verb` to a workflow, now or when an engine runs again; returns the name of the signal.

    The signal is durable when this returns. Raises NotFoundError when there is no such workflow.
    """
    folder = layout.signals(workflow)
    name = f"{check_name(verb, 'signal')}.{time.time_ns() // 1000:x}{os.urandom(SUFFIX).hex()}"
    data = (encode(content or {}) + "\n").encode("utf-8", "backslashreplace")
    for last in (False, False, True):
        try:
            if atomic.make_folder(folder):
                atomic.sync_folder(layout.workflow(workflow))
            _put(layout, os.path.join(folder, name), data)
            atomic.sync_folder(folder)
            break
        except FileNotFoundError:
            # The engine removes the folder when it has read all signals in it, perhaps just now.
            if last or not os.path.isdir(layout.workflow(workflow)):
                raise NotFoundError(f"no workflow {workflow}") from None
        except OSError as error:
            raise HomeError(f"cannot write to {folder}: {error.strerror}") from None
    ring(layout, workflow)
    return name


def ring(layout: Layout, workflow: str) -> None:
    """Wake the engine: `workflow` has a signal waiting. A lost bell costs time only, so its errors are passed over."""
    try:
        os.close(os.open(layout.bell(workflow), atomic.CREATE, atomic.FILE_MODE))
    except OSError:
        pass


def _put(layout: Layout, path: str, data: bytes) -> None:
    """Write a complete, synced file and give it its name."""
    folder, name = os.path.split(path)
    temporary = os.path.join(layout.tmp, f"{os.getpid()}-{name}")
    atomic.write_new(temporary, data)
    try:
        atomic.rename(temporary, path)
    except OSError as error:
        atomic.unlink_quietly(temporary)
        if error.errno != errno.EXDEV:
            raise
        # The folder is on another file system: a hidden name inside of it does what .hybrid/tmp does.
        atomic.replace(path, data, tmp=os.path.join(folder, f".{os.getpid()}-{name}.tmp"))
