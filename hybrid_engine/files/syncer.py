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

Done = Callable[[BaseException | None], None]


class SyncPool:
    """Threads are started with the first work. `close` finishes what was submitted."""

    def __init__(self, reactor: Reactor, threads: int, name: str = "sync") -> None:
        self._reactor = reactor
        self._size = max(1, threads)
        self._name = name
        self._work: SimpleQueue[tuple[Callable[[], None], Done] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way = 0

    @property
    def idle(self) -> bool:
        return self._under_way == 0

    def submit(self, work: Callable[[], None], done: Done) -> None:
        """Do `work` in a thread, then call `done(error or None)` in the reactor's."""
        if len(self._threads) < self._size and self._under_way >= len(self._threads):
            thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._under_way += 1
        self._work.put((work, done))

    def close(self) -> None:
        """Wait until all that was submitted is done; the reactor must still call what was posted."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _serve(self) -> None:
        while (item := self._work.get()) is not None:
            work, done = item
            error: BaseException | None = None
            try:
                work()
            except BaseException as caught:  # whatever it is, the thread must live and the reactor must hear of it
                error = caught
            self._reactor.post(partial(self._tell, done, error))

    def _tell(self, done: Done, error: BaseException | None) -> None:
        self._under_way -= 1
        done(error)
