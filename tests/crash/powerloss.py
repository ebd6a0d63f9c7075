"""The disks that a power cut may leave: from a recorded operation log to every kind of legal state after each prefix.

Two worlds. `strict` is POSIX: a sync of a file makes its data durable, not its name; a sync of a folder makes its names
durable, not its own name in the folder above; all else is there, absent, torn or zeroed, in any order that keeps the
order of operations on one name. `ordered` is ext4-like: changes of names reach the disk in their order, and any sync
takes all earlier ones along; only unsynced data is at risk. In both, a rename is one change. Data that a *failed* sync
left behind is never made durable by a later one (seen on ext4, xfs and btrfs). When a sync of the file system ends,
what was written before it began is durable; of what came later, anything may be.

Not modelled: rights, symbolic links, and files that come into being without a recorded call (they are lost).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.crash.disknodes import Change, Entry, Node, Unit, content, put, with_earlier
from tests.crash.faultlib import BEGUN, CREATED, EXCHANGED, NAMELESS, SYNCED, TRUNCATED, ZEROED, Operation

WORLDS = ("strict", "ordered")


@dataclass(frozen=True, slots=True)
class Syncing:
    """What there was when a sync of the file system began: of each file so many changes, names up to a number."""

    changes: list[tuple[Node, int]]
    names: int


class Disk:
    """The home as processes see it and as the disk has it, after a prefix of the log. Feed it operations in order."""

    def __init__(self, base: list[Entry], world: str) -> None:
        self.world = world
        self.nodes: list[Node] = []
        self.units: list[Unit] = []
        self._counted = self._applied = 0
        self._by_ino: dict[int, Node] = {}
        self._syncing: dict[tuple[int, int], Syncing] = {}
        self.root = self._new(True, base[0].mode)
        self._by_ino[base[0].ino] = self.root
        self.root.links = 1
        for entry in base[1:]:
            self._load(entry)

    def _new(self, folder: bool, mode: int, ino: int = 0) -> Node:
        node = Node(len(self.nodes), folder, mode, ino)
        self.nodes.append(node)
        return node

    def _load(self, entry: Entry) -> None:
        """What is there before the recording begins is durable."""
        node = self._by_ino.get(entry.ino) or self._new(entry.data is None, entry.mode)
        self._by_ino[entry.ino] = node
        node.base, node.ino, node.mtime = entry.data or b"", entry.ino, entry.mtime
        node.links += 1
        place = self._parent(entry.path)
        if place:
            place[0].names[place[1]] = place[0].on_disk[place[1]] = node

    # ---- one operation -----------------------------------------------------------------------------------------

    def apply(self, operation: Operation) -> None:
        getattr(self, f"_on_{operation.op}")(operation)
        changed = self._by_ino.get(operation.ino)
        self._applied += 1
        if changed:
            changed.touched = self._applied
        if changed and not changed.folder and operation.op in ("open", "write", "truncate", "msync"):
            changed.mtime = operation.when

    def _parent(self, path: str) -> tuple[Node, str] | None:
        *folders, name = path.split("/")
        node = self.root
        for part in folders:
            found = node.names.get(part)
            if found is None or not found.folder:
                return None
            node = found
        return node, name

    def _at(self, path: str) -> Node | None:
        if not path:
            return self.root
        place = self._parent(path)
        return place[0].names.get(place[1]) if place else None

    def _change_names(self, *parts: tuple[Node, str, Node | None]) -> None:
        for folder, name, node in parts:
            old = folder.names.pop(name, None)
            if node is not None:
                folder.names[name] = node
                node.links += 1
            if old is not None:
                old.links -= 1
        self._counted += 1
        self.units.append(Unit(self._counted, list(parts)))
        for number in [ino for ino, node in self._by_ino.items() if node.links <= 0]:
            del self._by_ino[number]  # the number may be given to another file now

    def _made(self, path: str, ino: int, folder: bool) -> Node | None:
        node = self._new(folder, 0o700 if folder else 0o600, ino)
        place = self._parent(path)
        if place:
            self._change_names((*place, node))
            self._by_ino[ino] = node
        return node if place else None

    def _file(self, operation: Operation) -> Node | None:
        """The file of an operation on a descriptor; one that nobody was seen to make begins here, empty."""
        known = self._by_ino.get(operation.ino)
        return known or self._made(operation.path, operation.ino, False)

    def _on_open(self, operation: Operation) -> None:
        if operation.flags & NAMELESS:
            self._by_ino[operation.ino] = node = self._new(False, 0o600, operation.ino)
            node.links = 1
        elif operation.flags & CREATED:
            self._made(operation.path, operation.ino, False)
        elif operation.flags & TRUNCATED and (known := self._file(operation)):
            known.changes.append(Change(0, None))

    def _on_write(self, operation: Operation) -> None:
        if node := self._file(operation):
            node.changes.append(Change(operation.offset, operation.data))
            if operation.flags & SYNCED:
                self._sync_data(node)

    def _on_msync(self, operation: Operation) -> None:
        """What was written into the mapped file since the last one is not known to have been written before."""
        self._on_write(operation)

    def _on_syncrange(self, operation: Operation) -> None:
        """It promises nothing."""

    def _on_lost(self, operation: Operation) -> None:
        """The kernel has given up what was on its way to the disk."""
        if node := self._file(operation):
            _doom(node.pending())

    def _on_truncate(self, operation: Operation) -> None:
        if node := self._file(operation):
            node.changes.append(Change(operation.offset, None))

    def _on_allocate(self, operation: Operation) -> None:
        node = self._file(operation)
        if node and operation.flags & ZEROED:
            node.changes.append(Change(operation.offset, bytes(operation.ino2)))
        elif node and operation.offset > len(content(node, {})):
            node.changes.append(Change(operation.offset, None))

    def _on_mkdir(self, operation: Operation) -> None:
        self._made(operation.path, operation.ino, True)

    def _on_link(self, operation: Operation) -> None:
        place, node = self._parent(operation.path), self._by_ino.get(operation.ino)
        if place and node:
            self._change_names((*place, node))

    def _on_unlink(self, operation: Operation) -> None:
        place = self._parent(operation.path)
        if place and place[1] in place[0].names:
            self._change_names((*place, None))

    _on_rmdir = _on_unlink

    def _on_rename(self, operation: Operation) -> None:
        source, target = self._parent(operation.path), self._parent(operation.path2)
        node = self._by_ino.get(operation.ino) or (self._at(operation.path) if source else None)
        if not source or not target or node is None:
            return
        if source == target or self._at(operation.path2) is node:
            return  # two names of one file: rename does nothing
        swapped = self._at(operation.path2) if operation.flags & EXCHANGED else None
        self._change_names((*source, swapped), (*target, node))

    def _on_fsync(self, operation: Operation) -> None:
        node = self._at(operation.path) if not operation.path else self._by_ino.get(operation.ino)
        if node is None:
            return
        if operation.failed:
            _doom(node.pending())
            return
        self._sync_data(node)
        if self.world == "ordered":
            self._make_durable(self.units)
        elif node.folder:
            self._make_durable([unit for unit in self.units if any(part[0] is node for part in unit.parts)])

    _on_fdatasync = _on_fsync

    def _on_syncfs(self, operation: Operation) -> None:
        key = (operation.pid, operation.offset)
        if operation.flags & BEGUN:
            written = [(node, len(node.changes)) for node in self.nodes if not node.folder and node.pending()]
            self._syncing[key] = Syncing(written, self._counted)
            return
        begun = self._syncing.pop(key)
        for node, count in begun.changes:
            if operation.failed:
                _doom(change for change in node.changes[:count] if not change.durable)
            else:
                _save(node.changes[:count])
        if not operation.failed:
            self._make_durable([unit for unit in self.units if unit.number <= begun.names])

    # ---- what is durable -----------------------------------------------------------------------------------------

    def _sync_data(self, node: Node) -> None:
        _save(node.changes)

    def _make_durable(self, units: list[Unit]) -> None:
        """These, and the earlier ones on the same names, in their order."""
        wanted = {number for unit in units for number in with_earlier(self.units, unit)}
        for unit in self.units:
            if unit.number in wanted:
                for folder, name, node in unit.parts:
                    put(folder.on_disk, name, node)
        self.units = [unit for unit in self.units if unit.number not in wanted]

    def dirty(self) -> list[Node]:
        """Files with pending data, those that were touched last at the end."""
        dirty = [node for node in self.nodes if not node.folder and node.pending()]
        return sorted(dirty, key=lambda node: node.touched)


def _doom(changes: Iterable[Change]) -> None:
    for change in changes:
        change.doomed = True


def _save(changes: Iterable[Change]) -> None:
    for change in changes:
        change.durable = change.durable or not change.doomed
