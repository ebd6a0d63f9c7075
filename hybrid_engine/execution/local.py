"""The local executor: attempts on this machine, as `ports.execution.Executor` asks for them.

Joins shell attempts and function calls, gives each its environment, reads progress, and keeps the books of what runs.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from hybrid_engine.execution import processes, results
from hybrid_engine.execution.shell import ShellAttempt
from hybrid_engine.execution.workers import AdoptedCall, WorkerPool, earlier_workers
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.stamps import moment
from hybrid_engine.ports.execution import Listener, ProgressListener
from hybrid_engine.ports.reactor import Reactor

PROGRESS_EVERY = 0.5


class LocalExecutor:
    """`running` holds the attempts under way, by key. Steps make their files under `umask`, not under the engine's."""

    def __init__(
        self, reactor: Reactor, layout: Layout, worker_idle: float, umask: int = 0o022, boot: str | None = None
    ) -> None:
        self._reactor = reactor
        self._layout = layout
        self._umask = umask
        self._boot = boot
        self._base = dict(os.environ)
        self.running: dict[str, Attempt] = {}
        self._shells: dict[str, ShellAttempt] = {}
        self._adopted: dict[str, AdoptedCall] = {}
        self._earlier: dict[str, tuple[str, int]] | None = None
        self._outcome: Listener = lambda outcome: None
        self._progress: ProgressListener = lambda *_: None
        self._seen: dict[str, tuple[int, int]] = {}
        self._polling = False
        self._pool = WorkerPool(
            reactor, layout.workers, layout.functions, worker_idle, umask, self._strays, self._ended
        )

    def listen(self, outcome: Listener, progress: ProgressListener) -> None:
        self._outcome = outcome
        self._progress = progress

    def submit(self, attempt: Attempt) -> None:
        if attempt.key in self.running:
            return
        folder = self._folder(attempt)
        if attempt.script is not None:
            self._start_shell(attempt, folder)
        else:
            self._pool.submit(attempt, self._message(attempt, folder))
        self.running[attempt.key] = attempt
        self._poll_progress()

    def attach(self, attempt: Attempt) -> bool:
        if attempt.boot is not None and attempt.boot != self._boot:
            return False  # nothing of it lives, and of what it wrote nobody knows what reached the disk
        folder, remaining = self._folder(attempt), _remaining(attempt)
        if attempt.script is not None:
            shell = ShellAttempt(self._reactor, attempt, folder, self._strays, self._ended)
            if not shell.adopt(remaining):
                return False
            self._shells[attempt.key] = shell
        elif not self._attach_call(attempt, folder, remaining):
            return False
        self.running[attempt.key] = attempt
        self._poll_progress()
        return True

    def cancel(self, key: str) -> None:
        if (shell := self._shells.get(key)) is not None:
            shell.cancel()
        elif (adopted := self._adopted.get(key)) is not None:
            adopted.cancel()
        else:
            self._pool.cancel(key)

    def close(self) -> None:
        self._pool.close()

    # --- shell and functions

    def _start_shell(self, attempt: Attempt, folder: str) -> None:
        env = {**self._base, **self._variables(attempt, folder), **attempt.env}
        atomic.make_folder(self._layout.artifacts(attempt.workflow))
        shell = ShellAttempt(self._reactor, attempt, folder, self._strays, self._ended)
        shell.start(env, self._umask)
        self._shells[attempt.key] = shell

    def _message(self, attempt: Attempt, folder: str) -> dict[str, object]:
        return {
            "key": attempt.key,
            "function": attempt.function,
            "arguments": attempt.arguments,
            "env": {**self._variables(attempt, folder), **attempt.env},
            "folder": folder,
        }

    def _variables(self, attempt: Attempt, folder: str) -> dict[str, str]:
        return {
            "HYBRID_HOME": self._layout.home,
            "HYBRID_WORKFLOW": attempt.workflow,
            "HYBRID_STEP": attempt.step,
            "HYBRID_ATTEMPT": str(attempt.number),
            "HYBRID_KEY": attempt.idempotency_key,
            "HYBRID_OUTPUT": os.path.join(folder, "output"),
            "HYBRID_PROGRESS": os.path.join(folder, "progress"),
            "HYBRID_ARTIFACTS": self._layout.artifacts(attempt.workflow),
        }

    def _attach_call(self, attempt: Attempt, folder: str, remaining: float | None) -> bool:
        if self._earlier is None:
            self._earlier = earlier_workers(self._layout.workers)
        found = self._earlier.pop(attempt.key, None)
        if found is not None:
            try:
                call = AdoptedCall(self._reactor, attempt, folder, *found, remaining, self._ended)
            except ProcessLookupError:
                pass  # it went between the look and the watch: its exit file tells
            else:
                self._adopted[attempt.key] = call
                return True
        outcome = results.of_exit_file(attempt, folder)
        if outcome is None:
            return False
        self._reactor.post(lambda: self._ended(outcome))
        return True

    # --- the books

    def _folder(self, attempt: Attempt) -> str:
        return self._layout.attempt(attempt.workflow, attempt.step, attempt.number)

    def _ended(self, outcome: Outcome) -> None:
        key = f"{outcome.workflow}/{outcome.step}/{outcome.number}"
        for book in (self.running, self._shells, self._adopted, self._seen):
            book.pop(key, None)
        self._outcome(outcome)

    def _strays(self, key: str) -> list[int]:
        """Children that came back to us and belong to this attempt."""
        known = set(self._pool.workers)
        known.update(shell.pid for shell in self._shells.values() if shell.pid is not None)
        return [pid for pid in processes.strays(known) if processes.belongs_to(pid, key)]

    def _poll_progress(self) -> None:
        if not self._polling:
            self._polling = True
            self._reactor.call_later(PROGRESS_EVERY, self._read_progress)

    def _read_progress(self) -> None:
        self._polling = False
        for key, attempt in list(self.running.items()):
            path = os.path.join(self._folder(attempt), "progress")
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


def _remaining(attempt: Attempt) -> float | None:
    """What is left of the time-out after a restart. A clock that was set back or far ahead costs at most all of it."""
    if attempt.timeout is None or attempt.started_at is None:
        return attempt.timeout
    gone = (datetime.now(UTC) - moment(attempt.started_at)).total_seconds()
    return min(attempt.timeout, max(0.0, attempt.timeout - max(0.0, gone)))
