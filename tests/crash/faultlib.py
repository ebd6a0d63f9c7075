"""The Python end of fault/: build it once, say what it shall do, read what it did.

A `Fault` is one order to the library and has a one-word spelling (`kill:57`, `once:ENOSPC:12`) that `replay` takes
back. The operation log is only parsed here; what a log means for a disk is said in powerloss.py.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fault")

OPERATIONS = (
    "", "open", "write", "fsync", "fdatasync", "rename", "link", "unlink", "mkdir", "rmdir", "truncate", "allocate",
    "syncfs", "syncrange", "msync", "symlink", "mknod", "lost",
)  # fmt: skip

CREATED, TRUNCATED, FOLDER, SYNCED, NAMELESS, EXCHANGED, BEGUN, ZEROED = 1, 2, 4, 8, 16, 32, 64, 128

_CONTROL = struct.Struct("<QQII4072s")
_RECORD = struct.Struct("<IHHiiqQQqqqIIII")
_MAGIC = 0x48594252
_LIFTED_AT = 16


class NoCompiler(Exception):
    """The library cannot be built here; the message says why."""


def build() -> str:
    """The path of the compiled library, built when this source has not been built by this user before."""
    total = hashlib.sha256()
    for name in sorted(os.listdir(SOURCES)):
        with open(os.path.join(SOURCES, name), "rb") as source:
            total.update(source.read())
    digest = total.hexdigest()[:16]
    folder = os.path.join(tempfile.gettempdir(), f"hybrid-fault-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.stat(folder).st_uid != os.getuid():
        raise NoCompiler(f"{folder} belongs to somebody else")
    target = os.path.join(folder, f"fault-{digest}.so")
    if not os.path.exists(target):
        _compile(target)
    return target


def _compile(target: str) -> None:
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise NoCompiler("no C compiler (cc, gcc or clang) is installed")
    fresh = f"{target}.{os.getpid()}"
    source = os.path.join(SOURCES, "fault.c")
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", fresh, source, "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoCompiler(f"{' '.join(command)} failed: {done.stderr.strip()[:500]}")
    os.rename(fresh, target)


@dataclass(frozen=True, slots=True)
class Fault:
    """What shall happen at the `at`-th operation (of those named in `only`, if any, joined by `+`).

    `cut` is how much of a torn or short write is written, in permille. `lose` lets the write succeed and loses it on
    the way to the disk: syncs through descriptors that are open by then fail once, later ones hear nothing.
    """

    mode: str = "count"
    at: int = 0
    error: str = ""
    cut: int = 500
    only: str = ""

    def __str__(self) -> str:
        parts = [self.mode]
        if self.error:
            parts.append(self.error)
        if self.at:
            parts.append(str(self.at))
        if self.cut != 500:
            parts.append(f"cut{self.cut}")
        if self.only:
            parts.append(f"only={self.only}")
        return ":".join(parts)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault of its spelling, as made by `str`."""
        mode, *rest = text.split(":")
        fault = cls(mode)
        for part in rest:
            if part.isdigit():
                fault = replace(fault, at=int(part))
            elif part.startswith("only="):
                fault = replace(fault, only=part[5:])
            elif part.startswith("cut"):
                fault = replace(fault, cut=int(part[3:]))
            else:
                fault = replace(fault, error=part)
        return fault

    @property
    def kills(self) -> bool:
        return self.mode in ("kill", "torn")

    def environment(self) -> dict[str, str]:
        env = {"FAULT_MODE": self.mode, "FAULT_AT": str(self.at), "FAULT_CUT": str(self.cut)}
        if self.only:
            env["FAULT_ONLY"] = str(sum(1 << OPERATIONS.index(name) for name in self.only.split("+")))
        if self.error:
            env["FAULT_ERRNO"] = str(getattr(errno, self.error))
        return env


@dataclass(frozen=True, slots=True)
class Strikes:
    """What the control file says: how many operations could have met the fault, and which one did first."""

    count: int
    fired: int
    operation: str
    path: str


class Control:
    """The page shared with an armed process. It outlives the process, however that ends."""

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(_CONTROL.size)
            self._page = mmap.mmap(file.fileno(), _CONTROL.size)

    def read(self) -> Strikes:
        count, fired, _, op, path = _CONTROL.unpack(self._page[:])
        return Strikes(count, fired, OPERATIONS[op], path.split(b"\0", 1)[0].decode(errors="replace"))

    def lift(self) -> None:
        """The fault is over: the disk has room again."""
        self._page[_LIFTED_AT : _LIFTED_AT + 4] = b"\1\0\0\0"

    def close(self) -> None:
        self._page.close()


@dataclass(frozen=True, slots=True)
class Operation:
    """One recorded operation.

    `watched` is the size of the watched file when the operation began, `when` the time a file it wrote got (in ns). Of
    the two records of a `syncfs`, the first is flagged BEGUN; `offset` is the number that both have.
    """

    op: str
    flags: int
    pid: int
    failed: bool
    ino: int
    ino2: int
    offset: int
    watched: int
    when: int
    path: str
    path2: str
    data: bytes


def read_log(path: str) -> list[Operation]:
    """All operations of a log, in their order. A torn last record (the process was killed) is left out."""
    with open(path, "rb") as file:
        return list(_parse(file.read()))


def _parse(log: bytes) -> Iterator[Operation]:
    at = 0
    while at + _RECORD.size <= len(log):
        (magic, op, flags, pid, err, _, ino, ino2, offset, watched, when, n1, n2, n3, _) = _RECORD.unpack_from(log, at)
        if magic != _MAGIC:
            raise ValueError(f"no record at byte {at} of the operation log")
        start = at + _RECORD.size
        at = start + n1 + n2 + n3
        if at > len(log):
            return
        name, name2 = log[start : start + n1].decode(), log[start + n1 : start + n1 + n2].decode()
        data = log[start + n1 + n2 : at]
        yield Operation(OPERATIONS[op], flags, pid, err != 0, ino, ino2, offset, watched, when, name, name2, data)
