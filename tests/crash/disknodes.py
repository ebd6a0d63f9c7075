"""What a modelled disk is made of: files with their changes, folders with their names, and what a file's bytes are when
only some of its changes arrived. When they become durable is said in powerloss.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

APPLY, SKIP, ZERO, TEAR = "apply", "skip", "zero", "tear"
SECTOR, PAGE = "sector", "page"
"""Of a write, those sectors (pages) of the file arrived whose bits are set in the number that comes with the fate."""
SIZES = {SECTOR: 512, PAGE: 4096}


@dataclass(slots=True, eq=False)
class Change:
    """One write, or one change of size (`data` is None), of one file."""

    offset: int
    data: bytes | None
    durable: bool = False
    doomed: bool = False


@dataclass(slots=True, eq=False)
class Node:
    """A file or a folder. `names` is what a process sees now, `on_disk` what is safely there."""

    number: int
    folder: bool
    mode: int
    ino: int = 0
    mtime: int = 0
    touched: int = 0
    links: int = 0
    base: bytes = b""
    changes: list[Change] = field(default_factory=list)
    names: dict[str, Node] = field(default_factory=dict)
    on_disk: dict[str, Node] = field(default_factory=dict)

    def pending(self) -> list[Change]:
        return [change for change in self.changes if not change.durable]


@dataclass(slots=True, eq=False)
class Unit:
    """Changes of names that happen together or not at all: (folder, name, what it names then)."""

    number: int
    parts: list[tuple[Node, str, Node | None]]

    def keys(self) -> set[tuple[int, str]]:
        return {(folder.number, name) for folder, name, _ in self.parts}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file (or folder: `data` is None) of the home before the recording, with the number the log knows it by."""

    path: str
    ino: int
    mode: int
    mtime: int
    data: bytes | None


def snapshot(home: str) -> list[Entry]:
    """All of a home, folders before what is in them."""
    entries = []
    for folder, _, files in os.walk(home):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            info = os.lstat(path)
            if not stat.S_ISREG(info.st_mode) and path != folder:
                continue
            data = None
            if path != folder:
                with open(path, "rb") as file:
                    data = file.read()
            name = os.path.relpath(path, home)
            entries.append(
                Entry("" if name == "." else name, info.st_ino, stat.S_IMODE(info.st_mode), info.st_mtime_ns, data)
            )
    return entries


def put(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def content(node: Node, fates: dict[int, list[tuple[str, int]]]) -> bytes:
    """The bytes of a file, when its pending changes met these fates (apply, if none is given)."""
    data = bytearray(node.base)
    chosen = iter(fates.get(node.number, ()))
    for change in node.changes:
        fate, cut = (APPLY, 0) if change.durable else next(chosen, (APPLY, 0))
        if fate == SKIP:
            continue
        if change.data is None:
            del data[change.offset :]
            data.extend(bytes(change.offset - len(data)))
            continue
        for at, piece in _pieces(change, fate, cut, len(data)):
            data.extend(bytes(max(0, at - len(data))))
            data[at : at + len(piece)] = piece
    return bytes(data)


def _pieces(change: Change, fate: str, cut: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Which bytes of a write arrived, and where, in a file of this size.

    Zeros are what is found in space that was given to the file and not written; what is written over keeps its bytes.
    """
    data = change.data or b""
    if fate in SIZES:
        for number, start, end in sectors(change, SIZES[fate]):
            if cut >> number & 1:
                yield change.offset + start, data[start:end]
    elif fate == ZERO:
        fresh = max(change.offset, size)
        yield fresh, bytes(max(0, change.offset + len(data) - fresh))
    elif piece := data[:cut] if fate == TEAR else data:
        yield change.offset, piece


def sectors(change: Change, size: int) -> Iterator[tuple[int, int, int]]:
    """The parts of a write that reach the disk whole or not at all: number, and first and last byte in the write."""
    start, length = 0, len(change.data or b"")
    for number in range(length // size + 2):
        end = min(length, ((change.offset + start) // size + 1) * size - change.offset)
        if start >= length:
            return
        yield number, start, end
        start = end


def with_earlier(units: list[Unit], wanted: Unit) -> set[int]:
    """This one and the earlier ones on the same names."""
    kept, keys = {wanted.number}, set(wanted.keys())
    for unit in reversed(units):
        if unit.number < wanted.number and unit.keys() & keys:
            kept.add(unit.number)
            keys |= unit.keys()
    return kept
