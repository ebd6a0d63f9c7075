"""From what a disk may have lost to the disks that may be found: which states are tried, and how one is built.

Each state has a name (`all`, `names-skip`, `without-12`, `drawn-3` …) that, with the recording and the seed, leads to
it again. What is pending at a cut is known from powerloss.py; what is right on a disk is for the oracle.
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.crash.disknodes import (
    APPLY,
    SIZES,
    SKIP,
    TEAR,
    ZERO,
    Change,
    Entry,
    Node,
    Unit,
    content,
    put,
    sectors,
    with_earlier,
)
from tests.crash.faultlib import Operation
from tests.crash.powerloss import Disk

FRESH = 8


@dataclass(slots=True)
class Choice:
    """What of the pending things made it: units by number, and for each file with pending data each piece's fate."""

    units: set[int]
    halved: set[int] = field(default_factory=set)
    data: dict[int, list[tuple[str, int]]] = field(default_factory=dict)


def choices(disk: Disk, draws: int, seed: str) -> Iterator[tuple[str, Choice]]:
    """Named states: the corners, single deviations from "all is there" and "nothing is", and `draws` by dice.

    A deviation is tried at the cuts where it is fresh: for the files and names touched last, and for data that a failed
    sync left behind. Older ones were tried at earlier cuts, and the dice still throw them.
    """
    units, dirty = disk.units, disk.dirty()
    every = {unit.number for unit in units}
    zeroes = (ZERO,) if disk.world == "strict" else ()
    yield "all", Choice(set(every))
    yield "nothing", Choice(set(), data=_same(dirty, SKIP))
    for fate in (SKIP, *zeroes):
        yield f"names-{fate}", Choice(set(every), data=_same(dirty, fate))
    yield "data-only", Choice(set())
    for node in [node for node in dirty[:-FRESH] if any(change.doomed for change in node.changes)] + dirty[-FRESH:]:
        for fate in (SKIP, *zeroes):
            yield f"file-{node.number}-{fate}", Choice(set(every), data=_same([node], fate))
        for name, fates in _torn(node, disk.world):
            yield f"file-{node.number}-{name}", Choice(set(every), data={node.number: fates})
    for unit in units[-FRESH:]:
        if disk.world == "strict":
            yield f"without-{unit.number}", Choice(_without(units, unit))
            yield f"only-{unit.number}", Choice(with_earlier(units, unit))
            if _splits(unit):
                yield f"halved-{unit.number}", Choice(set(every), {unit.number})
        else:
            yield f"until-{unit.number}", Choice({other.number for other in units if other.number < unit.number})
    for draw in range(draws if units or dirty else 0):
        yield f"drawn-{draw}", _drawn(disk, random.Random(f"{seed}:{draw}"))


def _same(nodes: list[Node], fate: str) -> dict[int, list[tuple[str, int]]]:
    return {node.number: [(fate, 0)] * len(node.pending()) for node in nodes}


