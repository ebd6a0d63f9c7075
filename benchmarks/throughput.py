"""How many workflows and steps a second: function steps beside synced appends, shell steps beside bare spawns."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.common import ONE_STEP, SHELL, TEN_STEPS, Drained, Row, Stage, drain, warm
from benchmarks.limits import appends_per_second, between, spawns_per_second
from benchmarks.processes import cpu_of_tree
from hybrid_engine import Client

MOST = 60.0
"""Seconds after which a measurement is broken off; the figure is then that of the part that was through."""
STEPS = 10
TEN_REACH = {1: (0.20, 0.4), 4: (0.30, 0.6), 16: (0.40, 0.8)}
SHELL_REACH = {1: (0.20, 0.36), 4: (0.30, 0.46)}


def one_step(stage: Stage) -> list[Row]:
    """One-step workflows, `enqueue_many` to all finished, beside synced appends."""
    count = stage.size(5000, 1500)
    home = stage.home({"one": ONE_STEP})
    with stage.daemon(home) as daemon:
        client = Client(home)
        warm(client, "one")
        used = cpu_of_tree(daemon.pid)
        limit, drained = between(
            lambda: appends_per_second(home), lambda: drain(client, [{"template": "one"}] * count, MOST)
        )
        note = _note(drained, count, cpu_of_tree(daemon.pid) - used, drained.done)
    return [
        Row(
            f"{count:,} one-step workflows",
            f"{drained.per_second:,.0f} workflows/s",
            f"{limit} synced appends/s",
            drained.per_second / limit.mean, 0.12, 0.28, note=note,
        )
    ]  # fmt: skip


def ten_steps(stage: Stage) -> list[Row]:
    """Workflows of ten steps, every step committed, with 1, 4 and 16 slots, beside synced appends."""
    rows = []
    for slots, (reach, goal) in TEN_REACH.items():
        count = stage.size(500, 40 * min(slots, 4))
        home = stage.home({"ten": TEN_STEPS})
        with stage.daemon(home, slots) as daemon:
            client = Client(home)
            warm(client, "ten", slots)
            used = cpu_of_tree(daemon.pid)
            limit, drained = between(
                lambda: appends_per_second(home),  # noqa: B023 – called before the next turn of the loop
                lambda: drain(client, [{"template": "ten"}] * count, MOST),  # noqa: B023
            )
            note = _note(drained, count, cpu_of_tree(daemon.pid) - used, drained.done * STEPS)
        rate = drained.per_second * STEPS
        name = (
            f"{count:,} workflows × {STEPS} steps, {slots} slots" if slots > 1 else f"{count:,} × {STEPS} steps, 1 slot"
        )
        figure, beside = f"{rate:,.0f} steps/s", f"{limit} synced appends/s"
        rows.append(Row(name, figure, beside, rate / limit.mean, reach, goal, note=note))
    return rows


def shell(stage: Stage) -> list[Row]:
    """Workflows of one shell step with its logs, with 1 and 4 slots, beside bare spawns of the same program."""
    rows = []
    for slots, (reach, goal) in SHELL_REACH.items():
        count = stage.size(1000, 150 * slots)
        home = stage.home({"shell": SHELL})
        with stage.daemon(home, slots) as daemon:
            client = Client(home)
            warm(client, "shell")
            used = cpu_of_tree(daemon.pid)
            limit, drained = between(
                spawns_per_second,
                lambda: drain(client, [{"template": "shell"}] * count, MOST),  # noqa: B023
            )
            note = _note(drained, count, cpu_of_tree(daemon.pid) - used, drained.done)
            _check_logs(home)
        name = f"{count:,} shell steps with logs, {slots} slot{'s' if slots > 1 else ''}"
        figure, beside = f"{drained.per_second:,.0f} steps/s", f"{limit} bare spawns/s"
        rows.append(Row(name, figure, beside, drained.per_second / limit.mean, reach, goal, note=note))
    return rows


def _check_logs(home: str) -> None:
    """A figure without logs would be one of something else."""
    workflows = os.path.join(home, "workflows")
    folder = os.path.join(workflows, sorted(os.listdir(workflows))[0], "steps", "only", "1")
    missing = {"stdout.log", "stderr.log"} - set(os.listdir(folder))
    if missing:
        raise RuntimeError(f"{folder} lacks {', '.join(sorted(missing))}")


def _note(drained: Drained, count: int, cpu: float, units: Any) -> str:
    """What a reader should know: processor time is what a busy machine does not blur."""
    told = f"{cpu / units * 1e6:,.0f} µs of CPU each"
    if drained.done < count:
        return f"{told}; broken off after {drained.done:,}"
    return told if drained.all_completed else f"{told}; NOT ALL COMPLETED"
