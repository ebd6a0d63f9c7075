"""How many workflows and steps a second: function steps beside synced appends, shell steps beside bare spawns.

Each figure comes from a daemon of its own. Figures of one benchmark come from one home, also when one is taken again
because the machine was not steady; the home is then a little fuller: that costs nothing, as the row `scale` shows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from benchmarks.common import ONE_STEP, SHELL, TEN_STEPS, Drained, Row, Stage, drain, warm
from benchmarks.limits import Limit, appends_per_second, microseconds_per_file, spawns_per_second, steady
from benchmarks.processes import cpu_of_tree
from hybrid_engine import Client

MOST = 60.0
"""Seconds after which a measurement is broken off; the figure is then that of the part that was through."""
STEPS = 10
ONE_REACH = (0.30, 0.55)
TEN_REACH = {1: (0.33, 0.4), 4: (0.60, 0.85), 16: (1.0, 1.9)}
SHELL_REACH = {1: (0.28, 0.36), 4: (0.40, 0.48)}
CLIENT_REACH = (0.15, 0.3)
CLIENT_SECONDS = 2.0


def one_step(stage: Stage) -> list[Row]:
    """One-step workflows, `enqueue_many` to all finished, beside synced appends."""
    count = stage.size(5000, 1500)
    home = stage.home({"work": ONE_STEP})
    limit, drained, note = _measure(stage, home, 4, count, 1, appends_per_second)
    figure, beside = f"{drained.per_second:,.0f} workflows/s", f"{limit} synced appends/s"
    return [
        Row(f"{count:,} one-step workflows", figure, beside, drained.per_second / limit.mean, *ONE_REACH, note=note)
    ]


def ten_steps(stage: Stage) -> list[Row]:
    """Workflows of ten steps, every step committed, with 1, 4 and 16 slots, beside synced appends."""
    rows = []
    home = stage.home({"work": TEN_STEPS})
    for slots, reach in TEN_REACH.items():
        count = stage.size(500, 40 * min(slots, 4))
        limit, drained, note = _measure(stage, home, slots, count, STEPS, appends_per_second)
        rate = drained.per_second * STEPS
        name = f"{count:,} workflows of {STEPS} steps, {_slots(slots)}"
        figure, beside = f"{rate:,.0f} steps/s", f"{limit} synced appends/s"
        rows.append(Row(name, figure, beside, rate / limit.mean, *reach, note=note))
    return rows


def shell(stage: Stage) -> list[Row]:
    """Workflows of one shell step with its logs, with 1 and 4 slots, beside bare spawns of the same program."""
    rows = []
    home = stage.home({"work": SHELL})
    for slots, reach in SHELL_REACH.items():
        count = stage.size(1000, 150 * slots)
        limit, drained, note = _measure(stage, home, slots, count, 1, lambda folder: spawns_per_second())
        _check_logs(home)
        name = f"{count:,} shell steps with logs, {_slots(slots)}"
        figure, beside = f"{drained.per_second:,.0f} steps/s", f"{limit} bare spawns/s"
        rows.append(Row(name, figure, beside, drained.per_second / limit.mean, *reach, note=note))
    return rows


def client_enqueue(stage: Stage) -> list[Row]:
    """`Client.enqueue`, one call after the other, while the daemon runs what is enqueued, beside synced appends."""
    home = stage.home({"work": ONE_STEP})
    client = Client(home)
    with stage.daemon(home):
        warm(client, "work")
        file = microseconds_per_file(os.path.join(home, ".hybrid", "tmp"))
        limit, rate = steady(lambda: appends_per_second(home), lambda: _enqueued_per_second(client), stage.size(3, 2))
    figure, beside = f"{rate:,.0f} jobs/s", f"{limit} synced appends/s"
    note = f"a new file and folder: {file:,.0f} µs"
    return [Row("Client.enqueue, one after the other", figure, beside, rate / limit.mean, *CLIENT_REACH, note=note)]


def _enqueued_per_second(client: Client) -> float:
    """Of calls that have returned. Returns when the daemon has run all of it: the limit is measured next."""
    start = now = time.perf_counter()
    ids = []
    while now - start < CLIENT_SECONDS:
        ids.append(client.enqueue("work"))
        now = time.perf_counter()
    if set(client.wait(ids, MOST).values()) != {"completed"}:
        raise RuntimeError("not all that was enqueued was completed")
    return len(ids) / (now - start)


def _slots(count: int) -> str:
    return "1 slot" if count == 1 else f"{count} slots"


def _measure(
    stage: Stage,
    home: str,
    slots: int,
    count: int,
    steps: int,
    limit: Callable[[str], float],
) -> tuple[Limit, Drained, str]:
    """So many workflows of so many steps between two looks at the limit, and what a reader should know of it."""
    jobs = [{"template": "work"}] * count
    with stage.daemon(home, slots) as daemon:
        client = Client(home)
        warm(client, "work", max(16, slots))

        def measure() -> tuple[Drained, float]:
            used = cpu_of_tree(daemon.pid)
            drained = drain(client, jobs, MOST)
            return drained, (cpu_of_tree(daemon.pid) - used) / drained.done / steps

        file = microseconds_per_file(os.path.join(home, ".hybrid", "tmp"))
        found, (drained, cpu) = steady(lambda: limit(home), measure, stage.size(3, 2))
    return found, drained, _note(drained, count, cpu, file)


def _check_logs(home: str) -> None:
    """A figure without logs would be one of something else."""
    workflows = os.path.join(home, "workflows")
    folder = os.path.join(workflows, sorted(os.listdir(workflows))[0], "steps", "only", "1")
    missing = {"stdout.log", "stderr.log"} - set(os.listdir(folder))
    if missing:
        raise RuntimeError(f"{folder} lacks {', '.join(sorted(missing))}")


def _note(drained: Drained, count: int, cpu: float, file: float) -> str:
    """Processor time is what a busy machine blurs least; the cost of a file tells of one that is being tidied up."""
    told = f"{cpu * 1e6:,.0f} µs of CPU each; a new file and folder: {file:,.0f} µs"
    if drained.done < count:
        return f"{told}; BROKEN OFF after {drained.done:,}"
    return told if drained.all_completed else f"{told}; NOT ALL COMPLETED"
