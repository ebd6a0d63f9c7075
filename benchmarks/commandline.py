"""Commands as whole processes, beside `python -c pass` of the same interpreter: `hybrid enqueue` with the daemon up and
down; `--help` and the first page of `list` in a home with very many workflows.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

from benchmarks import filling
from benchmarks.common import ONE_STEP, Row, Stage, environment, installed_command
from hybrid_engine import Client

REACH, GOAL = 2.0, 1.8
LOOK_REACH, LOOK_GOAL = 13.0, 9.0
"""150 ms, where an empty Python takes between 11 and 12."""
PAUSE = 0.05
"""Seconds between two: the daemon runs the job meanwhile, and is idle again."""


def enqueue(stage: Stage) -> list[Row]:
    """Medians of many, taken in turn."""
    count = stage.size(80, 25)
    home = stage.home({"one": ONE_STEP})
    Client(home).enqueue("one")  # the template's first use writes its frozen form and the pointer to it
    command = ["enqueue", "one"]
    with stage.daemon(home):
        up = _beside_python(home, command, count)
    down = _beside_python(home, command, count)
    return [
        _row("hybrid enqueue, daemon up", *up, count, (REACH, GOAL)),
        _row("hybrid enqueue, daemon down", *down, count, (REACH, GOAL)),
    ]


def look(stage: Stage) -> list[Row]:
    """Medians of many, taken in turn; what is printed goes nowhere."""
    count, workflows = stage.size(25, 9), stage.size(100_000, 2_000)
    home = stage.home({"one": ONE_STEP})
    client = Client(home)
    with stage.daemon(home):
        like = client.enqueue("one")
        client.wait(like, 30)
    filling.fill(home, like, workflows, like, 0)
    with stage.daemon(home):
        listed = _beside_python(home, ["list"], count)
    helped = _beside_python(home, ["--help"], count)
    limits = (LOOK_REACH, LOOK_GOAL)
    return [
        _row(f"hybrid list, first page of {workflows:,}", *listed, count, limits),
        _row("hybrid --help", *helped, count, limits),
    ]


def _beside_python(home: str, argv: list[str], count: int) -> tuple[float, float]:
    env = environment(home)
    del env["PYTHONPATH"]  # as a user has it; the work tree's own script finds its package by itself
    command = [*installed_command(), *argv]
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
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, env, file_actions=null)
    _, status = os.waitpid(pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds


def _row(what: str, ours: float, bare: float, count: int, limits: tuple[float, float]) -> Row:
    told = f"{ours * 1e3:.1f} ms", f"{bare * 1e3:.1f} ms, python -c pass"
    return Row(f"{what}, median of {count}", *told, ours / bare, *limits, less=True)
