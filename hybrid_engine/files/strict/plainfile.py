"""Opening and reading files that somebody else wrote: plain files only, of bounded size, without following links.

Nothing here looks at the content. Our own files (journals, states) are read by `files.atomic`.
"""

from __future__ import annotations

import errno
import os
import stat

from hybrid_engine.errors import InputError, JobError

# O_NONBLOCK: opening a FIFO must not wait for its writer. O_NOCTTY: opening a terminal must not adopt it.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_plain_file(
    path: str, limit: int, *, links: int | None = 1, error: type[InputError] = JobError
) -> tuple[bytes, os.stat_result]:
    """The content of a plain file of at most `limit` bytes, and what `fstat` said when it was opened."""
    fd, status = open_plain_file(path, limit, links=links, error=error)
    try:
        # One more than the limit: a file that grows while it is read is refused, not cut.
        data = os.read(fd, min(status.st_size, limit) + 1)
        while len(data) <= limit:
            more = os.read(fd, min(65_536, limit + 1 - len(data)))
            if not more:
                return data, status
            data += more
    except OSError as failure:
        raise _unreadable(path, failure, error) from failure
    finally:
        os.close(fd)
    raise _too_large(path, len(data), limit, error)


def open_plain_file(
    path: str, limit: int, *, links: int | None = 1, error: type[InputError] = JobError
) -> tuple[int, os.stat_result]:
    """A descriptor of a plain file with at most `links` names and `limit` bytes, and its status.

    With `links=None` the file is the user's own: it may have other names, and its name may be a symbolic link.
    """
    try:
        fd = os.open(path, _FLAGS if links is not None else _FLAGS & ~os.O_NOFOLLOW)
    except OSError as failure:
        raise _not_opened(path, failure, error) from failure
    try:
        status = os.fstat(fd)
        _check(path, status, limit, links, error)
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def _check(path: str, status: os.stat_result, limit: int, links: int | None, error: type[InputError]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "something else")
        raise error(f"is {kind}, not a plain file", file=path, code="not_a_plain_file")
    if links is not None and status.st_nlink > links:
        raise error(
            "is a hard link: the file has other names, and could be somebody else's",
            file=path,
            code="hard_link",
            hint="copy it instead",
        )
    if status.st_size > limit:
        raise _too_large(path, status.st_size, limit, error)


def _not_opened(path: str, failure: OSError, error: type[InputError]) -> InputError:
    if failure.errno == errno.ELOOP:
        return error("is a symbolic link", file=path, code="symlink", hint="copy the file instead")
    if failure.errno in (errno.ENOENT, errno.ENOTDIR):
        return error("is not there any more", file=path, code="vanished")
    if failure.errno in (errno.ENXIO, errno.ENODEV):
        return error("is a socket or a device, not a plain file", file=path, code="not_a_plain_file")
    return _unreadable(path, failure, error)


def _unreadable(path: str, failure: OSError, error: type[InputError]) -> InputError:
    return error(f"cannot be read: {failure.strerror}", file=path, code="unreadable")


def _too_large(path: str, size: int, limit: int, error: type[InputError]) -> InputError:
    return error(f"is {size} bytes or more; at most {limit} are read", file=path, code="too_large")
