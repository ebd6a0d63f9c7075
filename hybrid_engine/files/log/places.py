"""Putting what was committed in its place: journal lines, the frozen template, the name in `queue/`. Light module."""

from __future__ import annotations

import errno
import os
import stat

from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout

_JOURNAL = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_COPY_INSTEAD = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP})


def append(path: str, data: bytes, *, create: bool, size: int | None = None) -> None:
    """Append to a journal, whose length is `size` when that is known: what an earlier try left behind is cut off.

    A journal that is gone is not begun anew, unless `create`. Raises OSError; AppendError says how long it is.
    """
    fd = os.open(path, _JOURNAL | os.O_CREAT if create else _JOURNAL, atomic.FILE_MODE)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", path)
        if size is not None and size != status.st_size:
            os.ftruncate(fd, size)
        known = status.st_size if size is None else size
        try:
            atomic.write_all(fd, data)
        except OSError as error:
            try:
                os.ftruncate(fd, known)
            except OSError:
                raise AppendError(error.errno, str(error.strerror), known) from error
            raise
    finally:
        os.close(fd)


class AppendError(OSError):
    """Part of the data may stand behind byte `known`, and could not be cut off."""

    def __init__(self, number: int | None, text: str, known: int) -> None:
        super().__init__(number, text)
        self.known = known


def link_template(layout: Layout, folder: str, version: str) -> None:
    """Give the workflow its frozen template: a second name of the one file that holds this version."""
    ours = os.path.join(folder, "template.json")
    try:
        atomic.link_or_copy(layout.frozen_template(version), ours, durable=False)
    except (FileExistsError, FileNotFoundError):
        pass  # who needs a definition that is gone says so


def link_queued(layout: Layout, folder: str, name: str) -> None:
    """Give a workflow its name in `queue/`: a second name of its journal, whose first line says all that was asked."""
    journal = os.path.join(folder, "journal.jsonl")
    try:
        os.link(journal, layout.queued(name))
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _COPY_INSTEAD:
            raise
        first = atomic.read(journal).partition(b"\n")[0] + b"\n"
        atomic.write_new(layout.queued(name), first, durable=False)
