"""How our own programs ask for something: the inbox's protocol, kept to the letter.

A job file is written into `.hybrid/tmp`, synced, and renamed into `inbox/`; so a name in the inbox is complete. A
signal is a file in the workflow's `signals/` and then a bell in the inbox. Nothing here needs the engine's lock, and
nothing here decides whether a request is right. Light module.

A drop that fails is taken back, so that who repeats it has one workflow. An engine that reads a file holds a shared
lock on it until the file has left the inbox: who gets the lock alone and finds the name still there can be sure.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from _thread import allocate_lock, get_ident

from hybrid_engine.errors import HomeError, NotFoundError, UncertainError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.ids import check_id, check_name, keyed_workflow_id, workflow_id
from hybrid_engine.model.jsontext import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    IsKnown = Callable[[], bool | None]

SUFFIX = 3
"""Bytes of chance in an id. Two programs would have to draw the same ones within the same microsecond."""

PATIENCE = 2.0
"""Seconds to wait for an engine that has a drop in hand which is to be taken back."""
_PAUSE = 0.01

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


def drop(layout: Layout, request: dict[str, Any], *, durable: bool = True, is_known: IsKnown = lambda: False) -> str:
    """Drop one request, which has its `id`; returns the path of the job file.

    With `durable` False the name is not synced: for a caller that holds the lock and accepts the job at once.
    `is_known` tells whether it was accepted, by an engine that may be gone by now; None when only part of it was.
    Raises HomeError when the request was not dropped, UncertainError when that cannot be known.
    """
    path = inbox_path(layout, request["id"])
    _put_job(path, layout, encode(request) + "\n")
    if durable:
        try:
            atomic.sync_folder(layout.inbox)
        except OSError as error:
            if request.get("key"):  # somebody with the same key may have been told that it is there
                raise _uncertain(path, error) from None
            take_back(path, error, is_known)
    return path


def drop_many(layout: Layout, requests: Sequence[dict[str, Any]], *, is_known: IsKnown = lambda: False) -> str:
    """Drop many requests, each with its `id`, as one file with one sync; returns its path. Raises as `drop` does."""
    name = f"batch-{stamp_now().replace(':', '').replace('-', '').replace('.', '')}-{os.urandom(SUFFIX).hex()}.jsonl"
    path = os.path.join(layout.inbox, name)
    _put_job(path, layout, "\n".join(map(encode, requests)) + "\n")
    try:
        atomic.sync_folder(layout.inbox)
    except OSError as error:
        take_back(path, error, is_known)
    return path


def _put_job(path: str, layout: Layout, text: str) -> None:
    try:
        _put(layout, path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise HomeError(f"cannot write {path}: {error.strerror}") from None


def take_back(path: str, why: OSError, is_known: IsKnown) -> None:
    """Undo a drop that `why` kept from being durable, and raise HomeError.

    When an engine has taken the file meanwhile this returns: then the request is safe. Raises UncertainError when
    neither can be known, or only some of its jobs are. Only for names that nobody else drops.
    """
    try:
        fd = os.open(path, atomic.READ)
    except FileNotFoundError:
        return
    except OSError:
        raise _uncertain(path, why) from None
    try:
        if not _locked_alone(fd):
            raise _uncertain(path, why)
        known = not os.path.lexists(path) or is_known()
        if known:
            return
        if known is None:
            raise _uncertain(path, why)
        os.unlink(path)
    except OSError:
        raise _uncertain(path, why) from None
    finally:
        os.close(fd)
    raise HomeError(f"cannot write {path}: {why.strerror}")


def _locked_alone(fd: int) -> bool:
    """Wait until no engine has the file in hand; False when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        time.sleep(_PAUSE)


def _uncertain(path: str, why: OSError) -> UncertainError:
    name = os.path.basename(path).removesuffix(".json")
    return UncertainError(f"it is not known whether {name} will run: {why.strerror} ({path}); look before asking again")


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
    own = f"{os.getpid()}-{get_ident():x}-{name}"  # threads may drop the same name, of one key, at once
    temporary = os.path.join(layout.tmp, own)
    atomic.write_new(temporary, data)
    try:
        atomic.rename(temporary, path)
    except OSError as error:
        atomic.unlink_quietly(temporary)
        if error.errno != errno.EXDEV:
            raise
        # The folder is on another file system: a hidden name inside of it does what .hybrid/tmp does.
        atomic.replace(path, data, tmp=os.path.join(folder, f".{own}.tmp"))
