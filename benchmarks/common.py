"""What all benchmarks share: throw-away homes, a real daemon as a process of its own, and rows of the table.

A stage owns everything that a run leaves behind, folders and processes, and takes it away at the end, however the run
ends. Homes are removed only then: ext4 is slow at making files for minutes after many were deleted nearby, so a home
removed after its row would be paid for by the rows that follow.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from benchmarks import processes
from hybrid_engine import Client

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
READY_WITHIN = 60.0
STOP_WITHIN = 60.0
REMOVERS = 4

FUNCTIONS = '''
import os
import time

import hybrid_engine

NOTES = os.path.join(os.environ.get("HYBRID_HOME", "."), "notes")
_fds = []


@hybrid_engine.function
def noop():
    return None


@hybrid_engine.function
def two_milliseconds():
    """Notes its start and its end, each in one append, in a file of this process."""
    if not _fds:
        os.makedirs(NOTES, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        _fds.append(os.open(os.path.join(NOTES, str(os.getpid())), flags, 0o600))
    name = os.environ["HYBRID_WORKFLOW"].encode()
    os.write(_fds[0], b"s " + name + b"\\n")
    time.sleep(0.002)
    os.write(_fds[0], b"e " + name + b"\\n")
'''
"""What the function steps of all benchmarks call, as `bench.<name>`."""

ONE_STEP = {"steps": {"only": {"call": "bench.noop"}}}
TEN_STEPS = {"steps": {f"s{number}": {"call": "bench.noop"} for number in range(10)}}
SHELL = {"steps": {"only": {"run": "/bin/true"}}}
NOTING = {"steps": {"only": {"call": "bench.two_milliseconds"}}}


@dataclass(slots=True)
class Row:
    """One line of the table. `less`: the smaller the ratio the better. Without `reach` there is no verdict."""

    name: str
    figure: str
    beside: str
    ratio: float | None = None
    reach: float | None = None
    goal: float | None = None
    less: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.ratio is None or self.reach is None:
            return ""
        for limit, word in ((self.goal, "goal"), (self.reach, "reached")):
            if limit is not None and (self.ratio <= limit if self.less else self.ratio >= limit):
                return word
        return "short"

    def as_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return {**record, "verdict": self.verdict}


class Daemon:
    """A daemon in a process of its own, ready to take jobs."""

    def __init__(self, home: str, slots: int, settings: Mapping[str, str]) -> None:
        self.home = home
        self._log = open(os.path.join(home, "daemon.err"), "ab")  # noqa: SIM115 – open as long as the process
        self._process = subprocess.Popen(
            [*COMMAND, "start"],
            env=environment(home, MAX_PARALLEL_NODES=str(slots), LOG_LEVEL="WARNING", **settings),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        self.pid = self._process.pid
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        """Ready is who has shown the queue: jobs are taken from then on."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            engine = queue_view(self.home).get("engine")
            if engine and engine["pid"] == self.pid:
                return
            time.sleep(0.01)
        with open(self._log.name, "rb") as file:
            raise RuntimeError(f"the daemon did not start: {file.read()[-2000:].decode(errors='replace')}")

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it as `hybrid stop` does; its workers leave with it."""
        if self.is_alive:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        """KILL to the daemon and everything below it, at once."""
        if self.is_alive:
            processes.kill_tree(self.pid)
            self._process.wait()
        self._log.close()


class Stage:
    """One run of benchmarks. `quick` makes everything smaller; `worn`: homes are worn before they are used.

    `wear` runs and prunes very many workflows in the home it is given, whose daemon runs and has so many others in its
    queue (`benchmarks.wearing`). It is None when nobody wants to know what a worn home is like.
    """

    def __init__(self, where: str | None = None, *, quick: bool = False) -> None:
        self.quick = quick
        self.worn = False
        self.wear: Callable[[Stage, str, int], None] | None = None
        self.folder = tempfile.mkdtemp(prefix="hybrid-bench-", dir=where)
        _spread_folders(self.folder)
        self._daemons: list[Daemon] = []
        self._count = 0

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.clear()
        _remove(self.folder)

    def clear(self) -> None:
        """End what still runs; the homes stay."""
        for daemon in self._daemons:
            daemon.kill()
        self._daemons.clear()

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def home(self, templates: Mapping[str, Mapping[str, Any]]) -> str:
        """A home of its own with these templates and the functions above."""
        self._count += 1
        home = os.path.join(self.folder, f"home-{self._count}")
        run = [*COMMAND, "init", "--no-sample", home]
        subprocess.run(run, env=environment(home), check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(home, "functions", "bench.py"), "w", encoding="utf-8") as file:
            file.write(FUNCTIONS)
        for name, template in templates.items():
            with open(os.path.join(home, "templates", name + ".json"), "w", encoding="utf-8") as file:
                json.dump({"name": name, **template}, file)
        time.sleep(0.15)  # a template changed within the last 100 ms is read again at every use
        if self.worn and self.wear is not None:
            with self.daemon(home):
                self.wear(self, home, 0)
        return home

    def start(self, home: str, slots: int = 4, **settings: str) -> Daemon:
        daemon = Daemon(home, slots, settings)
        self._daemons.append(daemon)
        return daemon

    @contextmanager
    def daemon(self, home: str, slots: int = 4, **settings: str) -> Iterator[Daemon]:
        daemon = self.start(home, slots, **settings)
        try:
            yield daemon
        finally:
            daemon.stop()
            self._daemons.remove(daemon)


def _remove(folder: str) -> None:
    """Remove all homes, the many workflows of each by several processes: a million names take one of them minutes."""
    for home in os.listdir(folder):
        workflows = os.path.join(folder, home, "workflows")
        paths = [os.path.join(workflows, name) for name in os.listdir(workflows)] if os.path.isdir(workflows) else []
        lanes = [subprocess.Popen(["xargs", "-0", "rm", "-rf", "--"], stdin=subprocess.PIPE) for _ in range(REMOVERS)]
        for number, lane in enumerate(lanes):
            assert lane.stdin is not None
            lane.stdin.write("\0".join(paths[number::REMOVERS]).encode())
            lane.stdin.close()
        for lane in lanes:
            lane.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _spread_folders(folder: str) -> None:
    """Ask the file system to put each home into a region of its own, where it knows how (`chattr +T`)."""
    get_flags, set_flags, top_of_trees = 0x80086601, 0x40086602, 0x00020000
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = struct.unpack("l", fcntl.ioctl(fd, get_flags, struct.pack("l", 0)))[0]
        fcntl.ioctl(fd, set_flags, struct.pack("l", flags | top_of_trees))
    except OSError:
        pass
    finally:
        os.close(fd)


# --- commands ------------------------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "hybrid_engine.cli.main"]


def installed_command() -> list[str]:
    """`hybrid` as it was installed beside this interpreter, else the script of the work tree."""
    installed = os.path.join(os.path.dirname(sys.executable), "hybrid")
    if os.access(installed, os.X_OK):
        return [installed]
    return [sys.executable, os.path.join(ROOT, "bin", "hybrid")]


def environment(home: str, **settings: str) -> dict[str, str]:
    """Ours, without settings of somebody else's home, and with the package on the path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HYBRID_")}
    path = os.pathsep.join(filter(None, [ROOT, clean.get("PYTHONPATH")]))
    return {**clean, "PYTHONPATH": path, "HYBRID_HOME": home, **settings}


