"""What is done to a home's disk, recorded in its order: the calls that matter after a power cut, with their paths."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import filesystems

BY_DESCRIPTOR = ("write", "pwrite", "fsync", "fdatasync", "ftruncate")
BY_PATH = ("unlink", "mkdir", "rmdir", "link", "replace")
"""Of the two paths of a `link` or a `replace` the second is recorded: the name that there is afterwards."""


class Deeds:
    """`all` holds (call, path in the home), and ("syncfs", descriptor)."""

    def __init__(self, patch: pytest.MonkeyPatch, home: Layout) -> None:
        self._root = os.path.realpath(home.home)
        self.all: list[tuple[str, str]] = []
        for name in BY_DESCRIPTOR:
            patch.setattr(os, name, self._recorded(name, getattr(os, name), self._of_descriptor))
        for name in BY_PATH:
            patch.setattr(os, name, self._recorded(name, getattr(os, name), self._of_path))
        syncfs = filesystems._libc.syncfs
        patch.setattr(filesystems._libc, "syncfs", self._recorded("syncfs", syncfs, lambda fd: str(fd)))

    def _recorded(self, name: str, call: Callable[..., Any], tell: Callable[..., str]) -> Callable[..., Any]:
        """Only what succeeded is recorded."""

        def do(*arguments: Any, **named: Any) -> Any:
            told = tell(*arguments, **named)
            result = call(*arguments, **named)
            self.all.append((name, told))
            return result

        return do

    def _of_descriptor(self, fd: int, *_: Any) -> str:
        return self._told(os.readlink(f"/proc/self/fd/{fd}"))

    def _of_path(self, path: str, *more: Any, dir_fd: int | None = None, **_: Any) -> str:
        if dir_fd is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
        return self._told(os.path.realpath(os.path.dirname(target := more[0] if _is_path(more) else path)), target)

    def _told(self, path: str, target: str | None = None) -> str:
        whole = path if target is None else os.path.join(path, os.path.basename(target))
        return os.path.relpath(whole, self._root)

    def clear(self) -> None:
        self.all.clear()

    def where(self, call: str, path: str, after: int = -1) -> int:
        """The place of the first such deed behind `after`."""
        for place, deed in enumerate(self.all):
            if place > after and deed == (call, path):
                return place
        raise AssertionError(f"no {call} of {path} behind deed {after} in {self.all}")

    def in_order(self, *wanted: tuple[str, str]) -> None:
        """These were done, in this order, whatever was done between them."""
        place = -1
        for call, path in wanted:
            place = self.where(call, path, place)


def _is_path(arguments: tuple[Any, ...]) -> bool:
    return bool(arguments) and isinstance(arguments[0], str)
