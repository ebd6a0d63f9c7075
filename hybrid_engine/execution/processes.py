"""Processes: groups, strays, leases. How to tell what still runs, and how to end all of it.

A lease is a kernel lock (`flock`) on a descriptor that a step's processes inherit: it is held exactly as long as one
of them lives, across a kill of the engine. No heartbeat, no clock, no trust in pids.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Callable, Iterable
from typing import NamedTuple

from hybrid_engine.execution import leases
from hybrid_engine.ports.reactor import Reactor

PR_SET_CHILD_SUBREAPER = 36
POLL = 0.01
POLL_MOST = 0.2
PF_EXITING = 4
LOOKS = 100
CHILDREN_PIECE = 1 << 16
ENV_END = 48
"""Which word of /proc/<pid>/stat, behind the name, is the end of the environment."""


def become_subreaper() -> None:
    """Processes whose parent dies come back to us instead of to init, so that none can slip away from its step."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def keep_descriptors() -> None:
    """What our starter left open is not for the steps: one that lives for long would hold it open just as long."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                pass  # that of the listing itself


def has_ended(pidfd: int) -> bool:
    """Has this process ended? To be asked at an event, too, which may have been meant for an earlier descriptor."""
    waiting = select.poll()
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(0))


def is_dead_child(pid: int | None) -> bool:
    """Has this child ended, and was it not collected yet?"""
    try:
        return pid is not None and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; False when nothing of it is left."""
    try:
        os.killpg(group, number)
        return True
    except ProcessLookupError:
        return False
    except PermissionError:
        return True


def group_lives(group: int) -> bool:
    """Does a process of this group live? One that is dead and was not collected by its parent does not count.

    The parent of what we took over is not us, and in a container it may be one that never collects anything. Our own
    children do count until they are collected: that is ours to do, and is about to happen.
    """
    if not signal_group(group, 0):
        return False
    return any(_is_in_group(name, group) for name in os.listdir("/proc") if name.isdigit())


def _is_in_group(pid: str, group: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        return int(words[2]) == group and (words[0] not in b"ZX" or int(words[1]) == os.getpid())
    except (OSError, ValueError, IndexError):
        return False


def strays(known: Iterable[int]) -> list[int]:
    """Our children that we did not start ourselves: left behind by steps. Zombies among them are reaped.

    One that ends between the look and its reaping has left its own children to us: they are looked for again.
    """
    alive: list[int] = []
    for _ in range(LOOKS):
        children = _children().difference(known)
        alive = [child for child in children if not _is_reaped(child)]
        if len(alive) == len(children):
            break
    return alive


def _children() -> set[int]:
    pid = os.getpid()
    try:
        fd = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return set()
    try:
        data = b""
        while more := os.read(fd, CHILDREN_PIECE):
            data += more
        return {int(word) for word in data.split()}
    finally:
        os.close(fd)


def _is_reaped(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


class Orphans(NamedTuple):
    """Our children that belong to an attempt. `is_certain` is False while somebody's belonging cannot be seen yet."""

    pids: list[int]
    is_certain: bool = True


def orphans_of(key: str, known: Iterable[int]) -> Orphans:
    """What the attempt `key` left to us, by the environments of our children that are not `known`."""
    found = [(pid, belongs_to(pid, key)) for pid in strays(known)]
    return Orphans([pid for pid, belongs in found if belongs], all(belongs is not None for _, belongs in found))


def belongs_to(pid: int, key: str) -> bool | None:
    """Is this process of the attempt `key`, by what its environment says? None while that cannot be seen.

    True for one that is just dying: whose it was cannot be seen any more, and its children are not ours yet.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = file.read()
    except OSError:
        return _stat(pid).is_dying  # so do some kernels tell that it is dying
    if not data:
        stat = _stat(pid)
        return True if stat.is_dying else None if stat.is_in_exec else False
    pairs = dict(item.partition(b"=")[::2] for item in data.split(b"\0"))
    return os.fsencode(key) == b"%b/%b" % (pairs.get(b"HYBRID_KEY", b""), pairs.get(b"HYBRID_ATTEMPT", b""))


class _Stat(NamedTuple):
    is_dying: bool
    is_in_exec: bool


def _stat(pid: int) -> _Stat:
    """In the middle of an exec a process has a new memory, in which no place of an environment is noted yet."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b")")[2].split()
        return _Stat(words[0] in b"ZX" or bool(int(words[6]) & PF_EXITING), int(words[ENV_END]) == 0)
    except (OSError, ValueError, IndexError):
        return _Stat(True, False)


class Ending:
    """Ends a process group and whatever else holds its lease: TERM, grace, KILL; `done` when nothing is left.

    `others()` names what belongs to it beyond both (strays that came back to us), and reaps what can be reaped.
    """

    def __init__(
        self,
        reactor: Reactor,
        group: int | None,
        lease: str | None,
        grace: float,
        others: Callable[[], Orphans],
        done: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._group = group
        self._lease = lease
        self._others = others
        self._done = done
        self._deadline = reactor.monotonic() + grace
        self._wait = POLL
        self._signal(signal.SIGTERM if grace > 0 else signal.SIGKILL)
        self._check()

    def _signal(self, number: int) -> None:
        if self._group is not None:
            signal_group(self._group, number)
        beyond = set(self._others().pids)
        if self._lease is not None and leases.is_held(self._lease):
            beyond.update(leases.holders_of(self._lease))
        for pid in beyond:
            try:
                os.kill(pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    def _is_over(self) -> bool:
        self._others()  # it reaps: a zombie would still count as its group
        if self._group is not None:
            if group_lives(self._group):
                return False
            self._group = None  # its number may be given to somebody else from here on
        if self._lease is not None and leases.is_held(self._lease):
            return False
        return self._others() == Orphans([])  # at last, because whoever ended meanwhile left his children to us

    def _check(self) -> None:
        if self._is_over():
            self._done()
            return
        if self._reactor.monotonic() >= self._deadline:
            self._signal(signal.SIGKILL)
        self._reactor.call_later(self._wait, self._check)
        self._wait = min(POLL_MOST, self._wait * 1.5)