# --- looking at a home ---------------------------------------------------------------------------------------------


def queue_view(home: str) -> dict[str, Any]:
    """`queue-state.json`, or nothing when it is not there yet."""
    try:
        with open(os.path.join(home, "queue-state.json"), encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
            return found
    except (OSError, ValueError):
        return {}


def unfinished(home: str) -> int:
    return len(os.listdir(os.path.join(home, "queue")))


def wait_for(what: Callable[[], bool], seconds: float, pause: float = 0.01) -> bool:
    """Wait until `what()` holds; False when it did not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


@dataclass(slots=True)
class Drained:
    """How many of the workflows were through, after how long."""

    done: int
    seconds: float
    all_completed: bool

    @property
    def per_second(self) -> float:
        return self.done / self.seconds


def drain(client: Client, jobs: list[dict[str, Any]], most: float, kept: int = 0) -> Drained:
    """Enqueue many and wait until all but `kept` older ones have left the queue, at most `most` seconds; then ask how
    each ended.

    The queue folder is looked at seldom enough to cost nothing, and often enough to see the end within 1 %.
    """
    start = time.monotonic()
    ids = client.enqueue_many(jobs)
    time.sleep(0.02)
    inbox = os.path.join(client.home, "inbox")
    while True:
        left = unfinished(client.home) - kept
        taken = not any(name.endswith(".jsonl") for name in os.listdir(inbox))
        seconds = time.monotonic() - start
        done = len(ids) - left if taken else 0
        if (taken and not left) or seconds > most:
            break
        rate = max(done / seconds, 1.0)
        time.sleep(min(0.2, max(0.01, left / rate / 4)))
    if done < len(ids):
        return Drained(max(done, 1), seconds, False)
    ends = client.wait(ids, 30)
    return Drained(done, seconds, set(ends.values()) == {"completed"})


def warm(client: Client, template: str, count: int = 16) -> None:
    """Run a few, so that templates are frozen and workers are up."""
    client.wait(client.enqueue_many([{"template": template}] * count), 60)
