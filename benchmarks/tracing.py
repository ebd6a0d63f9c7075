"""Which journals a daemon opens between its start and its end, as `strace` sees it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable

from benchmarks.common import COMMAND, environment, wait_for
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import holder
from hybrid_engine.model.ids import parse_queue_name

OPENED = re.compile(r'"(?:[^"]*/)?(?:workflows/([^/"]+)/journal\.jsonl|queue/([^/"]+))"')
"""A journal, by its own name or by its second one in `queue/`."""


def waiting_journals_opened(home: str, is_up: Callable[[int], bool], patience: float) -> int | None:
    """Start a daemon under `strace`, wait until `is_up(its pid)`, end it: how many journals of jobs that have not begun
    it opened. None when there is no `strace`, or it may not be used."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    trace = os.path.join(home, "opens.trace")
    process = subprocess.Popen(
        [strace, "-f", "--seccomp-bpf", "-qq", "-s", "4096", "-e", "trace=open,openat,openat2", "-o", trace,
         *COMMAND, "start"],
        env=environment(home, LOG_LEVEL="WARNING"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        found = wait_for(lambda: process.poll() is not None or is_up(_engine(home)), patience, 0.2)
        if process.poll() is not None:
            return None
        if not found:
            raise RuntimeError("the daemon under strace does not show its queue")
    finally:
        if (pid := _engine(home)) > 0:
            os.kill(pid, signal.SIGTERM)
        process.wait(patience)
    return sum(not _has_begun(home, workflow) for workflow in _opened(trace))


def _engine(home: str) -> int:
    found = holder(Layout(home))
    pid = found.get("pid") if found else None
    return pid if isinstance(pid, int) else -1


def _opened(trace: str) -> set[str]:
    """The ids of the workflows whose journals were opened."""
    found: set[str] = set()
    with open(trace, encoding="utf-8", errors="replace") as file:
        for line in file:
            match = OPENED.search(line)
            if match is None:
                continue
            parts = parse_queue_name(match[2]) if match[2] else None
            if match[1] or parts:
                found.add(match[1] or (parts[2] if parts else ""))
    return found


def _has_begun(home: str, workflow: str) -> bool:
    """Is there more in its journal than its acceptance?"""
    with open(Layout(home).journal(workflow), "rb") as file:
        return file.read().count(b"\n") > 1
