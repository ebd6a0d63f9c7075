"""What commands print: plain, greppable text; rich tables only on a terminal; JSON where it is asked for.

Results go to stdout, everything said beside them to stderr. No command formats a moment, a length of time or a table
by itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COLOURS = {
    "completed": "green", "running": "cyan", "failed": "red", "cancelled": "magenta", "paused": "yellow",
    "retrying": "yellow", "waiting": "blue", "skipped": "dim", "error": "red", "warning": "yellow",
}  # fmt: skip


def complain(message: str) -> None:
    """One message about what went wrong."""
    sys.stdout.flush()
    sys.stderr.write(f"hybrid: {message}\n")


def note(message: str) -> None:
    """Something to know beside the result."""
    sys.stderr.write(message + "\n")


def say(line: str = "") -> None:
    sys.stdout.write(line + "\n")


def emit(value: Any) -> None:
    """A JSON document; a list has one element a line, so that it can be grepped as well."""
    if isinstance(value, list):
        body = ",\n".join(json.dumps(item, ensure_ascii=False) for item in value)
        say(f"[\n{body}\n]" if body else "[]")
    else:
        say(json.dumps(value, ensure_ascii=False, indent=2))


def is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """`columns` maps a key of the rows to its heading."""
    cells = [[_cell(row.get(key)) for key in columns] for row in rows]
    if is_terminal():
        _rich_table(cells, list(columns.values()))
        return
    lines = [[heading.upper() for heading in columns.values()], *cells]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _rich_table(cells: Iterable[Sequence[str]], headings: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        found.add_column(heading, overflow="fold")
    for line in cells:
        found.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in line))
    Console().print(found)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ",".join(f"{name}={_cell(inner)}" for name, inner in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ",".join(map(_cell, value)) or "-"
    return one_line(str(value)) or "-"


def one_line(text: str) -> str:
    """Text that stays on its line and cannot give orders to the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def coloured(status: str) -> str:
    """A status, in its colour on a terminal."""
    codes = {"green": 32, "cyan": 36, "red": 31, "magenta": 35, "yellow": 33, "blue": 34, "dim": 2}
    code = codes.get(COLOURS.get(status, ""))
    return f"\x1b[{code}m{status}\x1b[0m" if code and is_terminal() else status


def moment(stamp: str | None) -> str:
    """A stamp without its fractions."""
    return f"{stamp[:19]}Z" if stamp else "-"


def took(start: str | None, end: str | None) -> str:
    """The time between two stamps, roughly."""
    if not start or not end:
        return "-"
    from hybrid_engine.model.durations import MILLISECOND, SECOND, duration_text
    from hybrid_engine.model.stamps import seconds_between

    micros = max(0, round(seconds_between(start, end) * SECOND))
    unit = MILLISECOND if micros < 10 * SECOND else SECOND
    return duration_text(micros - micros % unit)


def size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return str(count)


def crash_report(text: str) -> str | None:
    """Keep the traceback of an unknown error; returns where, or None when nowhere can be written."""
    import tempfile
    import time

    from hybrid_engine.settings import load

    name = f"hybrid-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    folders = []
    try:
        folders.append(load().layout.logs)
    except Exception:
        pass  # the settings may be what is broken
    for folder in (*folders, tempfile.gettempdir()):
        path = os.path.join(folder, name)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            continue
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return path
    return None
