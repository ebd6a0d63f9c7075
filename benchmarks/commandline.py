"""`hybrid enqueue` as a whole process, with the daemon up and down, beside `python -c pass` of the same interpreter."""

from __future__ import annotations

import os
import statistics
import sys
import time

from benchmarks.common import ONE_STEP, Row, Stage, environment, installed_command
from hybrid_engine import Client

REACH, GOAL = 2.5, 1.8
PAUSE = 0.05
"""Seconds between two: the daemon runs the job meanwhile, and is idle again."""


def enqueue(stage: Stage) -> list[Row]:
    """Medians of many, taken in turn."""
    count = stage.size(80, 25)
    home = stage.home({"one": ONE_STEP})
    Client(home).enqueue("one")  # the template's first use writes its frozen form and the pointer to it
    with stage.daemon(home):
        up = _beside_python(home, count)
    down = _beside_python(home, count)
    return [_row("daemon up", *up, count), _row("daemon down", *down, count)]


def _beside_python(home: str, count: int) -> tuple[float, float]:
    env = environment(home)
    del env["PYTHONPATH"]  # as a user has it; the work tree's own script finds its package by itself
    command = [*installed_command(), "enqueue", "one"]
    if command[0] == sys.executable:
        env = environment(home)
    ours, bare = [], []
    for _ in range(count):
        time.sleep(PAUSE)
        ours.append(_seconds(command, env))
        time.sleep(PAUSE)
        bare.append(_seconds([sys.executable, "-c", "pass"], env))
    return statistics.median(ours), statistics.median(bare)


def _seconds(command: list[str], env: dict[str, str]) -> float:
    null = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, env, file_actions=null)
    _, status = os.waitpid(pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds


def _row(when: str, ours: float, bare: float, count: int) -> Row:
    name = f"hybrid enqueue, {when}, median of {count}"
    return Row(
        name, f"{ours * 1e3:.1f} ms", f"{bare * 1e3:.1f} ms, python -c pass", ours / bare, REACH, GOAL, less=True
    )
