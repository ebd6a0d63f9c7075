"""The projector: brings views and the index up to date behind the engine's back, never in its way.

A view is written at most once per interval that follows from what the last one cost. Views may be late, never wrong:
nothing is rendered while a batch is decided and not committed. The last view of a workflow is the driver's business.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from loguru import logger

from hybrid_engine.daemon.health import Health
from hybrid_engine.engine.run import Run
from hybrid_engine.engine.work import Work
from hybrid_engine.errors import HybridError
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import stamp
from hybrid_engine.model.waits import DUE, RETRY
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Syncer
from hybrid_engine.ports.views import Index, Views

TICK = 0.05
"""Seconds between looks at what has changed."""
SHORTEST = 0.2
"""Seconds between two views of the same thing, at least."""
SHARE = 20
"""A view may take one part in so many of the time."""
QUEUE_SHARE = 40
"""As SHARE, of the queue's view: its cost grows with the queue."""
SLICE = 0.003
"""So many seconds a tick renders states."""
MISSING_AT_ONCE = 200


class Projector:
    """`engine.watching.Watcher`. `about` is what the engine says of itself, `running` tells the attempts under way."""

    def __init__(
        self,
        views: Views,
        index: Index,
        background: Syncer,
        reactor: Reactor,
        clock: Callable[[], datetime],
        work: Work,
        health: Health,
        about: dict[str, Any],
        running: Callable[[], dict[str, Attempt]],
    ) -> None:
        self._views = views
        self._index = index
        self._background = background
        self._reactor = reactor
        self._clock = clock
        self._backlog = work.backlog
        self._runs = work.runs
        self._work = work
        self._health = health
        self._about = about
        self._running = running
        self._stale: dict[str, Run] = {}
        self._progressed: dict[str, Run] = {}
        self._with_progress: set[str] = set()
        self._queued: dict[str, None] = {}  # only jobs that wait, however many pass
        self._found: deque[str] = deque()
        self._ticking = False
        self._shown: tuple[int, int] | None = None  # what of backlog and health the queue's view shows
        self._queue_at = 0.0
        self._queue_writing = False
        health.changed = self._tick_later

    # --- told by the driver, after the commit in question

    def accepted(self, entry: Entry, job: Job) -> None:
        self._index.put_job(job)
        self._queued[job.id] = None
        logger.bind(workflow=job.id).debug("accepted {} from {}", job.template, job.source or job.trigger)
        self._tick_later()

    def changed(self, run: Run) -> None:
        self._stale[run.id] = run
        if run.id in self._with_progress:
            self._progressed[run.id] = run
        self._tick_later()

    def progressed(self, run: Run) -> None:
        self._progressed[run.id] = run
        self._tick_later()

    def resting(self, run: Run) -> None:
        self._stale.pop(run.id, None)
        self._index.put_state(run.state)
        self._write(run)

    def last_view(self, run: Run) -> bytes:
        return self._views.state_bytes(run.state)

    def finished(self, run: Run) -> None:
        self._stale.pop(run.id, None)
        self._queued.pop(run.id, None)
        self._progressed.pop(run.id, None)
        if run.id in self._with_progress:
            self._with_progress.discard(run.id)
            self._views.write_progress(run.id, {})
        self._index.put_state(run.state)
        state = run.state
        told = logger.bind(workflow=run.id)
        if state.status == "failed":
            told.warning("{} failed: {}", state.template, (state.error or {}).get("message"))
        else:
            told.debug("{} {}", state.template, state.status)
        self._tick_later()

    def removed(self, workflow: str) -> None:
        self._stale.pop(workflow, None)
        self._index.remove(workflow)
        logger.bind(workflow=workflow).warning("its folder was removed by somebody: it is no more")
        self._tick_later()

    def stuck(self, workflow: str, error: BaseException) -> None:
        self._stale.pop(workflow, None)  # what is decided of it and never committed must not be shown
        unforeseen = None if isinstance(error, HybridError | OSError) else error
        logger.bind(workflow=workflow).opt(exception=unforeseen).error("it cannot go on; the others do: {}", error)
        self._health.problem(f"workflow {workflow}", str(error))

    def disk(self, error: BaseException | None) -> None:
        self._health.disk(error)

    def short_of(self, error: OSError, attempt: Attempt) -> None:
        self._health.short_of(error, attempt)

    # --- told by others

    def found_queued(self, workflow: str) -> None:
        """A job that was found in the queue at the start: whoever accepted it may not have told the index."""
        self._found.append(workflow)
        self._queued[workflow] = None

    def restore_views(self) -> None:
        """Views that somebody removed come back, also when nothing happens that would change them."""
        if not self._views.has_queue():
            self._shown = None
        for run in self._runs.values():
            if run.state.seq > 1 and not self._views.has_state(run.id):
                self.changed(run)
        self._tick_later()

    # --- ticks

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._reactor.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        end = self._reactor.monotonic() + SLICE
        self._show_runs(end)
        self._show_progress()
        self._show_queued(end)
        self._show_queue()
        if self._stale or self._queued or self._progressed or self._shown != self._state_of_queue():
            self._tick_later()

    def _show_runs(self, end: float) -> None:
        for run in list(self._stale.values()):
            now = self._reactor.monotonic()
            if now > end:
                return
            if run.id not in self._runs:
                del self._stale[run.id]
            elif run.view_at <= now and not run.events:
                del self._stale[run.id]
                self._index.put_state(run.state)
                self._write(run)
                cost = self._reactor.monotonic() - now
                run.view_at = now + max(SHORTEST, SHARE * cost)

    def _write(self, run: Run) -> None:
        try:
            self._views.write_state(run.id, self._views.state_bytes(run.state))
            self._views.grown(run.state)
        except OSError as error:
            self._health.disk(error)
            self._stale[run.id] = run

    def _show_progress(self) -> None:
        progressed, self._progressed = self._progressed, {}
        for run in progressed.values():
            if run.id not in self._runs:
                continue
            try:
                self._views.write_progress(run.id, run.progress)
                self._with_progress.add(run.id)
            except OSError as error:
                self._health.disk(error)

    def _show_queued(self, end: float) -> None:
        """First views of jobs that wait, while there is nothing better to do: nothing else was shown just now."""
        if self._stale or not self._background.idle:
            return
        if self._found:
            found = [self._found.popleft() for _ in range(min(MISSING_AT_ONCE, len(self._found)))]
            self._background.submit(lambda: self._index.put_missing(found), lambda error: None)
        while self._queued and self._reactor.monotonic() < end:
            workflow = next(iter(self._queued))
            del self._queued[workflow]
            if workflow in self._backlog and workflow not in self._runs:
                try:
                    self._views.write_queued(workflow)
                except (OSError, HybridError) as error:  # a view: it comes when the workflow starts
                    logger.debug("no first view: {}", error)

    def _state_of_queue(self) -> tuple[int, int]:
        return self._backlog.changed, self._health.changes

    def _show_queue(self) -> None:
        now = self._reactor.monotonic()
        if not (self._queue_writing or self._queue_at > now or self._shown == self._state_of_queue()):
            self.write_queue()

    def write_queue(self, engine: bool = True) -> None:
        """Bring `queue-state.json` up to date. The lines are made here, and sorted and joined in a thread, which must
        not look at entries: they change meanwhile."""
        self._queue_writing = True
        self._shown = self._state_of_queue()
        start = self._reactor.monotonic()
        for entry in self._backlog.unrendered.values():
            entry.line = (_status(entry), self._views.queue_line(entry))
        self._backlog.unrendered.clear()
        found = [(entry.name, entry.line) for entry in self._backlog.entries.values() if entry.line]
        about = self._engine() if engine else None
        updated_at = stamp(self._clock())

        def work() -> None:
            found.sort()
            counts = Counter(status for _, (status, _) in found)
            self._views.write_queue([line for _, (_, line) in found], counts, updated_at, about)

        def done(error: BaseException | None) -> None:
            self._queue_writing = False
            end = self._reactor.monotonic()
            self._queue_at = end + max(SHORTEST, QUEUE_SHARE * (end - start))
            if error is not None:
                self._shown = None
                self._health.disk(error)

        self._background.submit(work, done)

    def _engine(self) -> dict[str, Any]:
        running = [
            {"workflow": a.workflow, "step": a.step, "attempt": a.number, "since": a.started_at}
            for a in self._running().values()
        ]
        pools = {name: sorted(holders) for name, holders in self._work.pools.holders.items() if holders}
        return {
            **self._about,
            "slots": self._work.slots.limit,
            "running": running,
            "pools": pools,
            "problems": [f"{name}: {text}" for name, text in self._health.problems.items()],
        }


def _status(entry: Entry) -> str:
    """The status as `queue-state.json` counts it."""
    kind = entry.waits_for.kind if entry.waits_for is not None else None
    if entry.status == "queued" and kind == DUE:
        return "delayed"
    if entry.status == "running" and kind == RETRY:
        return "retrying"
    return entry.status
