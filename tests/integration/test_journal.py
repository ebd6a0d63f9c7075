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


def test_a_journal_is_for_nobody_else_and_made_with_its_first_line(path: Path) -> None:
    log = journal.Journal(str(path))
    assert not path.exists()
    old = os.umask(0)
    try:
        log.append(at(0), STORY)
    finally:
        os.umask(old)
    log.sync()
    log.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_batch_is_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(data), write(fd, data))[1])
    log = journal.Journal(str(path))
    log.append(at(0), STORY)
    log.close()
    assert writes == [path.read_bytes()]


def test_a_write_cut_short_at_any_byte_leaves_nothing_and_can_be_made_again(path: Path) -> None:
    log = journal.Journal(str(path))
    log.append(at(0), STORY[:1])
    log.sync()
    before = path.read_bytes()
    size = len(journal.encode(2, at(1), STORY[1:]))
    for cut in range(0, size, 7):
        with no_more_than(len(before) + cut), pytest.raises(OSError, match="too large"):
            log.append(at(1), STORY[1:])
        assert path.read_bytes() == before
        assert (log.n, log.size) == (1, len(before))
    log.append(at(1), STORY[1:])
    log.close()
    assert [entry.event for entry in journal.read(str(path)).entries] == STORY


def test_garbage_that_could_not_be_cut_off_is_cut_before_the_next_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = journal.Journal(str(path))
    log.append(at(0), STORY[:1])
    before = path.read_bytes()

    def failing(fd: int, data: bytes) -> None:
        os.write(fd, data[:10])
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def no_cut(fd: int, size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_all", failing)
        patch.setattr(os, "ftruncate", no_cut)
        with pytest.raises(OSError, match="Input/output"):
            log.append(at(1), STORY[1:])
    assert len(path.read_bytes()) == len(before) + 10
    log.append(at(1), STORY[1:])
    log.close()
    assert [entry.event for entry in journal.read(str(path)).entries] == STORY


def test_a_torn_tail_is_kept_before_it_is_cut_and_kept_apart_from_earlier_ones(path: Path) -> None:
    whole = journal.encode(1, at(0), STORY[:1])
    for number, tail in enumerate((b"one", b"two", b'{"n":2'), 1):
        path.write_bytes(whole + tail)
        copy = journal.cut_torn_tail(str(path), journal.read(str(path)))
        assert Path(copy).name == f"journal.torn-{number}"
        assert (Path(copy).read_bytes(), path.read_bytes()) == (tail, whole)


@pytest.mark.parametrize("operation", ["write_all", "sync_folder"])
def test_a_tail_that_cannot_be_kept_is_not_cut(path: Path, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    data = journal.encode(1, at(0), STORY[:1]) + b"tail"
    path.write_bytes(data)

    def failing(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, operation, failing)
    with pytest.raises(OSError, match="space"):
        journal.cut_torn_tail(str(path), journal.read(str(path)))
    kept = [found.read_bytes() for found in path.parent.glob("journal.torn-*")]
    assert path.read_bytes() == data or kept == [b"tail"]


def test_a_rewritten_journal_is_a_new_file_of_what_was_sure(path: Path) -> None:
    log = journal.Journal(str(path))
    log.append(at(0), STORY[:1])
    log.sync()
    sure, inode = log.size, path.stat().st_ino
    log.append(at(1), STORY[1:])
    log.rewrite(sure)
    assert path.stat().st_ino != inode
    assert [entry.event for entry in journal.read(str(path)).entries] == STORY[:1]
    log.append(at(1), STORY[1:])
    log.close()
    assert [entry.event for entry in journal.read(str(path)).entries] == STORY


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
    if kind != "pipe":
        with pytest.raises(OSError):
            journal.Journal(str(path)).append(at(0), STORY)


def test_a_missing_journal_reads_as_an_empty_one(path: Path) -> None:
    assert journal.read(str(path)) == journal.Reading()
