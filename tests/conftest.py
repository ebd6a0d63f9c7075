"""What all tests share: a home to work in, and a look behind them.

A test that leaves a process of its own running, or a temporary file in its home, fails. Skipped tests are counted by
reason at the end of a run, so that a machine on which half of them cannot run does not look like a green one.
Builders of models are in builders.py, daemons in e2e/daemon.py.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hybrid_engine.execution.processes import PR_SET_CHILD_SUBREAPER
from hybrid_engine.files.home import init_home
from hybrid_engine.files.layout import Layout
from hybrid_engine.settings import TABLE

T = TypeVar("T")
PATIENCE = 5.0
"""Seconds that a process which was told to end may take for it."""
CRASH_LIMIT = 600.0
"""Seconds that a test with the mark `crash` may take."""
GRACE = 30.0
"""Seconds that a test which was over its time may take to tidy up. Then the whole process is ended."""
_stderr = -1


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leaves_processes: what it starts outlives it on purpose (a server of a module)")
    config.addinivalue_line("markers", "leaves_temporary_files: it tests what a crash leaves lying about")
    for setting in TABLE:
        os.environ.pop(setting.env, None)  # nobody's own settings may decide what tests find

    global _stderr
    _stderr = os.dup(2)  # what is captured during a test would die with the process


def pytest_unconfigure() -> None:
    os.close(_stderr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """The end of what does not end even when its limit has struck: a clean-up that waits, a loop in C.

    Where each thread stands is printed, by a thread that needs no interpreter. Under xdist the worker is replaced, and
    the test is named as the one that crashed it.
    """
    marker = item.get_closest_marker("timeout")
    limit = marker.args[0] if marker and marker.args else float(item.config.getini("timeout"))
    faulthandler.dump_traceback_later(limit + GRACE, exit=True, file=_stderr)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A crash test is hundreds of cases; the limit of all others is in pyproject.toml."""
    for item in items:
        if item.get_closest_marker("crash") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(CRASH_LIMIT))


@pytest.fixture
def home(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Layout]:
    """A complete, empty home. Afterwards nothing may run in it and nothing temporary may lie in it."""
    layout = Layout(str(tmp_path / "home"))
    init_home(layout, sample=False)
    yield layout
    left = settled(lambda: processes_of(layout.home))
    for pid in left:
        end(pid)
    assert not left, f"processes were left running in the home: {left}"
    if not request.node.get_closest_marker("leaves_temporary_files"):
        found = temporary_files(layout)
        assert not found, f"temporary files were left in the home: {found}"


@pytest.fixture(autouse=True)
def _no_stray_children(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test starts must have ended when it ends."""
    before = children()
    yield
    if request.node.get_closest_marker("leaves_processes") or request.node.get_closest_marker("crash"):
        return
    left = settled(lambda: children() - before)
    for pid in left:
        end(pid)
    assert not left, f"processes were left running: {left}"


@pytest.fixture(autouse=True)
def _same_process() -> Iterator[None]:
    """What is run inside of this process (`--home`, an engine) may change it; not for the next test.

    As a subreaper it would become the parent of other tests' daemons, and when killed they would seem to go on.
    """
    before = {setting.env: os.environ.get(setting.env) for setting in TABLE}
    yield
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def settled(look: Callable[[], T]) -> T:
    """What is left of processes once those that are ending have ended; nobody can wait on all of them."""
    deadline = time.monotonic() + PATIENCE
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


def children() -> set[int]:
    """The living children of this process, whichever of its threads started them."""
    found: set[int] = set()
    for task in threading.enumerate():
        try:
            words = Path(f"/proc/self/task/{task.native_id}/children").read_text().split()
        except OSError:
            continue
        found.update(int(word) for word in words if lives(int(word)))
    return found


def processes_of(home: str) -> dict[int, str]:
    """Living processes that work for this home, by what their environment or their folder says, with their commands."""
    found: dict[int, str] = {}
    mark = b"HYBRID_HOME=" + os.fsencode(home)
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            ours = mark in Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
            if (ours or os.readlink(f"/proc/{name}/cwd") == home) and lives(int(name)):
                found[int(name)] = (
                    Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
        except OSError:
            continue
    return found


def lives(pid: int) -> bool:
    """Is it more than an entry that waits for its parent to look at it?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def temporary_files(layout: Layout) -> list[str]:
    """What should have been renamed into its place, outside of the inbox, where strangers may leave what they like."""
    found = [os.path.join(layout.tmp, name) for name in os.listdir(layout.tmp)]
    for folder, below, names in os.walk(layout.home):
        if folder == layout.home:
            below.remove("inbox")
        found += [os.path.join(folder, name) for name in names if name.endswith(".tmp")]
    return sorted({os.path.relpath(path, layout.home) for path in found})


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many tests could not run here, by reason."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[told.removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section(f"{reasons.total()} tests were skipped")
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:>5}  {reason}")
