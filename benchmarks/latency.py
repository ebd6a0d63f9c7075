"""From a job file renamed into the inbox of an idle daemon to the step's process started, beside a bare loop.

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
from collections.abc import Callable
from typing import Any

from benchmarks.common import ROOT, Row, Stage, environment, unfinished, wait_for

PAUSE = 0.08
"""Seconds of quiet before each drop: views are written, nobody has anything to do."""
PATIENCE = 10.0

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


class Dropper:
    """Drops files into a folder by rename, complete and synced before, and tells when."""

    def __init__(self, folder: str, via: str, moments: Moments) -> None:
        self._folder = folder
        self._via = via
        self._moments = moments
        self._count = 0

    def started_after(self, text: str) -> float:
        """Drop a file with this text; seconds from the rename until the step's process ran."""
        self._count += 1
        name = f"drop-{self._count}.json"
        temporary = os.path.join(self._via, name)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        dropped = self._moments.clock()
        os.rename(temporary, os.path.join(self._folder, name))
        return (self._moments.next() - dropped) / 1e9


def drop(stage: Stage) -> list[Row]:
    """The 50th and the 99th percentile of many drops, beside those of the bare loop."""
    count = stage.size(200, 60)
    moments = Moments(stage.folder)
    home = stage.home({"stamp": stamping(moments)})
    bare, via = os.path.join(stage.folder, "bare"), os.path.join(stage.folder, "bare-via")
    os.mkdir(bare)
    os.mkdir(via)
    loop = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.bareloop", bare, moments.script],
        env=environment(home), cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert loop.stdout is not None
        loop.stdout.readline()
        with stage.daemon(home):
            ours = Dropper(os.path.join(home, "inbox"), os.path.join(home, ".hybrid", "tmp"), moments)
            ours_took, bare_took = _in_turn(home, ours, Dropper(bare, via, moments), count)
    finally:
        loop.kill()
        loop.wait()
        moments.close()
    return [
        _row(f"drop to process started, p50 of {count}", _part(ours_took, 0.50), _part(bare_took, 0.50), 2.5, 1.5),
        _row(f"drop to process started, p99 of {count}", _part(ours_took, 0.99), _part(bare_took, 0.99), 3.0, 1.5),
    ]


def _in_turn(home: str, ours: Dropper, bare: Dropper, count: int) -> tuple[list[float], list[float]]:
    ours_took: list[float] = []
    bare_took: list[float] = []
    for number in range(count + 5):
        for dropper, took in ((ours, ours_took), (bare, bare_took)):
            time.sleep(PAUSE)
            seconds = dropper.started_after('{"template": "stamp"}')
            if number >= 5:  # the first ones freeze the template
                took.append(seconds)
        if not wait_for(lambda: not unfinished(home), PATIENCE):
            raise RuntimeError("a dropped job did not end")
    return ours_took, bare_took


def _part(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def _row(name: str, ours: float, bare: float, reach: float, goal: float) -> Row:
    figure, beside = f"{ours * 1e3:.2f} ms", f"{bare * 1e3:.2f} ms, bare loop"
    return Row(name, figure, beside, ours / bare, reach, goal, less=True)
