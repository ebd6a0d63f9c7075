"""In a worker: where the prints of a call go. The attempt's log files are made at the first byte."""

from __future__ import annotations

import os
import sys
from typing import Any

from hybrid_engine import authoring

NAMES = ("stdout.log", "stderr.log")


class Logs:
    """Where prints go: the attempt's log files, made at the first byte, so that a silent function leaves no file."""

    def __init__(self, scratch: str) -> None:
        self._scratch = [f"{scratch}.{name}" for name in ("stdout", "stderr")]
        self._folder = ""
        self._opened = [False, False]
        for number, path in enumerate(self._scratch, 1):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            os.dup2(fd, number)
            os.close(fd)
        self._streams = _Stream(self, 0), _Stream(self, 1)
        self.enter("")

    def enter(self, folder: str) -> None:
        self._folder = folder
        sys.stdout, sys.stderr = self._streams

    def open(self, which: int) -> None:
        """The attempt's log takes the place of the scratch file, for Python, for C and for subprocesses."""
        if self._opened[which] or not self._folder:
            return
        path = os.path.join(self._folder, NAMES[which])
        try:
            authoring.make_folders(self._folder, authoring.ATTEMPT_LEVELS)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            return  # the workflow was removed: what is printed stays in the scratch file, and goes with it
        os.dup2(fd, which + 1)
        os.close(fd)
        self._opened[which] = True

    def leave(self) -> None:
        """The call is over: what bypassed Python (subprocesses) moves from the scratch file to the attempt's log."""
        for which, path in enumerate(self._scratch):
            try:
                if self._opened[which]:
                    self._back_to_scratch(which)
                elif os.fstat(which + 1).st_size:
                    self._move(which, path)
            except OSError:
                pass  # a full disk costs the end of a log, not the result

    def _back_to_scratch(self, which: int) -> None:
        path = self._scratch[which]
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        os.dup2(fd, which + 1)
        os.close(fd)
        self._opened[which] = False
        if os.fstat(which + 1).st_size:
            self._move(which, path)

    def _move(self, which: int, path: str) -> None:
        try:
            authoring.make_folders(self._folder, authoring.ATTEMPT_LEVELS)
            with open(path, "rb") as source, open(os.path.join(self._folder, NAMES[which]), "ab") as log:
                while chunk := source.read(1 << 20):
                    log.write(chunk)
        finally:
            os.ftruncate(which + 1, 0)  # also when it could not be kept: it does not belong to the next attempt's log

    def remove(self) -> None:
        for path in self._scratch:
            try:
                os.unlink(path)
            except OSError:
                pass


class _Stream:
    """`sys.stdout` and `sys.stderr`: writes through at once, opening the log at the first write."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, logs: Logs, which: int) -> None:
        self._logs = logs
        self._which = which

    def write(self, text: str) -> int:
        if text:
            self._logs.open(self._which)
            data = text.encode("utf-8", "backslashreplace")
            while data:
                data = data[os.write(self._which + 1, data) :]
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        self._logs.open(self._which)
        return self._which + 1

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    @property
    def buffer(self) -> Any:
        return os.fdopen(os.dup(self.fileno()), "wb", buffering=0)
