"""Counting by class of path: what one process did to the disk, and none of what its children did."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.crash.counters import OTHERS, Counters, Row
from tests.crash.faultlib import Fault
from tests.crash.underlib import Run

SCRIPT = """
import ctypes, os, subprocess, sys
os.chdir(sys.argv[1])
os.mkdir("log")
fd = os.open("log/1", os.O_WRONLY | os.O_CREAT)
os.write(fd, b"12345")
os.fdatasync(fd)
ctypes.CDLL(None).syncfs(fd)
"""


def counted(under: Run, folder: Path, script: str, delay_ms: int = 0) -> Counters:
    counters = Counters(str(folder / "counts"), str(under.root), delay_ms=delay_ms, classes={"log": "^log(/|$)"})
    done = under.run(script, Fault("off"), **counters.environment)
    assert done.returncode == 0, done.stderr
    return counters


def test_each_class_of_paths_has_counts_of_its_own(under: Run, tmp_path: Path) -> None:
    more = 'open("x", "w").write("abc")\nos.fsync(os.open(".", os.O_RDONLY))\n'
    found = counted(under, tmp_path, SCRIPT + more).read()
    assert found.of("log") == Row(fdatasyncs=1, syncfses=1, made=2, writes=1, bytes=5)
    assert found.of(OTHERS) == Row(fsyncs=1, made=1, writes=1, bytes=3)
    assert found.but().syncs == 3
    assert "in all" in found.table()


@pytest.mark.parametrize(
    ("call", "made", "freed"),
    [
        ("os.link('log/1', 'log/2')", 2, 0),
        ("os.link('log/1', 'log/2'); os.unlink('log/1')", 2, 0),
        ("os.unlink('log/1')", 2, 1),
        ("open('log/2', 'w'); os.rename('log/2', 'log/1')", 3, 1),
        ("os.link('log/1', 'log/2'); open('log/3', 'w'); os.rename('log/3', 'log/1')", 3, 0),
        ("os.mkdir('log/d'); os.rmdir('log/d')", 3, 1),
        ("os.symlink('1', 'log/s'); os.unlink('log/s')", 3, 1),
        ("open('log/1', 'w')", 2, 0),
    ],
)
def test_an_inode_is_made_with_its_first_name_and_freed_with_its_last(
    under: Run, tmp_path: Path, call: str, made: int, freed: int
) -> None:
    found = counted(under, tmp_path, SCRIPT + call).read().of("log")
    assert (found.made, found.freed) == (made, freed)


def test_children_are_not_counted_but_for_the_logs_that_are_made_for_them(under: Run, tmp_path: Path) -> None:
    script = (
        SCRIPT
        + """
opens = [(os.POSIX_SPAWN_OPEN, 1, "log/out", os.O_WRONLY | os.O_CREAT, 0o600)]
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo word; echo more >log/more"], os.environ, file_actions=opens)
os.waitpid(pid, 0)
os.unlink("log/more")
if os.fork() == 0:
    os.mkdir("log/forked")
    os._exit(0)
os.wait()
"""
    )
    counters = counted(under, tmp_path, script)
    assert counters.read().of("log") == Row(fdatasyncs=1, syncfses=1, made=3, freed=1, writes=1, bytes=5)
    assert counters.at_spawn().of("log") == Row(fdatasyncs=1, syncfses=1, made=3, writes=1, bytes=5)
    assert counters.spawns() == 1


def test_a_slow_disk_can_be_had(under: Run, tmp_path: Path) -> None:
    begun = time.monotonic()
    counted(under, tmp_path, SCRIPT, delay_ms=100)
    assert time.monotonic() - begun >= 0.2, "two syncs take a tenth of a second each"
