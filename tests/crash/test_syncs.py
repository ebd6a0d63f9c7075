"""The fault library and the calls that make durable: all are seen, however called, and fail as the kernel's do."""

from __future__ import annotations

import errno

import pytest

from tests.crash.faultlib import BEGUN, SYNCED, Fault
from tests.crash.underlib import Run

CALLS = """
import ctypes, errno, mmap, os, sys
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    print(name, "ok" if getattr(libc, name)(*args) == 0 else errno.errorcode[ctypes.get_errno()])
"""
SYNCFS = (
    CALLS
    + """
before = os.open(".", os.O_RDONLY)
fd = os.open("a", os.O_RDWR | os.O_CREAT)
os.write(fd, b"data")
call("syncfs", before)
os.mkdir("d")
"""
)
LOSES = (
    CALLS
    + """
before = os.open(".", os.O_RDONLY)
log = os.open("log", os.O_RDWR | os.O_CREAT)
other = os.open("other", os.O_RDWR | os.O_CREAT)
os.write(log, b"lost")
after = os.open(".", os.O_RDONLY)
for fd in (after, before, before, other, log, log):
    call("syncfs" if fd in (before, after) else "fdatasync", fd)
"""
)
MAPPED = (
    CALLS
    + """
fd = os.open("beat", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 8192)
page = mmap.mmap(fd, 8192)
page[4096:4100] = b"beat"
page.flush(4096, 4096)
"""
)


def test_syncfs_called_through_ctypes_is_recorded_when_it_begins_and_when_it_ends(under: Run) -> None:
    assert under.run(SYNCFS, Fault(), FAULT_LOG=str(under.log)).stdout == "syncfs ok\n"
    told = [(o.op, o.flags & BEGUN, o.failed) for o in under.operations()]
    assert told == [("open", 0, False), ("write", 0, False), ("syncfs", BEGUN, False), ("syncfs", 0, False),
                    ("mkdir", 0, False)]  # fmt: skip
    first, second = (o for o in under.operations() if o.op == "syncfs")
    assert first.offset == second.offset


def test_others_go_on_while_a_file_system_is_synced(under: Run) -> None:
    script = (
        SYNCFS
        + """
import threading
thread = threading.Thread(target=libc.syncfs, args=(before,))
libc.syncfs.restype = ctypes.c_int
thread.start()
os.mkdir("meanwhile")
thread.join()
"""
    )
    assert under.run(script, Fault(), FAULT_LOG=str(under.log), FAULT_DELAY="200").returncode == 0
    told = [(o.op, o.offset, o.flags & BEGUN) for o in under.operations()][-3:]
    assert ("mkdir", 0, 0) in told and told[-1] == ("syncfs", 2, 0)


def test_a_syncfs_can_be_killed(under: Run) -> None:
    assert under.run(SYNCFS, Fault("kill", 3)).returncode == -9
    assert under.control.read().operation == "syncfs"


def test_a_syncfs_can_fail(under: Run) -> None:
    done = under.run(SYNCFS, Fault("once", 1, error="EIO", only="syncfs"), FAULT_LOG=str(under.log))
    assert done.stdout == "syncfs EIO\n"
    assert [o.failed for o in under.operations() if o.op == "syncfs"] == [False, True]


def test_a_syncfs_elsewhere_is_not_ours(under: Run) -> None:
    script = CALLS + 'call("syncfs", os.open("/proc", os.O_RDONLY))\n'
    under.run(script, Fault("once", 1, error="EIO", only="syncfs"))
    assert under.control.read().count == 0


def test_a_loss_is_told_once_to_each_descriptor_that_was_open_and_to_no_later_one(under: Run) -> None:
    done = under.run(LOSES, Fault("lose", 1), FAULT_LOG=str(under.log))
    assert done.stdout.split("\n")[:-1] == [
        "syncfs ok", "syncfs EIO", "syncfs ok", "fdatasync ok", "fdatasync EIO", "fdatasync ok",
    ]  # fmt: skip
    lost = next(o for o in under.operations() if o.op == "lost")
    assert lost.path == "log"


def test_what_is_written_into_a_mapped_file_is_recorded_by_its_msync(under: Run) -> None:
    done = under.run(MAPPED, Fault(), FAULT_LOG=str(under.log))
    assert done.returncode == 0, done.stderr
    synced = under.operations()[-1]
    assert (synced.op, synced.path, synced.offset, synced.data[:5]) == ("msync", "beat", 4096, b"beat\0")
    assert synced.flags & SYNCED and len(synced.data) == 4096


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        ("os.fsync(fd)", "fsync"),
        ("os.fdatasync(fd)", "fdatasync"),
        ("libc.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), 7) == 0 or refuse()", "syncrange"),
        ("os.posix_fallocate(fd, 0, 10)", "allocate"),
        ("libc.fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(10)) == 0 or refuse()", "allocate"),
        ("os.pwrite(fd, b'x', 3)", "write"),
        ("os.writev(fd, [b'x', b'y'])", "write"),
        ("os.pwritev(fd, [b'x'], 0, os.RWF_DSYNC)", "write"),
        ("os.ftruncate(fd, 1)", "truncate"),
        ("os.mkdir('d', dir_fd=here)", "mkdir"),
        ("os.unlink('a', dir_fd=here)", "unlink"),
        ("os.rmdir('old', dir_fd=here)", "rmdir"),
        ("os.rename('a', 'b', src_dir_fd=here)", "rename"),
        ("libc.renameat2(here, b'a', here, b'b', 1) == 0 or refuse()", "rename"),
        ("os.symlink('a', 'l')", "symlink"),
        ("os.mkfifo('p')", "mknod"),
    ],
)
def test_each_call_is_seen_and_can_fail(under: Run, call: str, operation: str) -> None:
    script = (
        CALLS
        + f"""
def refuse():
    raise OSError(ctypes.get_errno(), "refused")
os.mkdir("old")
fd = os.open("a", os.O_RDWR | os.O_CREAT)
here = os.open(".", os.O_RDONLY)
{call}
"""
    )
    done = under.run(script, Fault("once", 1, error="EIO", only=operation) if operation != "mkdir" else
                     Fault("once", 2, error="EIO", only="mkdir"))  # fmt: skip
    assert f"[Errno {errno.EIO}]" in done.stderr, done.stderr
    assert under.control.read().operation == operation


def test_a_copy_inside_of_the_kernel_goes_through_write(under: Run) -> None:
    script = (
        CALLS
        + """
import shutil
open("a", "wb").write(b"x" * 100000)
shutil.copyfile("a", "b")
try:
    os.copy_file_range(os.open("a", os.O_RDONLY), os.open("c", os.O_WRONLY | os.O_CREAT), 10)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    )
    assert under.run(script, Fault(), FAULT_LOG=str(under.log)).stdout == "EXDEV\n"
    assert sum(len(o.data) for o in under.operations() if o.path == "b") == 100000
