"""The only place that replaces files and the only place that syncs them.

Rules kept here: a replaced file is complete on disk before its new name is (F1); a record is written by one `write`,
short writes are continued (F2); a failed sync is never tried again on the same data (F7). Light module.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

FILE_MODE = 0o600
FOLDER_MODE = 0o700

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
PASSING = DISK_FULL | {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.EROFS, errno.EINTR}
"""Errors that say nothing about the job at hand: the disk or the machine is in trouble, and may recover."""


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a short write is continued. Raises OSError, possibly with a part written."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def sync(fd: int) -> None:
    """Data and metadata of an open file (or the entries of an open folder) are on disk when this returns."""
    os.fsync(fd)


def sync_data(fd: int) -> None:
    """As `sync`, but only what is needed to read the data back: enough for appends."""
    os.fdatasync(fd)


def sync_folder(path: str) -> None:
    """Make the entries of a folder (names made, renamed, removed) durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_new(path: str, data: bytes, *, durable: bool = True) -> None:
    """Write a file that nobody reads before its name or content is announced elsewhere; truncates what was there.

    The name itself is durable only after `sync_folder`. On an error the partial file is removed.
    """
    fd = os.open(path, CREATE, FILE_MODE)
    try:
        write_all(fd, data)
        if durable:
            os.fsync(fd)
    except OSError:
        os.close(fd)
        unlink_quietly(path)
        raise
    os.close(fd)


def replace(path: str, data: bytes, *, tmp: str | None = None, durable: bool = True) -> None:
    """Put `data` in the place of `path`, completely or not at all. The name is durable after `sync_folder`.

    `tmp` is the temporary name, by default beside `path`; it must be on the same file system. With `durable` False the
    data is not synced: for what a checkpoint makes durable, or can be made again.
    """
    temporary = tmp or path + ".tmp"
    write_new(temporary, data, durable=durable)
    try:
        rename(temporary, path)
    except OSError:
        unlink_quietly(temporary)
        raise


def write_atomic(path: str, data: bytes) -> None:
    """`replace`, and the name is durable too."""
    replace(path, data)
    sync_folder(os.path.dirname(path))


def rename(source: str, target: str) -> None:
    """`os.replace`; when a signal interrupts it, look whether it happened before trying again (F11)."""
    while True:
        try:
            os.replace(source, target)
            return
        except InterruptedError:
            if not os.path.lexists(source):
                return


def link_or_copy(source: str, target: str, *, durable: bool = True) -> None:
    """A second name for `source`; a copy where the file system has no more links to give. FileExistsError passes."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.ENOTSUP):
            raise
        write_new(target, read(source), durable=durable)


def read(path: str, limit: int | None = None) -> bytes:
    """The content of one of our own files. With `limit`, at most that many bytes.

    Links are not followed, and nothing but a plain file is read: a step may have put a pipe in its place.
    """
    fd = os.open(path, READ)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", path)
        size = status.st_size if limit is None else min(status.st_size, limit)
        data = os.read(fd, size + 1) if limit is None else os.read(fd, size)
        while len(data) < size:
            more = os.read(fd, size - len(data))
            if not more:
                break
            data += more
        return data
    finally:
        os.close(fd)


def read_users_file(path: str) -> bytes:
    """The content of a file that a person keeps, perhaps behind a link; anything but a plain file is an OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", path)
        data = b""
        while more := os.read(fd, 1 << 20):
            data += more
        return data
    finally:
        os.close(fd)


def read_tail(path: str, size: int) -> bytes:
    """The last `size` bytes of a plain file."""
    fd = os.open(path, READ)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", path)
        return os.pread(fd, size, max(0, status.st_size - size))
    finally:
        os.close(fd)


def unlink(path: str) -> None:
    """Remove a name that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def unlink_quietly(path: str) -> bool:
    """Remove a name; True when it was there. Errors that leave it in place are swallowed: the caller has worse news."""
    try:
        os.unlink(path)
        return True
    except OSError:
        return False


def make_folder(path: str) -> bool:
    """Make a folder that only we may use; True when it is new. Parents must be there."""
    try:
        os.mkdir(path, FOLDER_MODE)
        return True
    except FileExistsError:
        return False


def make_folders(path: str) -> None:
    """Make a folder and what is missing above it, each for us alone (`os.makedirs` cares for the last one only)."""
    try:
        make_folder(path)
    except FileNotFoundError:
        make_folders(os.path.dirname(path))
        make_folder(path)


def has_writer(fd: int) -> bool | None:
    """Does any process have this file open for writing? None when the kernel will not say.

    A read lease is granted only while nobody writes. It is given back at once; SIGIO must be ignored meanwhile,
    because an open for writing in that instant would send it.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
