"""The closer: the last view of a finished workflow, then out of the queue; tried again until the disk lets it."""

from __future__ import annotations

from collections.abc import Callable

from hybrid_engine.engine.run import Run
from hybrid_engine.engine.watching import Watcher
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Store, Syncer

FINISH_AGAIN = 1.0


class Closer:
    """`closing` names the workflows that have ended and are not yet out of the queue; `closed` hears when they are."""

    def __init__(
        self, store: Store, syncer: Syncer, reactor: Reactor, watcher: Watcher, closed: Callable[[Run], None]
    ) -> None:
        self.closing: set[str] = set()
        self._store = store
        self._syncer = syncer
        self._reactor = reactor
        self._watcher = watcher
        self._closed = closed

    def close(self, run: Run) -> None:
        """The last event is committed."""
        self.closing.add(run.id)
        run.journal.close()
        if run.viewing:  # an earlier view is being written: the last one must come after it
            run.wants_close = True
        else:
            self._finish(run)

    def view_written(self, run: Run) -> None:
        """An earlier view is out of the way."""
        if run.wants_close:
            run.wants_close = False
            self._finish(run)

    def _finish(self, run: Run) -> None:
        view = self._watcher.last_view(run)

        def work() -> None:
            self._store.finish(run.job, run.entry.name, view)

        def done(error: BaseException | None) -> None:
            if error is None:
                self.closing.discard(run.id)
                self._closed(run)
                return
            self._watcher.disk(error)
            self._reactor.call_later(FINISH_AGAIN, lambda: self._syncer.submit(work, done))

        self._syncer.submit(work, done)
