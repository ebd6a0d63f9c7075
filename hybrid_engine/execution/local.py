"""The local executor: attempts on this machine, as `ports.execution.Executor` asks for them.

Chooses the runner of an attempt by its kind of work, reads progress, and keeps the books of what runs. How a kind of
work is started, taken over and ended is its runner's: one more kind is one more entry in the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from hybrid_engine.execution import results
from hybrid_engine.execution.calls import FunctionRunner
from hybrid_engine.execution.handles import Handle, Runner
from hybrid_engine.execution.host import Host, boot_seconds, wall_clock
from hybrid_engine.execution.shell import ShellRunner
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.ports.execution import Listener, ProgressListener
from hybrid_engine.ports.reactor import Reactor

PROGRESS_EVERY = 0.5


class LocalExecutor:
    """`running` holds the attempts under way, by key. Steps make their files under `umask`, not under the engine's."""

    def __init__(
        self,
        reactor: Reactor,
        layout: Layout,
        worker_idle: float,
        umask: int = 0o022,
        boot: str | None = None,
        clock: Callable[[], datetime] = wall_clock,
        boot_clock: Callable[[], float] = boot_seconds,
    ) -> None:
        self._reactor = reactor
        self._boot = boot
        self._host = Host(reactor, layout, umask, self._ended, clock, boot_clock)
        self._runners: dict[str, Runner] = {
            "shell": ShellRunner(self._host),
            "function": FunctionRunner(self._host, worker_idle),
        }
        self.running: dict[str, Attempt] = {}
        self._handles: dict[str, Handle] = {}
        self._outcome: Listener = lambda outcome: None
        self._progress: ProgressListener = lambda *_: None
        self._seen: dict[str, tuple[int, int]] = {}
        self._polling = False

    def listen(self, outcome: Listener, progress: ProgressListener) -> None:
        self._outcome = outcome
        self._progress = progress

    def submit(self, attempt: Attempt) -> None:
        if attempt.key not in self.running:
            self._note(self._runners[attempt.kind].start(attempt))

    def attach(self, attempt: Attempt) -> bool:
        if attempt.boot is not None and attempt.boot != self._boot:
            return False  # nothing of it lives, and of what it wrote nobody knows what reached the disk
        handle = self._runners[attempt.kind].adopt(attempt)
        if handle is None:
            return False
        self._note(handle)
        return True

    def cancel(self, key: str) -> None:
        handle = self._handles.get(key)
        if handle is not None:
            handle.cancel()

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()

    # --- the books

    def _note(self, handle: Handle) -> None:
        key = handle.attempt.key
        self._handles[key] = handle
        self.running[key] = handle.attempt
        self._poll_progress()

    def _ended(self, outcome: Outcome) -> None:
        key = outcome.key
        self.running.pop(key, None)
        self._handles.pop(key, None)
        self._seen.pop(key, None)
        self._outcome(outcome)

    def _poll_progress(self) -> None:
        if not self._polling:
            self._polling = True
            self._reactor.call_later(PROGRESS_EVERY, self._read_progress)

    def _read_progress(self) -> None:
        self._polling = False
        for key, attempt in list(self.running.items()):
            path = os.path.join(self._host.folder(attempt), "progress")
            try:
                status = os.stat(path)
            except OSError:
                continue
            seen = (status.st_mtime_ns, status.st_size)
            if self._seen.get(key) == seen:
                continue
            self._seen[key] = seen
            said = results.read_progress(path)
            if said is not None:
                self._progress(attempt.workflow, attempt.step, attempt.number, *said)
        if self.running:
            self._poll_progress()
