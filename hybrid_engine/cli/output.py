"""What commands print: results to stdout, everything said beside them to stderr.

On a terminal, or where color is asked for, rich prints; it knows NO_COLOR, FORCE_COLOR, the width and dumb terminals.
Elsewhere the same text is written plainly and without loading rich. Tables are in `tables`, words for moments and
lengths of time in `words`: no command formats these by itself.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "completed": "green", "running": "cyan", "failed": "red", "cancelled": "magenta", "paused": "yellow",
    "retrying": "yellow", "waiting": "blue", "skipped": "dim", "pending": "dim", "error": "red", "warning": "yellow",
}  # fmt: skip
"""Words that have a color where they stand for a status."""

COLOR_CHOICES = ["auto", "always", "never"]
PLAIN_WIDTH = 80
"""Columns where nobody says how many there are."""

_color = "auto"


def use_color(choice: str) -> None:
    """ "auto", "always" or "never", for this process."""
    global _color
    _color = choice


def console(file: TextIO | None = None) -> Console:
    """Rich's view of stdout, or of another stream."""
    from rich.console import Console

    always, never = _color == "always", _color == "never"
    return Console(
        file=file or sys.stdout,
        force_terminal=True if always else None,
        no_color=False if always else True if never else None,
        highlight=False,
        emoji=False,
        markup=False,
    )


def is_terminal(file: TextIO | None = None) -> bool:
    """Does a person look at the stream, on a terminal that can do more than print lines?"""
    return (file or sys.stdout).isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def is_rich() -> bool:
    """Shall stdout have color, or tables that know the width? Else it is plain text."""
    return is_terminal() or _color == "always" or bool(os.environ.get("FORCE_COLOR"))


def can_ask() -> bool:
    """Is there a person who can answer a question?"""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def width() -> int:
    """Columns of a line on stdout: those of the terminal, of COLUMNS, or 80."""
    if is_terminal():
        return console().width
    told = os.environ.get("COLUMNS", "")
    return int(told) if told.isdecimal() and int(told) > 0 else PLAIN_WIDTH


def complain(message: str) -> None:
    """What went wrong."""
    sys.stdout.flush()
    sys.stderr.write(f"hybrid: {message}\n")


def note(message: str) -> None:
    """Something to know beside the result."""
    sys.stdout.flush()
    sys.stderr.write(message + "\n")


def say(line: str = "") -> None:
    """A line as it is."""
    sys.stdout.write(line + "\n")


def say_styled(*parts: tuple[str, str]) -> None:
    """(text, style) parts, and the end of the line; lines are not broken."""
    if not is_rich():
        say("".join(text for text, _ in parts))
        return
    from rich.text import Text

    console().print(Text.assemble(*parts), soft_wrap=True)


def status_word(status: str) -> tuple[str, str]:
    """A status, with its style."""
    return status, STYLES.get(status, "")


def facts(found: Mapping[str, Any]) -> None:
    """Names and values below one another, without those that are None."""
    told = {name: one_line(str(value)) for name, value in found.items() if value is not None}
    indent = max(map(len, told), default=0) + 2
    for name, value in told.items():
        say_styled((f"{name + ':':<{indent}}", "dim"), (value, ""))


def emit(value: Any) -> None:
    """A JSON document; a list has one element a line, so that it can be grepped as well."""
    if isinstance(value, list):
        body = ",\n".join(json.dumps(item, ensure_ascii=False) for item in value)
        say(f"[\n{body}\n]" if body else "[]")
    else:
        say(json.dumps(value, ensure_ascii=False, indent=2))


def emit_lines(values: Iterable[Any]) -> None:
    """JSON Lines: one document a line, as they come."""
    for value in values:
        say(json.dumps(value, ensure_ascii=False))


def one_line(text: str) -> str:
    """Text that stays on its line and cannot give orders to the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
