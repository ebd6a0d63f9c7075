"""Running cases: fork servers, the folders of a case, and the loops that end by themselves.

A `Bench` belongs to one scenario; it has one fork server per core and hands cases to them. What a case is, and what is
right, is said in methods.py and oracle.py. The folder of a case that found something is kept, all others are removed.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.crash import faultlib
from tests.crash.faultlib import Fault
from tests.crash.scenario import Scenario, load

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_MISSES = 3
MOST_KEPT = 100
T = TypeVar("T")


def work_folder() -> str:
    """Where cases live: CRASH_DIR, else memory (a kill needs no disk, and syncs are free there), else the temporary."""
    chosen = os.environ.get("CRASH_DIR") or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
    for name in os.listdir(chosen):
        mark = name.removeprefix("hybrid-crash-").split("-")[0]
        if name.startswith("hybrid-crash-") and mark.isdigit() and not os.path.exists(f"/proc/{mark}"):
            shutil.rmtree(os.path.join(chosen, name), ignore_errors=True)  # of a run that was killed itself
    return os.path.realpath(tempfile.mkdtemp(prefix=f"hybrid-crash-{os.getpid()}-", dir=chosen))


def kept_folder() -> str:
    """Where the folders of findings go: CRASH_KEEP, else a fixed folder among the temporary ones."""
    return os.environ.get("CRASH_KEEP") or os.path.join(tempfile.gettempdir(), "hybrid-crash-kept")


def copy_tree(source: str, target: str) -> None:
    """Copy a folder with rights and times; two names of one file are two names of one file in the copy, too."""
    os.makedirs(target, 0o700)
    copied: dict[int, str] = {}
    for folder, folders, files in os.walk(source):
        there = os.path.join(target, os.path.relpath(folder, source))
        for name in folders:
            os.mkdir(os.path.join(there, name), 0o700)
        for name in files:
            path, new = os.path.join(folder, name), os.path.join(there, name)
            number = os.lstat(path).st_ino
            if number in copied:
                os.link(copied[number], new)
            else:
                copied[number] = new
                shutil.copy2(path, new, follow_symlinks=False)


def interpreter() -> str:
    """This interpreter, checked to be a program: a shell script in front of it would meet the faults in its stead."""
    with open(os.path.realpath(sys.executable), "rb") as file:
        if file.read(4) != b"\x7fELF":
            raise RuntimeError(f"{sys.executable} is a script in front of an interpreter; use the interpreter itself")
    return sys.executable


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one process: its exit code (minus the signal), the fault, the processes it left behind."""

    exit: int
    hung: bool
    count: int
    fired: int
    operation: str
    path: str
    strays: list[str]

    @property
    def killed(self) -> bool:
        return self.exit == -9 and not self.hung


