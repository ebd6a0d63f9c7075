"""Cost is flat: a home with a hundred thousand waiting and finished workflows beside an empty one, taken in turn; and
one large workflow beside many small ones of as many steps."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks import filling, processes, tracing
from benchmarks.common import (
    COMMAND,
    ONE_STEP,
    Daemon,
    Row,
    Stage,
    drain,
    environment,
    queue_view,
    unfinished,
    wait_for,
    warm,
)
from benchmarks.latency import Moments, stamping
from hybrid_engine import Client
from hybrid_engine.files import queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import holder
from hybrid_engine.model.ids import queue_name

FLAT = (1.1, 1.05)
RESTART_REACH, RSS_REACH = (5.0, 2.0), 300.0
PATIENCE = 60.0
PAUSE = 0.05
POLL = 0.0003

GATED = {
    "concurrency": {"pool": "gate", "limit": 1},
    "steps": {"only": {"run": "false", "retry": {"attempts": 2, "delay": "10h", "max_delay": "10h", "jitter": False}}},
}
"""The first one holds the pool for hours, without a process: it waits for its second attempt."""


def scale(stage: Stage) -> list[Row]:
    """Accept, start, finish, first page; restart; memory."""
    count = stage.size(100_000, 5_000)
    rounds = stage.size(60, 25)
    moments = Moments(stage.folder)
    templates = {"one": ONE_STEP, "stamp": stamping(moments), "gated": GATED}
    full, empty = stage.home(templates), stage.home(templates)
    began = time.monotonic()
    _fill(stage, full, count)
    filled = time.monotonic() - began
    try:
        _restart(full, count)  # the first start makes the views of what was filled in
        calm = _restart(full, count)
        with stage.daemon(empty):
            took = _in_turn(full, empty, moments, rounds)
        memory = processes.rss_mb(_engine(full))
        processes.kill_tree(_engine(full))
        killed = _restart(full, count)
        worn = _worn_rows(stage, full, empty, moments, rounds, count)
        opened = _journals_opened(full, count)
    finally:
        processes.kill_tree(_engine(full))
        moments.close()
    about = f"{count:,} waiting + {count:,} finished"
    note = f"filled in {filled:.0f} s: one run, the others written by the engine's own encoders"
    return [
        *_flat_rows(took, full, empty, about),
        Row(f"restart, {about}", f"{calm:.1f} s", "", calm, *RESTART_REACH, less=True),
        Row(f"restart after kill -9, {about}", f"{killed:.1f} s", "", killed, *RESTART_REACH, less=True),
        opened,
        Row(f"memory, {about}", f"{memory:.0f} MB", "", memory, RSS_REACH, less=True, note=note),
        *worn,
    ]


def _worn_rows(stage: Stage, full: str, empty: str, moments: Moments, rounds: int, count: int) -> list[Row]:
    """The rows of work in turn and of a restart once more, after both homes were worn: none when nobody asks."""
    if stage.wear is None:
        return []
    about = f"{count:,} waiting + {count:,} finished"
    with stage.daemon(empty):
        for home in (full, empty):
            stage.wear(stage, home, unfinished(home))
        took = _in_turn(full, empty, moments, rounds)
    calm = _restart(full, count)
    rows = [
        *_flat_rows(took, full, empty, about),
        Row(f"restart, {about}", f"{calm:.1f} s", "", calm, *RESTART_REACH, less=True),
    ]
    for row in rows:
        row.name = f"worn home: {row.name}"
    return rows


def _journals_opened(home: str, count: int) -> Row:
    """By a restart that nobody measures the time of."""
    name = f"journals of {count:,} waiting jobs opened by a restart"
    _stop(home)
    opened = tracing.waiting_journals_opened(home, lambda pid: _shows_all(home, pid, count), PATIENCE)
    if opened is None:
        return Row(name, "–", "", note="not counted: strace is missing, or may not trace")
    return Row(name, f"{opened:,}", "", float(opened), 0.0, less=True)


MEASURED = ("accept", "start", "finish", "first page")


def _flat_rows(took: dict[tuple[str, str], list[float]], full: str, empty: str, about: str) -> list[Row]:
    rows = []
    for what in MEASURED:
        ours, beside = statistics.median(took[full, what]), statistics.median(took[empty, what])
        told = f"{ours * 1e3:.2f} ms", f"{beside * 1e3:.2f} ms, empty"
        rows.append(Row(f"{what}, {about}", *told, ours / beside, *FLAT, less=True))
    return rows


# --- the full home -------------------------------------------------------------------------------------------------


def _fill(stage: Stage, home: str, count: int) -> None:
    client = Client(home)
    with stage.daemon(home):
        warm(client, "one", 4)
        run = client.enqueue("one")
        client.wait(run, PATIENCE)
        client.enqueue("gated")
        held = client.enqueue("gated")
        if not wait_for(lambda: "pool" in client.why(held), PATIENCE, 0.1):
            raise RuntimeError(f"the pool was not held: {client.why(held)}")
    filling.fill(home, run, count, held, count)


def _engine(home: str) -> int:
    """The pid of the daemon of this home; 0 when none runs."""
    found = holder(Layout(home))
    pid = found.get("pid") if found else None
    return pid if isinstance(pid, int) else 0


def _restart(home: str, count: int) -> float:
    """End the daemon that runs, if any, and start one in the background; seconds until it takes jobs.

    Returns when that is over and the queue's view is there again.
    """
    _stop(home)
    start = time.monotonic()
    subprocess.run([*COMMAND, "start", "--detach"], env=environment(home), check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    pid = _engine(home)
    if not wait_for(lambda: _shows_all(home, pid, count), PATIENCE, 0.5):
        raise RuntimeError("the daemon does not show its queue")
    return seconds


def _stop(home: str) -> None:
    pid = _engine(home)
    if pid:
        os.kill(pid, signal.SIGTERM)
    if not wait_for(lambda: not _engine(home), PATIENCE, 0.1):
        raise RuntimeError("the daemon did not end")


def _shows_all(home: str, pid: int, count: int) -> bool:
    view = queue_view(home)
    engine = view.get("engine") or {}
    return engine.get("pid") == pid and view["counts"]["total"] >= count


# --- one after the other, in both homes ----------------------------------------------------------------------------


def _in_turn(full: str, empty: str, moments: Moments, rounds: int) -> dict[tuple[str, str], list[float]]:
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    clients = {home: Client(home) for home in (full, empty)}
    for home, client in clients.items():
        _start_and_finish(home, client, moments)
        _accept(home, client)
    for number in range(rounds):
        for home in (full, empty) if number % 2 else (empty, full):
            client = clients[home]
            time.sleep(PAUSE)
            took[home, "accept"].append(_accept(home, client))
            time.sleep(PAUSE)
            start, finish = _start_and_finish(home, client, moments)
            took[home, "start"].append(start)
            took[home, "finish"].append(finish)
            time.sleep(PAUSE)
            took[home, "first page"].append(_seconds(lambda: client.list(limit=50)))  # noqa: B023
    return took


def _accept(home: str, client: Client) -> float:
    """From `enqueue` to the job's name in the queue; it is not due for years."""
    start = time.perf_counter()
    workflow = client.enqueue("one", at=filling.LATER)
    path = os.path.join(home, "queue", queue_name(0, filling.LATER, workflow))
    if not wait_for(lambda: os.path.lexists(path), PATIENCE, POLL):
        raise RuntimeError("a job was not accepted")
    return time.perf_counter() - start


