"""Tables. Three rules: a line of a list fits the width, no cell is padded to the longest of all, nothing is lost
without a sign ("…").

`table` wraps what is long on a terminal, and leaves it whole elsewhere; `lines` cuts it so that each row is one line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_engine.cli.output import STYLES, console, is_rich, one_line, say, say_styled, width

GAP = 2
PAD = 32
"""A cell pads others to at most this many columns; a longer one just is longer."""
LEAST = 8
"""So much is left of a cell that is cut."""


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """`columns` maps a key of the rows to its heading."""
    cells = [[cell(row.get(key)) for key in columns] for row in rows]
    if is_rich():
        _rich_table(cells, list(columns.values()))
    else:
        _plain([[heading.upper() for heading in columns.values()], *cells])


def lines(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], cut: Sequence[str] = ()) -> None:
    """A table of one line a row, cut to the width. Keys in `cut` lose first, in this order; else nothing is cut."""
    cells = [
        [heading.upper() for heading in columns.values()],
        *([cell(row.get(key)) for key in columns] for row in rows),
    ]
    keys = list(columns)
    if cut:
        _fit(cells, [keys.index(key) for key in cut if key in keys], width())
    widths = _widths(cells, None)
    parts: list[tuple[str, str]] = []
    for number, line in enumerate(cells):
        for at, text in enumerate(line):
            style = "bold" if number == 0 else STYLES.get(text, "") if keys[at] == "status" else ""
            gap = " " * (widths[at] - columns_of(text) + GAP) if at < len(line) - 1 else "\n"
            parts += [(text, style), (gap, "")]
    say_styled(*parts[:-1])


def _fit(cells: list[list[str]], may_cut: Sequence[int], most: int) -> None:
    """Cut cells in place until each line fits, as far as may be."""
    for at in may_cut:
        widths = _widths(cells, None)
        over = sum(widths) + GAP * (len(widths) - 1) - most
        if over <= 0:
            return
        room = max(LEAST, widths[at] - over)
        for line in cells:
            line[at] = shortened(line[at], room)


def shortened(text: str, room: int) -> str:
    """Text in at most so many columns."""
    if columns_of(text) <= room:
        return text
    kept, used = "", 1
    for letter in text:
        used += _letter(letter)
        if used > room:
            break
        kept += letter
    return kept.rstrip() + "…"


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_letter(letter) for letter in text)


def _letter(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _widths(cells: Sequence[Sequence[str]], most: int | None) -> list[int]:
    found = [[columns_of(text) for text in column] for column in zip(*cells)]
    return [max((n for n in column if most is None or n <= most), default=0) for column in found]


def _plain(cells: Sequence[Sequence[str]]) -> None:
    widths = _widths(cells, PAD)
    for line in cells:
        padded = [text + " " * (space - columns_of(text)) for text, space in zip(line, widths)]
        say((" " * GAP).join([*padded[:-1], line[-1]]).rstrip())


def _rich_table(cells: Sequence[Sequence[str]], headings: Sequence[str]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        found.add_column(heading, overflow="fold")
    for line in cells:
        found.add_row(*(Text(text, style=STYLES.get(text, "")) for text in line))
    console().print(found)


def cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ",".join(f"{name}={cell(inner)}" for name, inner in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ",".join(map(cell, value)) or "-"
    return one_line(str(value)) or "-"
