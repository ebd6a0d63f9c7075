"""Processes as /proc shows them: who is below whom, what they have used, and ending all of them at once."""

from __future__ import annotations

import os
import signal

TICKS = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def tree(pid: int) -> list[int]:
    """`pid` and all below it, parents first."""
    found = [pid]
    for one in found:
        found += children(one)
    return found


def kill_tree(pid: int) -> None:
    """KILL to `pid` (none when it is 0) and all below it. All are stopped first: none can start another unseen."""
    if not pid:
        return
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for one in tree(pid):
            try:
                os.kill(one, number)
            except ProcessLookupError:
                pass


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used, to the nanosecond."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat", "rb") as file:
                total += int(file.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def cpu_of_tree(pid: int) -> float:
    """What a process, those below it and those it has reaped have used."""
    total = 0.0
    for one in tree(pid):
        try:
            with open(f"/proc/{one}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15])) / TICKS
    return total


def rss_mb(pid: int) -> float:
    """Resident memory in MB."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0
