"""The warm pool: worker processes that call Python functions.

One call at a time each; a worker that hangs or dies costs only the attempt it was making. Workers are started when
there is a call and no idle one, and retire after a while without work. Those of an earlier engine are found by their
lease files.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from hybrid_engine.execution import leases, processes
from hybrid_engine.execution.host import Host
from hybrid_engine.execution.worker_channel import Worker, remove_lease
from hybrid_engine.files import atomic


class WorkerPool:
    """All workers of this engine."""

    def __init__(self, host: Host, idle_seconds: float) -> None:
        self.workers: dict[int, Worker] = {}
        self._host = host
        self._reactor = host.reactor
        self._folder = host.layout.workers
        self._idle_seconds = idle_seconds
        self._idle: list[Worker] = []
        self._number = 0
        self._retiring = False

    def take(self) -> Worker:
        """An idle worker, or a fresh one. OSError when none can be started now."""
        return self._idle.pop() if self._idle else self.start()

    def start(self) -> Worker:
        """A fresh worker."""
        atomic.make_folder(self._folder)
        worker = Worker(self._host, self._free_lease(), self._gone)
        self.workers[worker.pid] = worker
        return worker

    def _free_lease(self) -> str:
        """A name that nobody uses: an earlier engine of the same pid, as in a container, may have left workers."""
        while True:
            self._number += 1
            lease = os.path.join(self._folder, f"{os.getpid()}-{self._number}")
            if not os.path.lexists(lease) and not os.path.lexists(f"{lease}.stderr"):
                return lease

    def release(self, worker: Worker) -> None:
        """The worker has answered and waits for work."""
        worker.idle_since = self._reactor.monotonic()
        self._idle.append(worker)
        if not self._retiring:
            self._retiring = True
            self._reactor.call_later(self._idle_seconds, self._retire)

    def close(self) -> None:
        """Leave the busy ones to their work; the idle ones may go."""
        for worker in list(self.workers.values()):
            if worker.call is None:
                worker.dismiss()
            worker.abandon()

    def _gone(self, worker: Worker) -> None:
        self.workers.pop(worker.pid, None)
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.call is None:
            remove_lease(worker.lease)  # else when nothing of the call is left
            processes.signal_group(worker.pid, signal.SIGKILL)  # what its functions left running

    def _retire(self) -> None:
        self._retiring = False
        limit = self._reactor.monotonic() - self._idle_seconds
        for worker in [worker for worker in self._idle if worker.idle_since <= limit]:
            self._idle.remove(worker)
            worker.dismiss()
        if self._idle:
            self._retiring = True
            self._reactor.call_later(self._idle_seconds, self._retire)


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """What a worker of an earlier engine is calling, and since when on the boot clock; format 1 did not say that."""

    lease: str
    pid: int
    began: float | None


def earlier_calls(folder: str) -> dict[str, EarlierCall]:
    """What workers of earlier engines are calling, by attempt key. Leases that nobody holds are removed."""
    calling: dict[str, EarlierCall] = {}
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return calling
    for name in names:
        path = os.path.join(folder, name)
        if "." in name:
            continue
        if not leases.is_held(path):
            remove_lease(path)
            continue
        try:
            words = atomic.read(path, 1024).decode().split()
            if len(words) >= 2:
                calling[words[1]] = EarlierCall(path, int(words[0]), float(words[2]) if len(words) > 2 else None)
        except (OSError, ValueError):
            continue
    return calling
