"""The recorder: the single writer of journals, and the one place where a fact becomes durable.

A commit is: one write of the whole lines → sync → *committed*. Only then are effects performed, results shown and
slots given back. One commit per workflow is under way at a time; different workflows commit side by side, because
the file system merges their syncs.

When the disk fails, nothing is acknowledged and nothing is lost: the events stay in memory and the commit is tried
again, into a fresh file when it was the sync that failed (a second sync of the same data proves nothing).
"""

from __future__ import annotations

from collections.abc import Callable

from hybrid_engine.engine.run import Run
from hybrid_engine.errors import JournalError
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Store, Syncer

RETRY_FIRST = 0.25
RETRY_MOST = 5.0


class Recorder:
    """`committed(run)` is called when what was recorded is durable; `trouble` when the disk fails, or works again."""

    def __init__(
        self,
        store: Store,
        syncer: Syncer,
        reactor: Reactor,
        committed: Callable[[Run], None],
        trouble: Callable[[BaseException | None], None],
        broken: Callable[[Run, BaseException], None],
    ) -> None:
        self._store = store
        self._syncer = syncer
        self._reactor = reactor
        self._committed = committed
        self._trouble = trouble
        self._broken = broken
        self._failing: dict[str, float] = {}

    def commit(self, run: Run, *, alone: bool) -> None:
        """Write and sync `run.events`. `alone`: nothing else waits, so the sync may as well be done in place."""
        run.committing = True
        try:
            run.journal.append(run.at, run.events)
        except Exception as error:
            self._later(run, error, rewrite=False)
            return
        if alone and self._syncer.idle:
            self._synced(run, _attempt(lambda: self._sync(run)))
        else:
            self._syncer.submit(lambda: self._sync(run), lambda error: self._synced(run, error))

    def _sync(self, run: Run) -> None:
        # COMMIT: journal – the facts of this turn exist from here on
        run.journal.sync()
        if run.is_new:
            # COMMIT: folder – the journal's name is durable; until here the queue's file was the record
            self._store.sync_workflow(run.id)

    def _synced(self, run: Run, error: BaseException | None) -> None:
        if error is not None:
            self._later(run, error, rewrite=True)
            return
        run.is_new = False
        run.committed = run.journal.size
        run.events = []
        if self._failing.pop(run.id, None) is not None and not self._failing:
            self._trouble(None)
        run.committing = False
        self._committed(run)

    def _later(self, run: Run, error: BaseException, *, rewrite: bool) -> None:
        if not isinstance(error, OSError) or isinstance(error, FileNotFoundError | NotADirectoryError):
            self._broken(run, error)  # a bug, or its folder is gone: no failing disk, and waiting would not help
            return
        self._trouble(error)
        delay = self._failing[run.id] = min(RETRY_MOST, self._failing.get(run.id, RETRY_FIRST / 2) * 2)
        self._reactor.call_later(delay, lambda: self._again(run, rewrite=rewrite))

    def _again(self, run: Run, *, rewrite: bool) -> None:
        if rewrite:
            try:
                run.journal.rewrite(run.committed)
            except JournalError as error:
                self._broken(run, error)
                return
            except OSError as error:
                self._later(run, error, rewrite=True)
                return
        self.commit(run, alone=False)


def _attempt(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
        return None
    except OSError as error:
        return error
