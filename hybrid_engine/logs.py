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

if TYPE_CHECKING:
    from loguru import Record

_ABOUT = ("workflow", "step", "attempt")


def configure(level: str, path: str | None, *, max_bytes: int, keep: int, terminal: bool = True) -> None:
    """Set up the sinks of this process. `path` is the file of JSON lines, or None for none."""
    logger.remove()
    if terminal:
        logger.add(sys.stderr, level=level, format=_for_people, diagnose=False, backtrace=False, catch=True)
    if path is not None:
        logger.add(
            path,
            level=level,
            format=_as_json,
            rotation=max_bytes,
            retention=keep,
            diagnose=False,
            backtrace=False,
            catch=True,
            opener=_private,
            encoding="utf-8",
            errors="backslashreplace",
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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
