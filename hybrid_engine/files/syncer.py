"""A few threads that do durable work, so that the reactor never waits for the disk.

The file system merges syncs that are under way together, so a handful of threads commits several times faster than
one. What a piece of work means is not known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Task


class SyncPool:
    """Threads are started with the first work. `close` finishes what was submitted."""

    def __init__(self, reactor: Reactor, threads: int) -> None:
        self._reactor = reactor
        self._size = max(1, threads)
        self._work: SimpleQueue[tuple[Task, ...] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way = 0

    @property
    def idle(self) -> bool:
        return self._under_way == 0

    def submit(self, *work: Task) -> None:
        """Do `work` in a thread, piece after piece until one fails; each `done(error or None)` in the reactor's."""
        if len(self._threads) < self._size and self._under_way >= len(self._threads):
            thread = threading.Thread(target=self._serve, name=f"sync-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._under_way += 1
        self._work.put(work)

    def close(self) -> None:
        """Wait until all that was submitted is done; the reactor must still call what was posted."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            for number, (piece, done) in enumerate(work, 1):
                error = _outcome_of(piece)
                is_last = error is not None or number == len(work)
                self._reactor.post(partial(self._tell, done, error, is_last))
                if is_last:
                    break

    def _tell(self, done: Callable[[BaseException | None], None], error: BaseException | None, is_last: bool) -> None:
        self._under_way -= is_last
        done(error)


def _outcome_of(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
        return None
    except BaseException as error:  # whatever it is, the thread must live and the reactor must hear of it
        return error
