"""From a job file dropped into the inbox of an idle daemon to the step's process started, beside a bare loop.

It begins with the dropper's first system call, and the sync of the file is in it: who drops a job waits for all of it.

The step's script runs a tiny program that writes the moment into a pipe that we read. The bare loop is told by inotify,
syncs a record and spawns a shell with the very same script: the least that anybody could do who keeps what he is given.
Both are asked in turn, hundreds of times, and both are idle while the other works.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.common import ROOT, Row, Stage, environment, unfinished, wait_for

PAUSE = 0.08
"""Seconds of quiet before each drop: views are written, nobody has anything to do."""
PATIENCE = 30.0
JOB = b'{"template": "stamp"}'

STAMP = r"""
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words) {
    struct timespec now;
    char line[32];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int pipe = open(words[count - 1], O_WRONLY);
    int size = snprintf(line, sizeof line, "%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    return pipe < 0 || write(pipe, line, size) != size;
}
"""


class Moments:
    """A pipe that steps write the moment of their start into, and the script that does it."""

    def __init__(self, folder: str) -> None:
        folder = tempfile.mkdtemp(prefix="moments-", dir=folder)
        self._pipe = os.path.join(folder, "pipe")
        os.mkfifo(self._pipe, 0o600)
        self._fd = os.open(self._pipe, os.O_RDWR | os.O_CLOEXEC)
        helper = _compiled(folder)
        self.clock: Callable[[], int] = time.monotonic_ns if helper else time.time_ns
        self.script = f"{helper} {self._pipe}" if helper else f"date +%s%N > {self._pipe}"

    def next(self) -> int:
        """The next moment, in nanoseconds of `clock`."""
        if not select.select([self._fd], [], [], PATIENCE)[0]:
            raise RuntimeError(f"no step started within {PATIENCE:g} s")
        return int(os.read(self._fd, 64).split()[0])

    def close(self) -> None:
        os.close(self._fd)


def _compiled(folder: str) -> str | None:
    """The stamping program, where there is a compiler: `date` takes three times as long to start."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    target = os.path.join(folder, "stamp")
    run = [compiler, "-O2", "-x", "c", "-", "-o", target]
    made = subprocess.run(run, input=STAMP.encode(), stderr=subprocess.DEVNULL, check=False)
    return target if made.returncode == 0 else None


def stamping(moments: Moments) -> dict[str, Any]:
    """A template of one shell step that notes when it started."""
    return {"steps": {"only": {"run": moments.script}}}


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds until the step's process ran: from the dropper's first system call, and from the rename."""

    whole: float
    since_rename: float


class Dropper:
    """Drops files into a folder by rename, complete, and tells when their steps started."""

    def __init__(self, folder: str, via: str, moments: Moments) -> None:
        self._folder = folder
        self._via = via
        self._moments = moments
        self._count = 0

    @classmethod
    def of_home(cls, home: str, moments: Moments) -> Dropper:
        return cls(os.path.join(home, "inbox"), os.path.join(home, ".hybrid", "tmp"), moments)

    def drop(self, *, sync: bool = True) -> Start:
        """Drop a job and wait until its process runs; with `sync`, its content is made durable before the rename."""
        self._count += 1
        name = f"drop-{self._count}.json"
        temporary = os.path.join(self._via, name)
        began = self._moments.clock()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(fd, JOB)
        if sync:
            os.fsync(fd)
        os.close(fd)
        dropped = self._moments.clock()
        os.rename(temporary, os.path.join(self._folder, name))
        started = self._moments.next()
        return Start((started - began) / 1e9, (started - dropped) / 1e9)


@contextmanager
def bare_loop(stage: Stage, moments: Moments) -> Iterator[Dropper]:
    """A bare loop that runs; what is dropped to it."""
    folder, via = (tempfile.mkdtemp(prefix=prefix, dir=stage.folder) for prefix in ("bare-", "bare-via-"))
    loop = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bareloop", folder, moments.script],
        env=environment(folder), cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert loop.stdout is not None
        loop.stdout.readline()
        yield Dropper(folder, via, moments)
    finally:
        loop.kill()
        loop.wait()


def drop(stage: Stage) -> list[Row]:
    """The 50th and the 99th percentile of many drops, beside those of the bare loop."""
    count = stage.size(200, 60)
    with closing(Moments(stage.folder)) as moments:
        home = stage.home({"stamp": stamping(moments)})
        with bare_loop(stage, moments) as bare, stage.daemon(home):
            ours_took, bare_took = _in_turn(home, Dropper.of_home(home, moments), bare, count)
    return [
        _row(f"drop to process started, p50 of {count}", part(ours_took, 0.50), part(bare_took, 0.50), 1.8, 1.3),
        _row(f"drop to process started, p99 of {count}", part(ours_took, 0.99), part(bare_took, 0.99), 3.0, 1.5),
    ]


def _in_turn(home: str, ours: Dropper, bare: Dropper, count: int) -> tuple[list[float], list[float]]:
    ours_took: list[float] = []
    bare_took: list[float] = []
    for number in range(count + 5):
        for dropper, took in ((ours, ours_took), (bare, bare_took)):
            time.sleep(PAUSE)
            start = dropper.drop()
            if number >= 5:  # the first ones freeze the template
                took.append(start.whole)
        if not wait_for(lambda: not unfinished(home), PATIENCE):
            raise RuntimeError("a dropped job did not end")
    return ours_took, bare_took


def part(values: list[float], share: float) -> float:
    """The value that this share of all lies below."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _row(name: str, ours: float, bare: float, reach: float, goal: float) -> Row:
    figure, beside = f"{ours * 1e3:.2f} ms", f"{bare * 1e3:.2f} ms, bare loop"
    return Row(name, figure, beside, ours / bare, reach, goal, less=True)