class Server:
    """The near end of one fork server."""

    def __init__(self, scenario: str) -> None:
        env = {**os.environ, "LD_PRELOAD": faultlib.build(), "PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1"}
        env.pop("FAULT_MODE", None)
        command = [interpreter(), "-m", "tests.crash.forkserver", scenario]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, request: dict[str, Any]) -> Run:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the fork server has ended with {self._process.wait()}")
        return Run(**json.loads(answer))

    def close(self) -> None:
        assert self._process.stdin and self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class Case:
    """One folder with a home, the file outside of it and what the processes printed; runs go through one server."""

    def __init__(self, server: Server, scenario: Scenario, folder: str, base: str) -> None:
        self.server = server
        self.scenario = scenario
        self.folder = folder
        self.home = os.path.join(folder, "home")
        self.outside = os.path.join(folder, "outside")
        self.output = os.path.join(folder, "output")
        self.log = os.path.join(folder, "operations")
        self.numbers = ""
        if folder != base:
            copy_tree(os.path.join(base, "home"), self.home)
            shutil.copyfile(os.path.join(base, "outside"), self.outside)

    def run(self, what: str, fault: Fault | None = None, *, record: bool = False, sweep: str = "") -> Run:
        """Run `warm`, `act` or `recover`, under a fault or not.

        `sweep` says what becomes of processes left behind: "" leave them, "hard" kill them at once, "gently" wait a
        little, then kill them and report them.
        """
        env: dict[str, str] = {}
        if fault:
            env = fault.environment()
            env |= {"FAULT_ROOT": self.home, "FAULT_CONTROL": os.path.join(self.folder, "control")}
        if self.numbers:
            env = {"FAULT_MODE": "off", "FAULT_INODES": self.numbers, "FAULT_BOOT": self.numbers + "-boot", **env}
        if record:
            env |= {"FAULT_LOG": self.log, "FAULT_WATCH": self.outside, "FAULT_CHILDREN": "1"}
        request: dict[str, Any] = {
            "what": what, "home": self.home, "outside": self.outside, "output": self.output, "env": env,
            "limit": self.scenario.limit, "sweep": sweep,
        }  # fmt: skip
        if fault and fault.mode == "ever":
            request["patience"] = self.scenario.patience
        return self.server.run(request)

    def disguise(self, numbers: bytes) -> None:
        """The machine was started again: from now on the boot id is another; files keep the inode numbers they had."""
        self.numbers = os.path.join(self.folder, "numbers")
        with open(self.numbers, "wb") as file:
            file.write(numbers)
        with open(self.numbers + "-boot", "w", encoding="ascii") as file:
            file.write(f"{uuid.uuid4()}\n")

    def printed(self) -> str:
        try:
            with open(self.output, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""


class Bench:
    """Everything that the cases of one scenario share."""

    def __init__(self, scenario: str, cores: int | None = None) -> None:
        self.scenario = load(scenario)
        self.folder = work_folder()
        self.base = os.path.join(self.folder, "base")
        os.makedirs(os.path.join(self.base, "home"), 0o700)
        open(os.path.join(self.base, "outside"), "w").close()
        self.scenario.make(os.path.join(self.base, "home"), os.path.join(self.base, "outside"))
        self.cores = cores or os.cpu_count() or 1
        self._servers: queue.SimpleQueue[Server] = queue.SimpleQueue()
        for _ in range(self.cores):
            self._servers.put(Server(scenario))
        self._numbers = iter(range(1, 1 << 60))
        self._lock = threading.Lock()
        self._kept = 0
        try:
            self._warm()
        except BaseException:
            self.close()
            raise

    def _warm(self) -> None:
        server = self._servers.get()
        case = Case(server, self.scenario, self.base, self.base)
        try:
            run = case.run("warm", sweep="gently")
        finally:
            self._servers.put(server)
        if run.exit != 0 or run.hung:
            raise RuntimeError(f"the first run, without any fault, ended with {run.exit}: {case.printed()[-2000:]}")

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the servers and remove all that was not kept."""
        for _left in range(self.cores):
            self._servers.get().close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def case(self) -> Iterator[Case]:
        """A fresh case on a free server; its folder is removed at the end unless `keep` has taken it away."""
        with self._lock:
            folder = os.path.join(self.folder, f"case-{next(self._numbers)}")
        server = self._servers.get()
        try:
            os.mkdir(folder, 0o700)
            yield Case(server, self.scenario, folder, self.base)
        finally:
            self._servers.put(server)
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, case: Case, name: str) -> str:
        """Take the folder of a case to where findings are kept; "" when enough are kept already."""
        if self._kept >= MOST_KEPT:
            return ""
        self._kept += 1
        target = os.path.join(kept_folder(), name.replace("/", "_").replace(" ", "_"))
        shutil.rmtree(target, ignore_errors=True)
        copy_tree(case.folder, target)
        return target

    def map(self, work: Callable[[Any], T], items: Iterable[Any]) -> Iterator[T]:
        """`work` of each item, on all servers, in no particular order; items are drawn only as servers become free."""
        source = iter(items)
        with ThreadPoolExecutor(self.cores) as pool:
            running: set[Future[T]] = set()
            while True:
                while len(running) < self.cores and (item := next(source, None)) is not None:
                    running.add(pool.submit(work, item))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()


class UntilMissed:
    """1, 2, 3 … with a stride, until runs end without having met their fault. Tell it of each run."""

    def __init__(self, stride: int = 1, first: int = 1) -> None:
        self._next = first
        self._stride = stride
        self._misses = 0

    def __iter__(self) -> Iterator[int]:
        while self._misses < _MISSES:
            yield self._next
            self._next += self._stride

    def tell(self, fired: int) -> None:
        """Threads make the number of operations vary a little from run to run, so one miss is not yet the end."""
        self._misses = 0 if fired else self._misses + 1
