"""The journal on a real disk: rights, torn writes, and what happens when the disk fails in the middle."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import at, created

from hybrid_engine.files import atomic, journal
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import places
from hybrid_engine.files.log.behind import WriteBehind
from hybrid_engine.model import events as e

STORY: list[e.Event] = [created(params={"text": "x" * 300}), e.WorkflowStarted(), e.StepStarted("one", 1)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes: the last write that fits is cut short, as by a disk that fills up."""
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)


FIRST = journal.encode(1, at(0), STORY[:1])
REST = journal.encode(2, at(1), STORY[1:])


@contextmanager
def no_longer_than(seconds: float) -> Iterator[None]:
    """The engine is one thread: what waits for ever for somebody at the other end of a pipe would be its end."""

    def late(*_: object) -> None:
        raise AssertionError("it hangs")

    old = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def begin(path: Path) -> bytes:
    places.append(str(path), FIRST, create=True)
    return path.read_bytes()


def test_a_journal_is_for_nobody_else_and_made_with_its_first_line(path: Path) -> None:
    old = os.umask(0)
    try:
        begin(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == FIRST


def test_a_journal_that_is_gone_is_not_begun_anew_in_its_middle(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        places.append(str(path), REST, create=False)
    assert not path.exists()


def test_a_batch_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(data), write(fd, data))[1])
    places.append(str(path), FIRST + REST, create=True)
    assert writes == [path.read_bytes()]


def test_a_write_cut_short_at_any_byte_leaves_nothing_and_can_be_made_again(path: Path) -> None:
    before = begin(path)
    for cut in range(0, len(REST), 7):
        with no_more_than(len(before) + cut), pytest.raises(OSError, match="too large"):
            places.append(str(path), REST, create=False)
        assert path.read_bytes() == before
    places.append(str(path), REST, create=False)
    assert [entry.event for entry in journal.read(str(path)).entries] == STORY


def test_garbage_that_could_not_be_cut_off_is_cut_before_the_next_line(
    home: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles: list[OSError] = []
    behind = WriteBehind(home, lambda workflow, error: troubles.append(error), troubles.append)
    os.mkdir(home.workflow("w1"))
    path = Path(home.journal("w1"))
    before = begin(path)

    def failing(fd: int, data: bytes) -> None:
        os.write(fd, data[:10])
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def no_cut(fd: int, size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    behind.of("w1", 1).lines.append(REST)
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_all", failing)
        patch.setattr(os, "ftruncate", no_cut)
        behind.flush(1.0)
    assert len(path.read_bytes()) == len(before) + 10
    assert [error.errno for error in troubles] == [errno.EIO]
    behind.settle("w1")
    assert [entry.event for entry in journal.read(str(path)).entries] == STORY


def test_a_torn_tail_is_kept_before_it_is_cut_and_kept_apart_from_earlier_ones(path: Path) -> None:
    whole = FIRST
    for number, tail in enumerate((b"one", b"two", b'{"n":2'), 1):
        path.write_bytes(whole + tail)
        copy = journal.cut_torn_tail(str(path), journal.read(str(path)))
        assert Path(copy).name == f"journal.torn-{number}"
        assert (Path(copy).read_bytes(), path.read_bytes()) == (tail, whole)


@pytest.mark.parametrize("operation", ["write_all", "sync_folder"])
def test_a_tail_that_cannot_be_kept_is_not_cut(path: Path, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    data = FIRST + b"tail"
    path.write_bytes(data)

    def failing(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, operation, failing)
    with pytest.raises(OSError, match="space"):
        journal.cut_torn_tail(str(path), journal.read(str(path)))
    kept = [found.read_bytes() for found in path.parent.glob("journal.torn-*")]
    assert path.read_bytes() == data or kept == [b"tail"]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_plain_file_is_neither_read_nor_written(path: Path, tmp_path: Path, kind: str) -> None:
    if kind == "link":
        (tmp_path / "other").touch()
        path.symlink_to(tmp_path / "other")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OSError):
        journal.read(str(path))
    with no_longer_than(2.0), pytest.raises(OSError):
        places.append(str(path), FIRST, create=True)


def test_a_missing_journal_reads_as_an_empty_one(path: Path) -> None:
    assert journal.read(str(path)) == journal.Reading()