def _start_and_finish(home: str, client: Client, moments: Moments) -> tuple[float, float]:
    """From `enqueue` to the step's process started, and from there to the final view of the workflow."""
    dropped = moments.clock()
    workflow = client.enqueue("stamp")
    started = moments.next()
    path = os.path.join(home, "workflows", workflow, "state.json")
    if not wait_for(lambda: _is_completed(path), PATIENCE, POLL):
        raise RuntimeError("a job did not end")
    return (started - dropped) / 1e9, (moments.clock() - started) / 1e9


def _is_completed(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b'"status": "completed"' in file.read()
    except FileNotFoundError:
        return False


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- one large workflow --------------------------------------------------------------------------------------------

LARGE_REACH = 1.5
MOST = 50.0


def large(stage: Stage) -> list[Row]:
    """A hundred chains of a hundred steps, all in one workflow, beside the same chains in a workflow each."""
    side = stage.size(100, 30)
    chains = {f"c{chain}": _chain(f"c{chain}s", side) for chain in range(side)}
    one: dict[str, Any] = {"steps": {name: step for chain in chains.values() for name, step in chain.items()}}
    home = stage.home({"large": one, "small": {"steps": chains["c0"]}})
    with stage.daemon(home) as daemon:
        client = Client(home)
        for name in ("large", "small"):  # reads and freezes the template, here and there
            client.enqueue(name, at=filling.LATER)
        _wait_until_queued(home, 2)
        beside = _per_step(client, daemon, "small", side, side * side, 2)
        ours = _per_step(client, daemon, "large", 1, side * side, 2)
    return [
        Row(
            f"one workflow of {side * side:,} steps",
            f"{ours[0] * 1e6:,.0f} µs/step",
            f"{beside[0] * 1e6:,.0f} µs/step, {side} workflows of {side}",
            ours[0] / beside[0], LARGE_REACH, less=True,
            note=f"CPU {ours[1] * 1e6:,.0f} and {beside[1] * 1e6:,.0f} µs/step",
        )
    ]  # fmt: skip


def _chain(prefix: str, length: int) -> dict[str, Any]:
    return {
        f"{prefix}{number}": {"call": "bench.noop", "needs": [f"{prefix}{number - 1}"] if number else []}
        for number in range(length)
    }


def _wait_until_queued(home: str, count: int) -> None:
    layout = Layout(home)
    if not wait_for(lambda: len(queue.names(layout)[0]) >= count, PATIENCE, 0.05):
        raise RuntimeError("a large template was not taken")


def _per_step(client: Client, daemon: Daemon, template: str, count: int, steps: int, kept: int) -> tuple[float, float]:
    """(seconds, seconds of CPU) for each step; `kept` jobs stay in the queue."""
    used = processes.cpu_of_tree(daemon.pid)
    drained = drain(client, [{"template": template}] * count, MOST, kept)
    if drained.done < count or not drained.all_completed:
        raise RuntimeError(f"{template}: {drained.done} of {count} were through after {drained.seconds:.0f} s")
    return drained.seconds / steps, (processes.cpu_of_tree(daemon.pid) - used) / steps
