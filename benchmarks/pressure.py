"""From drop to process started while the disk has much to do: checkpoints of very many workflows, and a step that
writes a large file and does not sync it.

Here nobody syncs what he drops, and the time begins with the rename: a dropper whose sync had waited for the disk would
drop at the one moment at which it is quiet again.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from typing import Any

from benchmarks.common import ONE_STEP, Row, Stage, drain, unfinished, wait_for, warm
from benchmarks.latency import Dropper, Moments, bare_loop, part, stamping
from hybrid_engine import Client
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import segments

PAUSE = 0.2
"""Seconds between two drops: 300 take a minute."""
CALM_PAUSE = 0.08
ROUND = 25
"""Drops after each checkpoint that was begun."""
MOST = 60.0
CHECKPOINT_REACH = (3.0, 1.5)
LONGEST_REACH = (1.0, 0.3)
DIRTY = 64.0
"""MB of written and unsynced data at which the disk counts as quiet."""


def checkpoints(stage: Stage) -> list[Row]:
    """The 99th percentile of drops, each batch of them right after a checkpoint of many workflows was begun, beside
    that of drops while nothing else happens, taken in turn."""
    count, many = stage.size(300, 60), stage.size(5000, 500)
    with closing(Moments(stage.folder)) as moments:
        home = stage.home({"stamp": stamping(moments), "one": ONE_STEP})
        with stage.daemon(home):
            client, dropper = Client(home), Dropper.of_home(home, moments)
            warm(client, "one")
            _drops(dropper, 5, CALM_PAUSE)
            calm: list[float] = []
            under: list[float] = []
            met = 0
            while len(under) < count:
                calm += _drops(dropper, ROUND, CALM_PAUSE)
                drained = drain(client, [{"template": "one"}] * many, MOST)
                if drained.done < many:
                    raise RuntimeError(f"{drained.done:,} of {many:,} were through after {drained.seconds:.0f} s")
                took, during = _drops_under_checkpoint(home, dropper)
                under += took
                met += during
    ours, beside = part(under, 0.99), part(calm, 0.99)
    note = f"{met} of {len(under)} began while a checkpoint ran; the longest: {max(under) * 1e3:.1f} ms"
    name = f"p99 of drop to start, checkpoints of {many:,} workflows"
    figure, calmly = f"{ours * 1e3:.2f} ms", f"{beside * 1e3:.2f} ms, without"
    return [Row(name, figure, calmly, ours / beside, *CHECKPOINT_REACH, less=True, note=note)]


def _drops(dropper: Dropper, count: int, pause: float) -> list[float]:
    took = []
    for _ in range(count):
        time.sleep(pause)
        took.append(dropper.drop(sync=False).since_rename)
    return took


def _drops_under_checkpoint(home: str, dropper: Dropper) -> tuple[list[float], int]:
    """Ask for a checkpoint and drop jobs: how long each took, and how many began before the checkpoint had ended."""
    layout = Layout(home)
    old = min(segments.numbers(layout.log), default=0)
    with open(layout.checkpoint_bell, "wb"):  # as `hybrid prune` asks for one
        pass
    took, during = [], 0
    for _ in range(ROUND):
        runs = old in segments.numbers(layout.log)
        took.append(dropper.drop(sync=False).since_rename)
        during += runs
        time.sleep(PAUSE / 10 if runs else PAUSE)
    return took, during


def writing(stage: Stage) -> list[Row]:
    """The longest time of drops while a step writes a large file, until the disk has it, beside a bare loop's."""
    megabytes = stage.size(2048, 256)
    with closing(Moments(stage.folder)) as moments:
        file = os.path.join(stage.folder, "large")
        home = stage.home({"stamp": stamping(moments), "write": _writer(file, megabytes)})
        with bare_loop(stage, moments) as bare, stage.daemon(home):
            client, ours = Client(home), Dropper.of_home(home, moments)
            for dropper in (ours, bare):
                _drops(dropper, 5, CALM_PAUSE)
            writer = client.enqueue("write")
            took = _while_writing(home, file, ours, bare)
            client.wait(writer, MOST)
            size = os.stat(file).st_size
            os.unlink(file)
    if size != megabytes << 20:
        raise RuntimeError(f"the step wrote {size:,} bytes")
    longest, beside = max(took[0]), max(took[1])
    medians = [f"{part(mine, 0.5) * 1e3:.1f}" for mine in took]
    note = f"{len(took[0])} drops; medians: {medians[0]} ms beside {medians[1]}"
    name = f"longest drop to start, a step writes {megabytes / 1024:g} GiB"
    figure, told = f"{longest:.3f} s", f"{beside:.3f} s, bare loop"
    return [Row(name, figure, told, longest, *LONGEST_REACH, less=True, note=note)]


def _writer(file: str, megabytes: int) -> dict[str, Any]:
    return {"steps": {"only": {"run": f"dd if=/dev/zero of={file} bs=1M count={megabytes} 2>/dev/null"}}}


def _while_writing(home: str, file: str, ours: Dropper, bare: Dropper) -> tuple[list[float], list[float]]:
    """Drops to both in turn until the step has ended and the disk has what it wrote."""
    took: tuple[list[float], list[float]] = ([], [])
    end = time.monotonic() + MOST
    quiet = False
    while not quiet and time.monotonic() < end:
        for dropper, mine in ((ours, took[0]), (bare, took[1])):
            time.sleep(CALM_PAUSE / 2)
            mine.append(dropper.drop(sync=False).since_rename)
        quiet = os.path.exists(file) and not unfinished(home) and _unsynced_mb() < DIRTY
    if not wait_for(lambda: not unfinished(home), MOST):
        raise RuntimeError("the step that writes did not end")
    return took


def _unsynced_mb() -> float:
    """What the kernel has yet to write to disks, in MB."""
    with open("/proc/meminfo", encoding="ascii") as file:
        found = dict(line.split(":", 1) for line in file)
    return sum(int(found[name].split()[0]) for name in ("Dirty", "Writeback")) / 1000
