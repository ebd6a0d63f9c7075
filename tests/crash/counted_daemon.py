"""A real daemon under the fault library that counts: what a workload costs in syncs, inodes and bytes.

`counted_daemon(home)` gives a `CountedDaemon`, whose methods run one workload each and return its `Counts`: those of
the daemon's own process, none of its workers, its steps or the test. Each workload runs once before it is counted, so
that templates are frozen and workers have started. A sync takes 10 ms, so that what happens meanwhile gathers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybrid_engine.client import Client
from hybrid_engine.files.layout import Layout
from tests.crash import faultlib
from tests.crash.counters import Counters, Counts
from tests.e2e.daemon import ROOT, until

PATIENCE = 300.0
SETTLED = 1.5
"""Seconds for which a daemon has done nothing that is counted: then it has ended all that it had begun."""

FUNCTIONS = """
from hybrid_engine import function

@function
def nothing():
    return None
"""
TEMPLATES = {
    "function": "steps:\n  only: {call: counted.nothing}\n",
    "shell": "steps:\n  only: {run: echo line}\n",
    "gate": """
params: {gate: {type: string}}
steps:
  only: {run: 'exec echo >"$GATE"', env: {GATE: "${{ params.gate }}"}}
""",
}


def chain(steps: int) -> str:
    """A template of function steps, one after the other."""
    return "steps:\n" + "".join(f"  s{number}: {{call: counted.nothing}}\n" for number in range(steps))


class CountedDaemon:
    """The daemon, its home and its counters. Its workloads end when all of their workflows have ended."""

    def __init__(self, layout: Layout, counters: Counters, process: subprocess.Popen[bytes]) -> None:
        self.layout = layout
        self.counters = counters
        self._process = process
        self._client = Client(layout.home)

    def write_template(self, name: str, text: str) -> None:
        Path(self.layout.templates, f"{name}.yaml").write_text(text)

    def run_many(self, template: str, number: int) -> None:
        """So many workflows from one `.jsonl` file in the inbox, to their ends."""
        ids = self._client.enqueue_many({"template": template} for _ in range(number))
        ends = self._client.wait(ids, PATIENCE)
        assert set(ends.values()) == {"completed"}, f"not all of {number} {template} workflows were completed: {ends}"

    def count_many(self, template: str, number: int) -> Counts:
        """What `number` workflows cost to the very end: the daemon is stopped, so that its last checkpoint counts."""
        self.run_many(template, 4)
        before = self.rested()
        self.run_many(template, number)
        self.stop()
        return self.counters.read() - before

    def count_drop(self) -> Counts:
        """What a dropped job costs up to the moment at which its process is started. The job is no `enqueue`, which
        would do a part of the daemon's work."""
        self.drop("gate", "warm-up")
        before = self.rested()
        self.drop("gate", "counted")
        return self.counters.at_spawn() - before

    def drop(self, template: str, name: str) -> None:
        """Rename a job into the inbox, and wait until its process runs."""
        gate = os.path.join(os.path.dirname(self.layout.home), f"{name}.gate")
        os.mkfifo(gate)
        part = os.path.join(self.layout.home, f"{name}.part")
        Path(part).write_text(f"template: {template}\nparams: {{gate: '{gate}'}}\n")
        reader = os.open(gate, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.rename(part, os.path.join(self.layout.inbox, f"{name}.yaml"))
            until(lambda: _read(reader), f"the process of the job {name} runs", PATIENCE)
        finally:
            os.close(reader)

    def count_steps(self, steps: int) -> Counts:
        """What one workflow costs by having `steps` function steps more."""
        for name, length in (("short", 1), ("long", 1 + steps)):
            self.write_template(name, chain(length))
            self.run_many(name, 1)
        self.rested()
        short = self._count_one("short")
        return self._count_one("long") - short

    def _count_one(self, template: str) -> Counts:
        before = self.rested()
        self.run_many(template, 1)
        return self.rested() - before

    def rested(self) -> Counts:
        """The counts once they have stood still for a while: what follows an end is behind us."""
        last = [self.counters.read(), 0]

        def is_at_rest() -> bool:
            now = self.counters.read()
            last[1] = last[1] + 1 if now == last[0] else 0
            last[0] = now
            return int(last[1]) * 0.005 >= SETTLED

        until(is_at_rest, "the daemon has nothing left to write", PATIENCE)
        return self.counters.read()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(PATIENCE)
        assert code == 0, f"the daemon ended with {code}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 1)
    except BlockingIOError:
        return b""


@contextmanager
def counted_daemon(
    layout: Layout, *, delay_ms: int = 10, slots: int = 4, env: Mapping[str, str] | None = None
) -> Iterator[CountedDaemon]:
    """`hybrid start` in this home, counted from its first operation on; it is stopped at the end."""
    Path(layout.functions, "counted.py").write_text(FUNCTIONS)
    for name, text in TEMPLATES.items():
        Path(layout.templates, f"{name}.yaml").write_text(text)
    counters = Counters(os.path.join(os.path.dirname(layout.home), "counts"), layout.home, delay_ms=delay_ms)
    more: dict[str, str] = {"HYBRID_SETTLE": "10ms", "LOG_LEVEL": "WARNING", **(env or {})}
    process = subprocess.Popen(
        [sys.executable, "-m", "hybrid_engine.cli.main", "start", "--slots", str(slots)],
        cwd=layout.home,
        env=environment(layout, counters, more),
        stdin=subprocess.DEVNULL,
    )
    daemon = CountedDaemon(layout, counters, process)
    try:
        daemon.run_many("function", 1)
        yield daemon
        daemon.stop()
    finally:
        daemon.kill()
        counters.close()


def environment(layout: Layout, counters: Counters, more: Mapping[str, str]) -> dict[str, Any]:
    return {
        **os.environ, **more, **counters.environment, "LD_PRELOAD": faultlib.build(), "PYTHONPATH": str(ROOT),
        "HYBRID_HOME": layout.home, "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
