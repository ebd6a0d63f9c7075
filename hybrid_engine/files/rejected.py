"""`inbox/rejected/`: what was not accepted, each file with a reason beside it that a program can read."""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import Any

from hybrid_engine.errors import InputError
from hybrid_engine.files import atomic
from hybrid_engine.files.freename import candidates, free_name
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.ports.intake import Parsed

REASON = ".reason.json"


class Rejected:
    """The folder. What is put here is durable when a method returns."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def move(self, source: str, name: str, error: InputError, now: Stamp) -> str:
        """Move a file here, whatever it is; returns the name it has here. Raises OSError with the file still there."""
        free = self._write_reason(name, reason_of(name, error, now))
        target = os.path.join(self._folder, free)
        try:
            atomic.rename(source, target)
        except OSError as failure:
            if failure.errno != errno.EXDEV:
                raise
            _copy(source, target)
            os.unlink(source)
        atomic.sync_folder(self._folder)
        return free

    def put_lines(self, name: str, lines: list[Parsed], error: InputError, now: Stamp) -> str:
        """Put some lines of a file here; returns the name of the file that holds them."""
        reason = reason_of(name, error, now)
        reason["lines"] = [{"line": line.line, **_told(line.error)} for line in lines if line.error is not None]
        free = self._write_reason(name, reason)
        data = b"".join(line.data.rstrip(b"\r\n") + b"\n" for line in lines)
        atomic.write_new(os.path.join(self._folder, free), data)
        atomic.sync_folder(self._folder)
        return free

    def forget(self, name: str) -> None:
        """A file of this name was accepted: what is told of earlier ones is no longer true. The files stay."""
        for candidate in candidates(name):
            if not atomic.unlink_quietly(os.path.join(self._folder, candidate + REASON)):
                return

    def _write_reason(self, name: str, reason: dict[str, Any]) -> str:
        """Before the file itself: should we be killed in between, the file is still where it was."""
        atomic.make_folder(self._folder)
        free = free_name(self._folder, name)
        text = json.dumps(reason, indent=1, ensure_ascii=True) + "\n"
        atomic.write_new(os.path.join(self._folder, free + REASON), text.encode())
        return free


def reason_of(name: str, error: InputError, now: Stamp) -> dict[str, Any]:
    """The reason as a program reads it."""
    return {"file": name, "rejected_at": now, **_told(error)}


def _told(error: InputError) -> dict[str, Any]:
    told: dict[str, Any] = {**error.as_dict(), "reason": str(error)}
    if error.problems:
        told["problems"] = [problem.as_dict() for problem in error.problems]
    return told


def _copy(source: str, target: str) -> None:
    """A file that comes from another file system. Only plain files can; the others stay, as an OSError."""
    with open(source, "rb", opener=lambda path, _: os.open(path, atomic.READ)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a plain file, and on another file system", source)
        out = os.open(target, atomic.CREATE | os.O_EXCL, atomic.FILE_MODE)
        try:
            while data := file.read(1 << 20):
                atomic.write_all(out, data)
            atomic.sync(out)
        finally:
            os.close(out)
