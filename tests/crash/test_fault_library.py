"""The fault library: it counts what it says it counts, strikes where it is told to, and leaves children alone."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from tests.crash.faultlib import Fault
from tests.crash.underlib import Run

WRITER = """
import os, sys
os.chdir(sys.argv[1])
fd = os.open("a", os.O_WRONLY | os.O_CREAT, 0o600)
os.write(fd, b"0123456789")
os.fsync(fd)
os.close(fd)
os.rename("a", "b")
os.mkdir("d")
os.link("b", "d/c")
os.unlink("b")
"""
ITS_OPERATIONS = ["open", "write", "fsync", "rename", "mkdir", "link", "unlink"]


def test_every_operation_below_the_root_is_counted_and_none_elsewhere(under: Run, tmp_path: Path) -> None:
    elsewhere = f"open({str(tmp_path / 'elsewhere')!r}, 'w').write('x')\n"
    assert under.run(WRITER + elsewhere, Fault()).returncode == 0
    assert under.control.read().count == len(ITS_OPERATIONS)


def test_excluded_paths_are_not_counted(under: Run) -> None:
    assert under.run(WRITER, Fault(), FAULT_EXCLUDE="d/*:d").returncode == 0
    assert under.control.read().count == len(ITS_OPERATIONS) - 2


@pytest.mark.parametrize("at", range(1, len(ITS_OPERATIONS) + 1))
def test_a_kill_comes_before_the_operation_it_is_meant_for(under: Run, at: int) -> None:
    assert under.run(WRITER, Fault("kill", at), FAULT_LOG=str(under.log)).returncode == -9
    assert under.control.read().operation == ITS_OPERATIONS[at - 1]
    assert [operation.op for operation in under.operations()] == ITS_OPERATIONS[: at - 1]


def test_a_run_that_ends_before_its_fault_is_left_alone(under: Run) -> None:
    assert under.run(WRITER, Fault("kill", len(ITS_OPERATIONS) + 1)).returncode == 0
    assert under.control.read().fired == 0


def test_a_torn_write_leaves_its_first_part(under: Run) -> None:
    assert under.run(WRITER, Fault("torn", 1, cut=300)).returncode == -9
    assert (under.root / "a").read_bytes() == b"012"


def test_a_short_write_says_so(under: Run) -> None:
    script = WRITER.replace("os.write(fd, b", "print(os.write(fd, b").replace('9")', '9"))')
    assert under.run(script, Fault("short", 1)).stdout == "5\n"


def test_an_error_strikes_only_what_can_fail_with_it(under: Run) -> None:
    done = under.run(WRITER, Fault("once", 1, error="EXDEV"))
    assert f"[Errno {errno.EXDEV}]" in done.stderr and "'a' -> 'b'" in done.stderr
    assert under.control.read().count == 1, "of all the operations, a rename is the first that can cross devices"


def test_an_error_for_ever_lasts_until_it_is_lifted(under: Run) -> None:
    script = """
import os, sys
os.chdir(sys.argv[1])
def attempt(name):
    try:
        os.mkdir(name)
        print("made")
    except OSError as error:
        print(error.errno)
for name in ("a", "b"):
    attempt(name)
with open(os.environ["FAULT_CONTROL"], "r+b") as control:
    control.seek(16)
    control.write(b"\\1")
attempt("c")
"""
    assert under.run(script, Fault("ever", 2, error="ENOSPC")).stdout.split() == ["made", "28", "made"]


def test_only_named_operations_count_when_some_are_named(under: Run) -> None:
    done = under.run(WRITER, Fault("once", 1, error="EIO", only="rename+link"))
    assert "'a' -> 'b'" in done.stderr


def test_threads_are_counted_together(under: Run) -> None:
    script = """
import os, sys, threading
os.chdir(sys.argv[1])
def work(n):
    for i in range(50):
        os.mkdir(f"{n}-{i}")
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    assert under.run(script, Fault(), FAULT_LOG=str(under.log)).returncode == 0
    assert under.control.read().count == 200
    assert sorted(operation.path for operation in under.operations()) == sorted(os.listdir(under.root))


def test_children_are_neither_counted_nor_struck_and_are_recorded_only_on_demand(under: Run) -> None:
    script = """
import os, subprocess, sys
os.chdir(sys.argv[1])
os.mkdir("mine")
subprocess.run(["/bin/sh", "-c", "echo word >child"], check=True)
if os.fork() == 0:
    os.mkdir("forked")
    os._exit(0)
os.wait()
"""
    assert under.run(script, Fault("kill", 2), FAULT_LOG=str(under.log)).returncode == 0
    assert under.control.read().count == 1
    assert [operation.path for operation in under.operations()] == ["mine"]
    for name in ("mine", "forked"):
        (under.root / name).rmdir()
    assert under.run(script, Fault(), FAULT_LOG=str(under.log), FAULT_CHILDREN="1").returncode == 0
    assert [(o.op, o.path, o.data) for o in under.operations()[-4:]] == [
        ("mkdir", "mine", b""), ("open", "child", b""), ("write", "child", b"word\n"), ("mkdir", "forked", b""),
    ]  # fmt: skip


def test_the_log_says_where_each_write_went_and_what_the_world_had_seen(under: Run, tmp_path: Path) -> None:
    watched = tmp_path / "outside"
    script = f"""
import os, sys
os.chdir(sys.argv[1])
fd = os.open("a", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(fd, b"one")
open({str(watched)!r}, "w").write("seen")
os.write(fd, b"two")
os.pwrite(os.open("b", os.O_WRONLY | os.O_CREAT), b"three", 7)
os.ftruncate(fd, 1)
"""
    assert under.run(script, Fault(), FAULT_LOG=str(under.log), FAULT_WATCH=str(watched)).returncode == 0
    told = [(o.op, o.offset, o.data, o.watched) for o in under.operations() if o.op != "open"]
    assert told == [
        ("write", 0, b"one", 0),
        ("write", 3, b"two", 4),
        ("write", 7, b"three", 4),
        ("truncate", 1, b"", 4),
    ]


def test_a_built_disk_has_other_inode_numbers_and_another_boot_to_show(under: Run, tmp_path: Path) -> None:
    (under.root / "file").touch()
    (tmp_path / "numbers").write_bytes(struct.pack("=QQ", (under.root / "file").stat().st_ino, 4711))
    (tmp_path / "boot").write_text("another\n")
    script = """
import os, sys
print(os.stat(sys.argv[1] + "/file").st_ino, os.stat(sys.argv[1]).st_ino, next(os.scandir(sys.argv[1])).stat().st_ino)
print(open("/proc/sys/kernel/random/boot_id").read())
"""
    disguise = {"FAULT_INODES": str(tmp_path / "numbers"), "FAULT_BOOT": str(tmp_path / "boot")}
    assert under.run(script, Fault("off"), **disguise).stdout.split() == [
        "4711", str(under.root.stat().st_ino), "4711", "another",
    ]  # fmt: skip


def test_a_fault_is_spelled_as_it_is_read() -> None:
    for text in ("kill:57", "once:ENOSPC:12", "torn:3:cut999", "ever:EIO:4:only=fsync+fdatasync", "count"):
        assert str(Fault.parse(text)) == text
