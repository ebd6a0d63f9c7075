"""What one process did to the disk, counted by class of path: syncs, inodes made and freed, writes, bytes.

The fault library adds up in a page that is shared with it (fault/count.c), so the numbers can be read while the process
runs and after it. Its children are not counted, but for the files that it orders to be made for them as they start.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass

CLASSES: Mapping[str, str] = {
    "log": r"^\.hybrid/log(/|$)",
    "journal": r"^workflows/[^/]+/journal",
    "state view": r"^(workflows/[^/]+/(state|progress)\.json|\.hybrid/tmp/\.[0-9]+-user-)",
    "queue view": r"^queue-state\.json(\.tmp)?$",
    "index": r"^\.hybrid/index\.sqlite",
    "daemon log": r"^logs(/|$)",
}
"""The classes of a home's paths, the first that fits counts; all else is OTHERS."""
OTHERS = "others"
REWRITTEN = ("state view", "queue view", "index", "daemon log")
"""What can be written any number of times, and says nothing about what a commit costs."""

_CLASSES, _COUNTERS = 16, 10
_TABLE = struct.Struct(f"={_CLASSES * _COUNTERS}Q")


@dataclass(frozen=True, slots=True)
class Row:
    """The counts of one class."""

    fsyncs: int = 0
    fdatasyncs: int = 0
    syncfses: int = 0
    ranges: int = 0
    msyncs: int = 0
    made: int = 0
    freed: int = 0
    writes: int = 0
    bytes: int = 0
    spawns: int = 0

    @property
    def syncs(self) -> int:
        """All calls that make something durable; `sync_file_range` does not."""
        return self.fsyncs + self.fdatasyncs + self.syncfses + self.msyncs

    def __add__(self, other: Row) -> Row:
        return Row(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Row) -> Row:
        return Row(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of all classes."""

    rows: Mapping[str, Row]

    def __sub__(self, other: Counts) -> Counts:
        return Counts({name: row - other.rows[name] for name, row in self.rows.items()})

    def of(self, *names: str) -> Row:
        """The sum of the classes named."""
        return sum((self.rows[name] for name in names), Row())

    def but(self, *names: str) -> Row:
        """The sum of all classes that are not named."""
        return self.of(*(name for name in self.rows if name not in names))

    def table(self, per: int = 1) -> str:
        """For people: one line for each class that did anything, divided by `per`."""
        head = f"{'class':<12}{'syncs':>10}{'made':>10}{'freed':>10}{'writes':>10}{'bytes':>12}"
        rows = [(name, row) for name, row in self.rows.items() if row != Row()] + [("in all", self.but())]
        return "\n".join([head, *(_line(name, row, per) for name, row in rows)])


def _line(name: str, row: Row, per: int) -> str:
    numbers = (row.syncs, row.made, row.freed, row.writes)
    return f"{name:<12}" + "".join(f"{number / per:>10.2f}" for number in numbers) + f"{row.bytes / per:>12.0f}"


class Counters:
    """The shared page of one process that is to be counted. `environment` is what makes the library count in it."""

    def __init__(self, path: str, root: str, *, delay_ms: int = 0, classes: Mapping[str, str] = CLASSES) -> None:
        assert len(classes) < _CLASSES, f"the library knows {_CLASSES - 1} classes"
        self._names = (*classes, OTHERS)
        self.environment = {
            "FAULT_MODE": "off", "FAULT_ROOT": os.path.realpath(root), "FAULT_COUNTS": path,
            "FAULT_CLASSES": "\n".join(classes.values()), "FAULT_DELAY": str(delay_ms),
        }  # fmt: skip
        with open(path, "w+b") as file:
            file.truncate(2 * _TABLE.size)
            self._page = mmap.mmap(file.fileno(), 2 * _TABLE.size)

    def read(self) -> Counts:
        """As it is now."""
        return self._at(0)

    def at_spawn(self) -> Counts:
        """As it was when the process was about to start its latest child."""
        return self._at(_TABLE.size)

    def spawns(self) -> int:
        return self.read().but().spawns

    def _at(self, offset: int) -> Counts:
        numbers = _TABLE.unpack(self._page[offset : offset + _TABLE.size])
        return Counts(dict(zip(self._names, _rows(numbers), strict=False)))

    def close(self) -> None:
        self._page.close()


def _rows(numbers: tuple[int, ...]) -> Iterator[Row]:
    for start in range(0, len(numbers), _COUNTERS):
        yield Row(*numbers[start : start + _COUNTERS])