def _torn(node: Node, world: str) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """All but the last piece, of which half arrived, or only some sectors; or the last piece and nothing before it."""
    pending = node.pending()
    before = [(APPLY, 0)] * (len(pending) - 1)
    yield "torn", [*before, (TEAR, len(pending[-1].data or b"") // 2)]
    for fate, size in SIZES.items():
        count = sum(1 for _ in sectors(pending[-1], size))
        if count > 1:
            every = (1 << count) - 1
            for name, mask in (("first", 1), ("not-first", every - 1), ("last", 1 << (count - 1))):
                yield f"{fate}-{name}", [*before, (fate, mask)]
    if world == "strict" and before:
        yield "last-only", [*((SKIP, 0) for _ in before), (APPLY, 0)]


def _without(units: list[Unit], missing: Unit) -> set[int]:
    """All but this one and the later ones on the same names."""
    lost, keys = {missing.number}, set(missing.keys())
    for unit in units:
        if unit.number > missing.number and unit.keys() & keys:
            lost.add(unit.number)
            keys |= unit.keys()
    return {unit.number for unit in units} - lost


def _splits(unit: Unit) -> bool:
    """A file moved from one folder to another may be seen in both, on a file system without a journal."""
    folders = {part[0].number for part in unit.parts}
    return len(folders) == 2 and all(node is None or not node.folder for _, _, node in unit.parts)


def _drawn(disk: Disk, dice: random.Random) -> Choice:
    units = disk.units
    if disk.world == "ordered":
        chosen = {unit.number for unit in units[: dice.randint(0, len(units))]}
    else:
        chosen, barred = set(), set[tuple[int, str]]()
        for unit in units:
            if unit.keys() & barred or dice.random() < 0.4:
                barred |= unit.keys()
            else:
                chosen.add(unit.number)
    halved = {unit.number for unit in units if disk.world == "strict" and _splits(unit) and dice.random() < 0.25}
    return Choice(chosen, halved & chosen, {node.number: _drawn_fates(node, disk.world, dice) for node in disk.dirty()})


def _drawn_fates(node: Node, world: str, dice: random.Random) -> list[tuple[str, int]]:
    pending = node.pending()
    if world == "strict" and dice.random() < 0.4:
        return [(dice.choice((APPLY, SKIP, ZERO)), 0) for _ in pending]
    cut = dice.randint(0, len(pending))
    fates = [(APPLY if at < cut else SKIP, 0) for at in range(len(pending))]
    if cut < len(pending) and pending[cut].data and dice.random() < 0.7:
        fates[cut] = _drawn_tear(pending[cut], dice)
    return fates


def _drawn_tear(change: Change, dice: random.Random) -> tuple[str, int]:
    fate = dice.choice((TEAR, *SIZES))
    if fate == TEAR:
        return fate, dice.randint(0, len(change.data or b""))
    return fate, dice.getrandbits(sum(1 for _ in sectors(change, SIZES[fate])))


# ---- building ------------------------------------------------------------------------------------------------------


class Image:
    """One disk as it is found after the cut: paths and bytes, ready to be compared and to be written out."""

    def __init__(self, disk: Disk, choice: Choice) -> None:
        names = {node.number: dict(node.on_disk) for node in disk.nodes if node.folder}
        for unit in disk.units:
            if unit.number in choice.units:
                for folder, name, node in unit.parts:
                    if node is not None or unit.number not in choice.halved:
                        put(names[folder.number], name, node)
        self.files: dict[str, Node] = {}
        self.folders: dict[str, Node] = {}
        self._walk(disk.root, "", names)
        self.bytes = {node.number: content(node, choice.data) for node in self.files.values()}

    def _walk(self, folder: Node, path: str, names: dict[int, dict[str, Node]]) -> None:
        self.folders[path] = folder
        for name, node in sorted(names[folder.number].items()):
            below = f"{path}/{name}" if path else name
            if node.folder:
                self._walk(node, below, names)
            else:
                self.files[below] = node

    def digest(self) -> str:
        total = hashlib.blake2b(digest_size=16)
        for path in sorted(self.folders):
            total.update(path.encode() + b"/\0")
        for path, node in sorted(self.files.items()):
            data = self.bytes[node.number]
            total.update(b"%s\0%d\0%d\0" % (path.encode(), node.number, len(data)) + data)
        return total.hexdigest()

    def write(self, home: str) -> bytes:
        """Build it at `home`, which must not exist. Returns the numbers that its files have, and had (FAULT_INODES)."""
        written: dict[int, str] = {}
        numbers = bytearray()
        for path, node in self.folders.items():
            os.mkdir(os.path.join(home, path) if path else home, node.mode | 0o700)
        for path, node in self.files.items():
            target = os.path.join(home, path)
            if node.number in written:
                os.link(written[node.number], target)
                continue
            written[node.number] = target
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, node.mode)
            try:
                os.write(fd, self.bytes[node.number])
                os.utime(fd, ns=(node.mtime, node.mtime))
                numbers += struct.pack("=QQ", os.fstat(fd).st_ino, node.ino)
            finally:
                os.close(fd)
        return bytes(numbers)


def state(
    base: list[Entry], operations: list[Operation], world: str, cut: int, name: str, draws: int = 64, seed: str = "1"
) -> Image:
    """The one state that has this name; raises KeyError when the recording does not lead to it."""
    disk = Disk(base, world)
    for operation in operations[:cut]:
        disk.apply(operation)
    for known, choice in choices(disk, draws, f"{seed}:{cut}"):
        if known == name:
            return Image(disk, choice)
    raise KeyError(f"no state called {name} after {cut} operations")
