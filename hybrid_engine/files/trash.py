"""The trash: where a workflow's folder goes, in one rename, before its files are removed one by one.

So nobody ever sees half of a workflow, and a removal that was cut short is finished by the next one. A folder in the
trash is called `<workflow id>.<unique>`; its journal goes first, so that one without it can only go further. Held by
one process at a time (a kernel lock on the folder). Where the workflows lie on another file system than the home, the
trash is a hidden folder among them. What may be thrown away is not decided here (prune).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hybrid_engine.errors import ConflictError, HybridError
from hybrid_engine.files import atomic, queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.ids import is_id

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512
RECORDS = ("job.json", "journal.jsonl")
"""What says which job a workflow is; the first is there in workflows of format 1 only."""

Forget = Callable[[Sequence[str]], bool]
"""Takes workflows out of the index; False when that cannot be done now."""


@contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Be the only one who works in the trash. Raises ConflictError when somebody else does."""
    atomic.make_folder(layout.trash)
    fd = os.open(layout.trash, _FOLDER)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError(f"{layout.trash} is being worked on by another `hybrid prune` or `doctor`") from None
        yield
    finally:
        os.close(fd)


def _places(layout: Layout) -> tuple[str, str]:
    return layout.trash, os.path.join(layout.workflows, ".trash")


def throw(layout: Layout, workflow: str) -> str:
    """Move the folder of a workflow into the trash; returns where it is now. Raises OSError."""
    source, name = layout.workflow(workflow), f"{workflow}.{time.time_ns():x}{os.getpid():x}"
    near, far = _places(layout)
    try:
        atomic.rename(source, os.path.join(near, name))
        return os.path.join(near, name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    atomic.make_folder(far)
    atomic.rename(source, os.path.join(far, name))
    return os.path.join(far, name)


def entries(layout: Layout) -> list[tuple[str, str]]:
    """(workflow id, path) of what lies in the trash."""
    found = []
    for place in _places(layout):
        try:
            names = sorted(os.listdir(place))
        except FileNotFoundError:
            continue
        found += [(name.rpartition(".")[0], os.path.join(place, name)) for name in names]
    return [(workflow, path) for workflow, path in found if is_id(workflow)]


def is_wanted(layout: Layout, path: str) -> bool:
    """Has somebody asked for this workflow to go on, in the instant in which it was thrown away?

    `retry` gives it back its name in the queue (which says the same due time) before it does anything else.
    """
    for record in RECORDS:
        try:
            name = queue.name_of(queue.read_job(os.path.join(path, record)))
        except (HybridError, OSError):
            continue
        return os.path.lexists(layout.queued(name)) or has_signals(os.path.join(path, "signals"))
    return False


def has_signals(folder: str) -> bool:
    """Does a signal wait in a `signals/` folder?"""
    try:
        with os.scandir(folder) as found:
            return next(found, None) is not None
    except OSError:
        return False


def put_back(layout: Layout, workflow: str, path: str) -> bool:
    """Undo `throw`; False when the id has a new folder by now, which then is another life of it."""
    target = layout.workflow(workflow)
    if os.path.lexists(target):
        return False
    try:
        atomic.rename(path, target)
        atomic.sync_folder(layout.workflows)
    except OSError:
        return False
    return True


def empty(layout: Layout, forget: Forget, tell: Callable[[str], object]) -> int:
    """Finish what earlier removals left; returns how many folders were removed. The caller holds the trash."""
    removed = 0
    for workflow, path in entries(layout):
        if is_wanted(layout, path) and put_back(layout, workflow, path):
            tell(f"{workflow} was to go on while it was being removed: it was put back")
        elif os.path.lexists(layout.workflow(workflow)) or forget([workflow]):
            removed += remove(path, tell) is not None
        else:
            clear(path, tell)
    return removed


def remove(path: str, tell: Callable[[str], object]) -> int | None:
    """Remove a folder of the trash; returns the bytes that came free, None when something of it would not go."""
    freed = clear(path, tell)
    try:
        os.rmdir(path)
    except OSError as error:
        tell(f"{path} cannot be removed: {error.strerror}")
        return None
    return freed


def clear(path: str, tell: Callable[[str], object]) -> int:
    """Remove all that is in a folder of the trash, but not the folder; returns the bytes that came free."""
    try:
        fd = os.open(path, _FOLDER)
    except OSError as error:
        tell(f"{path} cannot be opened: {error.strerror}")
        return 0
    try:
        return _unlink_records(fd) + _clear(fd, path, tell)
    except (OSError, RecursionError) as error:
        tell(f"{path} cannot be removed: {error}")
        return 0
    finally:
        os.close(fd)


def _unlink_records(folder: int) -> int:
    freed = 0
    for record in RECORDS:
        try:
            size = _occupied(os.stat(record, dir_fd=folder, follow_symlinks=False))
            os.unlink(record, dir_fd=folder)
            freed += size
        except OSError:
            continue
    return freed


def _clear(folder: int, path: str, tell: Callable[[str], object]) -> int:
    """By descriptor, so that no link that a step's left-over process puts in the way is ever followed."""
    freed = 0
    with os.scandir(folder) as found:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in names:
        try:
            freed += _occupied(os.stat(name, dir_fd=folder, follow_symlinks=False))
            if is_folder:
                inner = _open_inner(folder, name)
                try:
                    freed += _clear(inner, os.path.join(path, name), tell)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            tell(f"{os.path.join(path, name)} cannot be removed: {error.strerror}")
    return freed


def _open_inner(folder: int, name: str) -> int:
    """Open a folder inside of another, even when a step took its rights away."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if os.fstat(handle).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{handle}", atomic.FOLDER_MODE)
        return os.open(name, _FOLDER, dir_fd=folder)
    finally:
        os.close(handle)


def size_of(path: str) -> int:
    """The bytes on disk that removing a folder would free. Links are not followed, shared files not counted."""
    total, waiting = 0, [path]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    total += _occupied(entry.stat(follow_symlinks=False))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return total


def _occupied(status: os.stat_result) -> int:
    shared = status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
    return 0 if shared else status.st_blocks * _BLOCK
