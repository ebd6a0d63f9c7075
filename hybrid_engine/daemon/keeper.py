"""The keeper: views, index and health. What the engine did is shown here, behind its back and never in its way.

A view is written at most once per interval that follows from what the last one cost; the last view of a workflow is
the driver's own business, because the workflow may not leave the queue before it. Views may be late, never wrong: a
state is rendered only between commits.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from loguru import logger

from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.run import Entry, Run
from hybrid_engine.errors import HybridError
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import stamp
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
SLICE = 0.005
"""So long a tick renders states."""
QUEUED_AT_ONCE = 50
PROBE = 1.0
FORGET_SHORTAGE = 10.0


class Keeper:
    """`engine.watching.Watcher`. `probe` writes and syncs something small: it tells whether the disk works again."""

    def __init__(
        self,
        views: Views,
        index: Index,
        syncer: Syncer,
        reactor: Reactor,
        clock: Callable[[], datetime],
        about: dict[str, Any],
        probe: Callable[[], None],
    ) -> None:
        self.problems: dict[str, str] = {}
        self.stopping = False
        self.driver: Driver | None = None
        self.reopener: Callable[[str], Run | None] = lambda workflow: None
        self.running: Callable[[], dict[str, Attempt]] = dict
        self._views = views
        self._index = index
        self._syncer = syncer
        self._reactor = reactor
        self._clock = clock
        self._about = about
        self._probe = probe
        self._stale: dict[str, Run] = {}
        self._queued: deque[str] = deque()
        self._commits_seen = -1
        self._ticking = False
        self._queue_shown = -1  # the backlog's count of changes that the queue's view shows; -1: show it anew
        self._queue_at = 0.0
        self._queue_writing = False

    # --- told by the driver

    def changed(self, run: Run) -> None:
        self._stale[run.id] = run
        self._queue_shown = -1
        self._tick_later()

    def last_view(self, run: Run) -> bytes:
        return self._views.state_bytes(run.state)

    def finished(self, run: Run) -> None:
        self._stale.pop(run.id, None)
        self._index.put_state(run.state)
        state = run.state
        if state.status == "failed":
            logger.bind(workflow=run.id).warning("{} failed: {}", state.template, (state.error or {}).get("message"))
        self._tick_later()

    def reopen(self, workflow: str) -> Run | None:
        return self.reopener(workflow)

    def stuck(self, workflow: str, error: BaseException) -> None:
        unforeseen = None if isinstance(error, HybridError | OSError) else error
        logger.bind(workflow=workflow).opt(exception=unforeseen).error("it cannot go on; the others do: {}", error)
        self.problem(f"workflow {workflow}", str(error))

    def disk(self, error: BaseException | None) -> None:
        if error is None or "disk" in self.problems:
            return
        text = getattr(error, "strerror", None) or str(error)
        self.problems["disk"] = f"{text}, since {stamp(self._clock())}; nothing new is started until it works again"
        logger.error("the disk fails ({}): nothing is lost, nothing new is started until it works again", error)
        self._let_work()
        self._reactor.call_later(PROBE, self._probe_disk)
        self._queue_shown = -1
        self._tick_later()

    def short_of(self, error: OSError, attempt: Attempt) -> None:
        if "machine" not in self.problems:
            logger.bind(workflow=attempt.workflow, step=attempt.step, attempt=attempt.number).warning(
                "cannot be begun now and is tried again: {}", error
            )
        self.problems["machine"] = f"an attempt could not be begun at {stamp(self._clock())}: {error}"
        self._reactor.call_later(FORGET_SHORTAGE, lambda: self._recover("machine"))

    def _recover(self, name: str) -> None:
        self.problem(name, None)

    # --- told by others

    def queued(self, job: Job) -> None:
        """A job was accepted."""
        self._index.put_job(job)
        self._queued.append(job.id)
        self._tick_later()

    def found_queued(self, workflow: str) -> None:
        """A job that was found in the queue at the start: whoever accepted it may not have told the index."""
        self._queued.append(workflow)

    def problem(self, name: str, text: str | None) -> None:
        """Something is wrong with a part of the daemon, or, with None, well again."""
        if text is None:
            if self.problems.pop(name, None) is not None:
                logger.info("{} works again", name)
        elif self.problems.get(name) != text:
            self.problems[name] = text
            logger.error("{}: {}", name, text)
        self._queue_shown = -1
        self._tick_later()

    def space(self, free: int, wanted: int) -> None:
        """How much room there is: with less than is wanted nothing new is started, so that what runs can end."""
        if free >= wanted:
            self.problem("space", None)
        elif "space" not in self.problems:
            self.problem("space", f"{free} bytes are free, {wanted} are wanted; nothing new is started until then")
        self._let_work()

    def restore_views(self) -> None:
        """Views that somebody removed come back, also when nothing happens that would change them."""
        driver = self.driver
        if driver is None:
            return
        if not self._views.has_queue():
            self._queue_shown = -1
            self._tick_later()
        for run in driver.runs.values():
            if not run.is_new and not self._views.has_state(run.id):
                self.changed(run)

    def _let_work(self) -> None:
        if self.driver is not None and not self.stopping:
            self.driver.accepting_work = not ({"disk", "space"} & self.problems.keys())

    def _probe_disk(self) -> None:
        def done(error: BaseException | None) -> None:
            if error is not None:
                self._reactor.call_later(PROBE, self._probe_disk)
                return
            logger.info("the disk works again")
            self.problems.pop("disk", None)
            self._let_work()
            self._queue_shown = -1
            self._tick_later()

        self._syncer.submit(self._probe, done)

    # --- ticks

    def _tick_later(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._reactor.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        driver = self.driver
        if driver is None:
            return
        self._show_runs(driver)
        self._show_queued(driver)
        self._show_queue(driver)
        if self._stale or self._queued or self._queue_shown != driver.backlog.changed:
            self._tick_later()

    def _show_runs(self, driver: Driver) -> None:
        now = self._reactor.monotonic()
        for run in list(self._stale.values()):
            if run.id in driver.closer.closing or run.id not in driver.runs:
                del self._stale[run.id]
            elif run.view_at <= now and not run.committing and not run.viewing:
                del self._stale[run.id]
                self._write(driver, run, now)
                if self._reactor.monotonic() - now > SLICE:
                    return

    def _write(self, driver: Driver, run: Run, start: float) -> None:
        data = self._views.state_bytes(run.state)
        self._index.put_state(run.state)
        run.viewing = True

        def done(error: BaseException | None) -> None:
            run.viewing = False
            end = self._reactor.monotonic()
            run.view_at = end + max(SHORTEST, SHARE * (end - start))
            if error is not None and not isinstance(error, FileNotFoundError):
                self.disk(error)
                self.changed(run)
            driver.closer.view_written(run)

        self._syncer.submit(lambda: self._views.write_state(run.id, data), done)

    def _show_queued(self, driver: Driver) -> None:
        """First views of jobs that wait, while there is nothing better to do: no commit since the last tick."""
        quiet, self._commits_seen = driver.commits == self._commits_seen, driver.commits
        if not (quiet and self._queued and self._syncer.idle):
            return
        batch = [self._queued.popleft() for _ in range(min(QUEUED_AT_ONCE, len(self._queued)))]
        waiting = [workflow for workflow in batch if workflow in driver.backlog and workflow not in driver.runs]
        if waiting:
            self._syncer.submit(lambda: self._write_queued(waiting), lambda error: None)

    def _write_queued(self, workflows: list[str]) -> None:
        try:
            self._index.put_missing(workflows)
            for workflow in workflows:
                self._views.write_queued(workflow)
        except (OSError, HybridError) as error:  # views: they come back when the workflows start
            logger.debug("no first views: {}", error)

    def _show_queue(self, driver: Driver) -> None:
        now = self._reactor.monotonic()
        if self._queue_writing or self._queue_at > now or self._queue_shown == driver.backlog.changed:
            return
        self.write_queue(driver)

    def write_queue(self, driver: Driver, engine: bool = True) -> None:
        """Bring `queue-state.json` up to date. The lines are made here, sorted and joined in a thread."""
        self._queue_writing = True
        self._queue_shown = driver.backlog.changed
        start = self._reactor.monotonic()
        for entry in driver.backlog.unrendered.values():
            entry.line = (_status(entry), self._views.queue_line(entry))
        driver.backlog.unrendered.clear()
        entries = list(driver.backlog.entries.values())
        about = self._engine(driver) if engine else None
        updated_at = stamp(self._clock())

        def work() -> None:
            lines = sorted((entry.name, *entry.line) for entry in entries if entry.line)
            counts = Counter(status for _, status, _ in lines)
            self._views.write_queue([line for *_, line in lines], counts, updated_at, about)

        def done(error: BaseException | None) -> None:
            self._queue_writing = False
            end = self._reactor.monotonic()
            self._queue_at = end + max(SHORTEST, QUEUE_SHARE * (end - start))
            if error is not None:
                self._queue_shown = -1
                self.disk(error)

        self._syncer.submit(work, done)

    def _engine(self, driver: Driver) -> dict[str, Any]:
        running = [
            {"workflow": a.workflow, "step": a.step, "attempt": a.number, "since": a.started_at}
            for a in self.running().values()
        ]
        pools = {name: sorted(holders) for name, holders in driver.pools.holders.items() if holders}
        return {
            **self._about,
            "slots": driver.slots.limit,
            "running": running,
            "pools": pools,
            "problems": [f"{name}: {text}" for name, text in self.problems.items()],
        }


def _status(entry: Entry) -> str:
    """The status as `queue-state.json` counts it."""
    waits = entry.waits_for or ""
    if entry.status == "queued" and waits.startswith("due time"):
        return "delayed"
    if entry.status == "running" and waits.startswith("retry at"):
        return "retrying"
    return entry.status
