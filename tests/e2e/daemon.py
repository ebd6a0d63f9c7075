"""A real daemon in a home, for tests: started as a person starts it, waited for by what it does, never by the clock.

`Daemon` starts, stops and kills; `Gate` lets a test hold a step at a known point and let it go on.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hybrid_engine.client import Client
from hybrid_engine.files.layout import Layout

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


def run(home: str, *argv: str, timeout: float = 60.0, **env: str) -> subprocess.CompletedProcess[str]:
    """One whole `hybrid` command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hybrid_engine.cli.main", *argv],
        env=environment(home, env),
        cwd=home if os.path.isdir(home) else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def environment(home: str, more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "HYBRID_HOME": home, **more}


def with_command(folder: Path) -> dict[str, str]:
    """The environment of a person who has `hybrid` on the path; the command itself is made in `folder`."""
    command = folder / "bin" / "hybrid"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hybrid_engine.cli.main "$@"\n')
    command.chmod(0o700)
    path = f"{command.parent}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}


def until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """Wait until `condition()` is true, and return what it gave. For what gives no notice; else wait for the notice."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.005)
    return found


class Daemon:
    """The daemon of one home. As a context manager it is stopped at the end, its steps too."""

    def __init__(self, home: Layout | str, **env: str) -> None:
        self.home = home if isinstance(home, str) else home.home
        self.env = env
        self.pid: int | None = None

    def start(self, *argv: str) -> Self:
        """`hybrid start --detach`: returns when jobs are taken."""
        done = run(self.home, "start", "--detach", *argv, **self.env)
        assert done.returncode == 0, done.stderr
        self.pid = int(done.stderr.rsplit("pid ", 1)[1])
        return self

    def run_until_idle(self, *argv: str, timeout: float = 120.0) -> str:
        """`hybrid start --until-idle` in the foreground; returns what it logged."""
        done = run(self.home, "start", "--until-idle", *argv, timeout=timeout, **self.env)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone. Its steps go on."""
        self._send(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, as `hybrid stop` does, and wait until it is gone. Its steps go on."""
        self._send(signal.SIGTERM)

    def wait(self, timeout: float = PATIENCE) -> None:
        """Wait until it has ended by itself."""
        self._send(0, timeout)

    def freeze(self) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.pid is not None
        os.kill(self.pid, signal.SIGCONT)

    def _send(self, number: int, timeout: float = PATIENCE) -> None:
        pid, self.pid = self.pid, None
        assert pid is not None, "no daemon was started"
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if number:
                signal.pidfd_send_signal(descriptor, number)
            assert select.select([descriptor], [], [], timeout)[0], f"the daemon still runs after {timeout:g} s"
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    @property
    def client(self) -> Client:
        return Client(self.home)

    def __enter__(self) -> Self:
        return self if self.pid is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.pid is not None:
            self.stop()


class Gate:
    """Holds a step. In the step: `echo > "$GATE.in"; read _ < "$GATE.out"`; in the test: `wait()`, then `open()`.

    Two named pipes: opening one waits in the kernel until the other side has come, so nobody has to look twice.
    """

    def __init__(self, folder: Path | str, name: str = "gate") -> None:
        self.path = os.path.join(str(folder), name)
        self._held: list[int] = []
        for suffix in (".in", ".out"):
            os.mkfifo(self.path + suffix, 0o600)

    @property
    def hold(self) -> str:
        """The shell commands with which a step announces itself and waits."""
        return f"echo > '{self.path}.in'; read -r _ < '{self.path}.out'"

    def wait(self, timeout: float = PATIENCE) -> None:
        """Until a step stands before the gate."""
        descriptor = os.open(self.path + ".in", os.O_RDONLY | os.O_NONBLOCK)
        try:
            assert select.select([descriptor], [], [], timeout)[0], f"no step came to the gate within {timeout:g} s"
            assert os.read(descriptor, 1)
        finally:
            os.close(descriptor)

    def open(self) -> None:
        """Let the step go on."""
        until(self._opened, "a step waits at the gate")

    def _opened(self) -> bool:
        try:
            descriptor = os.open(self.path + ".out", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False  # the step has announced itself and is about to wait
        os.write(descriptor, b"go\n")
        os.close(descriptor)
        return True
