"""Logs by loguru: for people on the terminal, JSON lines in a rotated file. One process, one file.

Every line says which workflow, step and attempt it is about, where it is about one. `diagnose` and `backtrace` are off:
they would write the values of local variables, passwords among them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from loguru import logger

from hybrid_engine.files import atomic

if TYPE_CHECKING:
    from loguru import Record

_ABOUT = ("workflow", "step", "attempt")


class JsonLines:
    """A sink that appends to a file and begins a new one at `max_bytes`, keeping `keep` old ones (`.1` is the latest).

    A log is not worth a daemon: what cannot be written is dropped, and the next line tries again.
    """

    def __init__(self, path: str, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max = max_bytes
        self._keep = keep
        self._fd = -1

    def __call__(self, line: str) -> None:
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, _APPEND, 0o600)
            os.write(self._fd, line.encode("utf-8", "backslashreplace"))
            if os.fstat(self._fd).st_size >= self._max:
                self._rotate()
        except OSError:
            self._close()

    def _rotate(self) -> None:
        self._close()
        if self._keep == 0:
            os.unlink(self._path)
            return
        for number in range(self._keep - 1, 0, -1):
            if os.path.exists(f"{self._path}.{number}"):
                atomic.rename(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        atomic.rename(self._path, f"{self._path}.1")

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def configure(level: str, path: str | None, *, max_bytes: int, keep: int, terminal: bool = True) -> None:
    """Set up the sinks of this process. `path` is the file of JSON lines, or None for none."""
    logger.remove()
    if terminal:
        logger.add(
            _to_terminal, level=level, format=_for_people, diagnose=False, backtrace=False, colorize=sys.stderr.isatty()
        )
    if path is not None:
        logger.add(JsonLines(path, max_bytes, keep), level=level, format=_as_json, diagnose=False, backtrace=False)


def _to_terminal(line: str) -> None:
    try:
        sys.stderr.write(line)
    except (OSError, ValueError):
        pass  # nobody listens any more


def _for_people(record: Record) -> str:
    about = " ".join(str(record["extra"][name]) for name in _ABOUT if name in record["extra"])
    record["extra"]["_about"] = f"[{about}] " if about else ""
    return "<dim>{time:YYYY-MM-DD HH:mm:ss.SSS}</dim> <level>{level: <7}</level> {extra[_about]}{message}\n{exception}"


def _as_json(record: Record) -> str:
    line: dict[str, Any] = {
        "at": record["time"].astimezone().isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "message": record["message"],
    }
    line.update({name: record["extra"][name] for name in _ABOUT if name in record["extra"]})
    if record["exception"] is not None and record["exception"].value is not None:
        line["error"] = f"{type(record['exception'].value).__name__}: {record['exception'].value}"
    line["where"] = f"{record['name']}:{record['line']}"
    record["extra"]["_json"] = json.dumps(line, ensure_ascii=False)
    return "{extra[_json]}\n"
