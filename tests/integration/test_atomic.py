"""Replacing files: whoever looks finds the old content or the new one, whatever interrupts the change."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from hybrid_engine.files import atomic


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"old content")
    return path


@pytest.mark.parametrize("tmp", [None, "elsewhere"])
def test_a_file_is_never_changed_in_place(path: Path, tmp: str | None) -> None:
    with path.open("rb") as reader:
        atomic.replace(str(path), b"new", tmp=None if tmp is None else str(path.with_name(tmp)))
        assert reader.read() == b"old content"
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file"]


def test_a_disk_that_is_full_leaves_the_old_content_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[:10])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError):
        atomic.replace(str(path), b"new content")
    assert path.read_bytes() == b"old content"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("has_happened", [True, False])
def test_a_rename_that_a_signal_interrupts_is_looked_at_before_it_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, has_happened: bool
) -> None:
    """The system may say that it was interrupted after the name had changed, or before."""
    rename, calls = os.replace, list[Any]()

    def interrupted(source: str, target: str) -> None:
        calls.append((source, target))
        if has_happened or len(calls) > 1:
            rename(source, target)
        if len(calls) == 1:
            raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))

    monkeypatch.setattr(os, "replace", interrupted)
    atomic.replace(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert len(calls) == (1 if has_happened else 2)
    assert os.listdir(path.parent) == ["file"]
