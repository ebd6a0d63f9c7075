"""Short jobs that note their start and their end, and `kill -9` of the daemon and its workers in the middle of them.

What counts is what the jobs themselves noted, held against what the engine says: a job that never noted an end is
lost, one that noted two was done twice. One that was cut off in the middle and run again is neither.
"""

from __future__ import annotations

import os
import time
from collections import Counter

from benchmarks.common import NOTING, Row, Stage, unfinished, wait_for, warm
from hybrid_engine import Client

SLOTS = 4
KILLS = (1, 2, 3, 4)
"""Fifths of the jobs after which everything is killed."""
PATIENCE = 60.0


def kill(stage: Stage) -> list[Row]:
    """Lost: none. Done twice: at most those in flight at a kill, slots × kills."""
    count = stage.size(5000, 1000)
    home = stage.home({"noting": NOTING})
    notes = os.path.join(home, "notes")
    client = Client(home)
    daemon = stage.start(home, SLOTS)
    warm(client, "noting", 8)
    first = _ends(notes)
    start = time.monotonic()
    ids = client.enqueue_many([{"template": "noting"}] * count)
    for fifth in KILLS:
        enough = first + count * fifth // 5
        if not wait_for(lambda: _ends(notes) >= enough, PATIENCE, 0.005):  # noqa: B023 – called before the next turn
            raise RuntimeError(f"stuck at {_ends(notes)} of {count}")
        daemon.kill()
        daemon = stage.start(home, SLOTS)
    if not wait_for(lambda: not unfinished(home), PATIENCE):
        raise RuntimeError(f"{unfinished(home)} jobs did not end")
    seconds = time.monotonic() - start
    ended = client.wait(ids, 30)
    begun, done = _noted(notes)
    daemon.stop()
    lost = sum(not done[workflow] or ended.get(workflow) != "completed" for workflow in ids)
    twice = sum(done[workflow] > 1 for workflow in ids)
    again = sum(begun[workflow] > 1 for workflow in ids)
    told = f"{len(KILLS)} kills, {seconds:.0f} s; begun more than once: {again}"
    return [
        Row(f"{count:,} jobs, kill -9 ×{len(KILLS)}: lost", str(lost), "", float(lost), 0.0, less=True, note=told),
        Row(
            f"{count:,} jobs, kill -9 ×{len(KILLS)}: done twice", str(twice), "",
            float(twice), float(SLOTS * len(KILLS)), less=True, note=told,
        ),
    ]  # fmt: skip


def _ends(folder: str) -> int:
    """How many ends are noted, from the sizes alone: every note has the same length."""
    total, length = 0, 0
    try:
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if not length:
                with open(path, "rb") as file:
                    length = len(file.readline())
            total += os.stat(path).st_size
    except FileNotFoundError:
        return 0
    return total // (2 * length) if length else 0


def _noted(folder: str) -> tuple[Counter[str], Counter[str]]:
    """How often each workflow noted a start, and an end."""
    begun: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), encoding="ascii") as file:
            for line in file:
                word, _, workflow = line.strip().partition(" ")
                (begun if word == "s" else done)[workflow] += 1
    return begun, done
