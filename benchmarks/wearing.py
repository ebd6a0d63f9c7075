"""Homes that have just run and pruned very many workflows: what a home is like that is in use.

A disk that has just deleted files makes new ones at a tenth of the speed (ext4 takes no inode again for some minutes),
and whoever uses an engine deletes all the time. So figures of fresh homes are too good, by as much as files are made.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

from benchmarks.common import COMMAND, ONE_STEP, Stage, drain, environment
from hybrid_engine import Client

TEMPLATE = "wear"
MOST = 120.0


def wear(stage: Stage, home: str, kept: int) -> None:
    """Run so many one-step workflows in this home, whose daemon runs and keeps `kept` others in its queue; prune them,
    and nothing else."""
    count = stage.size(20_000, 2_000)
    with open(os.path.join(home, "templates", TEMPLATE + ".json"), "w", encoding="utf-8") as file:
        json.dump({"name": TEMPLATE, **ONE_STEP}, file)
    time.sleep(0.15)  # a template changed within the last 100 ms is read again at every use
    drained = drain(Client(home), [{"template": TEMPLATE}] * count, MOST, kept)
    if drained.done < count or not drained.all_completed:
        raise RuntimeError(f"wearing a home: {drained.done:,} of {count:,} were through after {drained.seconds:.0f} s")
    _prune(home, count)


def _prune(home: str, count: int) -> None:
    """Again for those that the log still named, or that had not come into the index: a disk may be slow."""
    run = [*COMMAND, "prune", "--all", "--template", TEMPLATE, "--yes", "--json"]
    removed = 0
    deadline = time.monotonic() + MOST
    while removed < count:
        done = subprocess.run(run, env=environment(home), check=False, capture_output=True, timeout=MOST)
        report = json.loads(done.stdout)
        removed += report["workflows"]
        if time.monotonic() > deadline:
            why = (*report["problems"], *report["skipped"], "no reason was given")[0]
            raise RuntimeError(f"wearing a home: {removed:,} of {count:,} workflows were pruned: {why}")
