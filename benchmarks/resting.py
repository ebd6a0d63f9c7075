"""What an idle daemon costs: its share of a core and its memory, without and after work."""

from __future__ import annotations

import time

from benchmarks.common import ONE_STEP, SHELL, Row, Stage, warm
from benchmarks.processes import children, cpu_seconds, rss_mb
from hybrid_engine import Client

CPU_REACH, RSS_REACH = 0.3, 70.0


def idle(stage: Stage) -> list[Row]:
    """CPU over some quiet seconds, and resident memory, of a daemon that has run a few jobs and has none."""
    seconds = stage.size(20, 8)
    home = stage.home({"one": ONE_STEP, "shell": SHELL})
    with stage.daemon(home) as daemon:
        client = Client(home)
        warm(client, "one", 20)
        warm(client, "shell", 20)
        time.sleep(3)  # the last views and rows of the index
        before, start = cpu_seconds(daemon.pid), time.monotonic()
        time.sleep(seconds)
        share = 100 * (cpu_seconds(daemon.pid) - before) / (time.monotonic() - start)
        memory = rss_mb(daemon.pid)
        workers = [rss_mb(pid) for pid in children(daemon.pid)]
    told = f"beside it {len(workers)} warm workers of {max(workers):.0f} MB, for a minute" if workers else ""
    return [
        Row(f"idle daemon, CPU over {seconds} s", f"{share:.2f} % of a core", "", share, CPU_REACH, less=True),
        Row("idle daemon, memory", f"{memory:.0f} MB", "", memory, RSS_REACH, less=True, note=told),
    ]
