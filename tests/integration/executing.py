"""Executors to test with: one in this process, and one in a process of its own that can be killed.

Nothing here sleeps: the reactor waits for what happens, and tests wait for the reactor.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hybrid_engine.daemon.reactor import EpollReactor
from hybrid_engine.execution import processes
from hybrid_engine.execution.local import LocalExecutor
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.stamps import stamp

PATIENCE = 20.0
ROOT = Path(__file__).parents[2]


def eventually(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """What `condition` gives when it is true at last. For what gives no notice; else wait for the notice."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        select.select([], [], [], 0.005)
    return found


def lives(pid: int) -> bool:
    """Does this process do anything any more?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pid_in(path: Path | str) -> int:
    """The pid that a step writes into a file."""
    return int(eventually(lambda: os.path.exists(path) and Path(path).read_text().strip(), f"a pid in {path}"))


class Bench:
    """A LocalExecutor in this process. `run` and `call` make an attempt and wait for its outcome."""

    def __init__(self, home: Layout) -> None:
        self.home = home
        self.errors: list[BaseException] = []
        self.reactor = EpollReactor(self.errors.append)
        self.executor = LocalExecutor(self.reactor, home, worker_idle=30.0)
        self.outcomes: dict[str, Outcome] = {}
        self.progress: list[tuple[float, str | None]] = []
        self.executor.listen(self._outcome, lambda w, s, n, percent, message: self.progress.append((percent, message)))
        self._number = 0

    def _outcome(self, outcome: Outcome) -> None:
        key = f"{outcome.workflow}/{outcome.step}/{outcome.number}"
        assert key not in self.outcomes, "one attempt, one outcome"
        self.outcomes[key] = outcome

    def attempt(self, **fields: Any) -> Attempt:
        """An attempt of a fresh step, in the folder of an accepted workflow."""
        self._number += 1
        os.makedirs(self.home.workflow("w1"), 0o700, exist_ok=True)
        given = {"started_at": stamp(datetime.now(UTC)), "grace": 0.3, **fields}
        return Attempt("w1", f"step{self._number}", 1, **given)

    def start(self, script: str | None = None, **fields: Any) -> Attempt:
        attempt = self.attempt(script=script, **fields)
        self.executor.submit(attempt)
        return attempt

    def wait(self, attempt: Attempt, timeout: float = PATIENCE) -> Outcome:
        self.turn(lambda: attempt.key in self.outcomes, f"the outcome of {attempt}", timeout)
        return self.outcomes[attempt.key]

    def turn(self, condition: Callable[[], Any], what: str = "", timeout: float = PATIENCE) -> Any:
        """Let the reactor turn until `condition` is true."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
            self.reactor.run_once(0.02)
        assert not self.errors, self.errors
        return found

    def run(self, script: str, timeout: float = PATIENCE, **fields: Any) -> Outcome:
        return self.wait(self.start(script, **fields), timeout)

    def call(self, function: str, timeout: float = PATIENCE, **arguments: Any) -> Outcome:
        return self.wait(self.start(function=function, arguments=arguments), timeout)

    def folder(self, attempt: Attempt) -> Path:
        return Path(self.home.attempt(attempt.workflow, attempt.step, attempt.number))

    def log(self, attempt: Attempt, stream: str = "stdout") -> str:
        return (self.folder(attempt) / f"{stream}.log").read_text()

    def close(self) -> None:
        """End what still runs, then the workers."""
        for key in list(self.executor.running):
            self.executor.cancel(key)
        self.turn(lambda: not self.executor.running, "all ends")
        self.executor.close()
        self.turn(lambda: not os.listdir(self.home.workers), "the workers go")
        eventually(lambda: not processes.strays([]), "all children are reaped")
        self.reactor.close()


class EngineProcess:
    """A LocalExecutor in a process of its own: what it is told, it does; what it hears, it tells."""

    def __init__(self, home: Layout) -> None:
        os.makedirs(home.workflow("w1"), 0o700, exist_ok=True)
        self.outcomes: dict[str, dict[str, Any]] = {}
        self._process = subprocess.Popen(
            [sys.executable, __file__, home.home],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self._buffer = b""
        self._read_until(lambda line: line.get("ready"))

    @property
    def pid(self) -> int:
        return self._process.pid

    def submit(self, attempt: Attempt) -> Attempt:
        self._tell("submit", asdict(attempt))
        self._read_until(lambda line: line.get("submitted") == attempt.key)
        return attempt

    def attach(self, attempt: Attempt) -> bool:
        self._tell("attach", asdict(attempt))
        return bool(self._read_until(lambda line: "attached" in line)["attached"])

    def cancel(self, attempt: Attempt) -> None:
        self._tell("cancel", attempt.key)

    def outcome(self, attempt: Attempt) -> dict[str, Any]:
        if attempt.key not in self.outcomes:
            self._read_until(lambda line: line.get("key") == attempt.key)
        return self.outcomes[attempt.key]

    def kill(self) -> None:
        self._process.kill()
        self._gone()

    def stop(self) -> None:
        """As a daemon that is told to stop: what runs is left to run."""
        self._tell("stop", None)
        self._gone()

    def _gone(self) -> None:
        self._process.wait(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _tell(self, what: str, about: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, about]).encode() + b"\n")
        self._process.stdin.flush()

    def _read_until(self, wanted: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        assert self._process.stdout is not None
        while True:
            while b"\n" in self._buffer:
                line, _, self._buffer = self._buffer.partition(b"\n")
                said = json.loads(line)
                if "key" in said:
                    self.outcomes[said["key"]] = said["outcome"]
                if wanted(said):
                    return dict(said)
            assert select.select([self._process.stdout], [], [], PATIENCE)[0], "the engine says nothing"
            data = os.read(self._process.stdout.fileno(), 65536)
            assert data, "the engine is gone"
            self._buffer += data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.kill()


def main() -> None:
    """The process of an EngineProcess."""
    processes.become_subreaper()
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    reactor = EpollReactor(lambda error: say({"error": repr(error)}))
    executor = LocalExecutor(reactor, Layout(sys.argv[1]), worker_idle=30.0)
    executor.listen(lambda o: say({"key": f"{o.workflow}/{o.step}/{o.number}", "outcome": asdict(o)}), lambda *_: None)
    orders = b""

    def obey() -> None:
        nonlocal orders
        data = os.read(0, 65536)
        orders += data
        while b"\n" in orders:
            line, _, orders = orders.partition(b"\n")
            what, about = json.loads(line)
            if what == "submit":
                attempt = Attempt(**about)
                executor.submit(attempt)
                say({"submitted": attempt.key})
            elif what == "attach":
                say({"attached": executor.attach(Attempt(**about))})
            elif what == "cancel":
                executor.cancel(about)
            else:
                executor.close()
                reactor.stop()
        if not data:
            reactor.stop()

    reactor.watch(0, obey)
    say({"ready": True})
    reactor.run()


def say(line: dict[str, Any]) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    main()
