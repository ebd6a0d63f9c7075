"""The seams in memory: a disk, a reactor with a clock of its own, a syncer, an executor. No thread, no file, no sleep.

`Disk` and `World` outlive an engine as files and processes do; `MemoryEngine` is one life of an engine on them, put
together as bootstrap does it. Everything that may happen in any order (a sync that ends, an attempt that ends) happens
when the test says so. A fault is raised once for each that is in `Disk.faults`.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from builders import START

from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.recovery import Recovery
from hybrid_engine.engine.run import Entry, Run, Signal
from hybrid_engine.errors import JobError, JournalError
from hybrid_engine.files import journal as codec
from hybrid_engine.files import views
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.events import Event
from hybrid_engine.model.ids import parse_queue_name, queue_name
from hybrid_engine.model.job import Job
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.template import Template
from hybrid_engine.ports.execution import Listener, ProgressListener
from hybrid_engine.ports.storage import History, Store, Unfinished
from hybrid_engine.rules.transitions import fold

Work = Callable[[], None]
Done = Callable[[BaseException | None], None]

# --- the disk -------------------------------------------------------------------------------------------------------


@dataclass
class Written:
    """A file that is appended to: `data` is what was written, of which `synced` bytes are sure."""

    data: bytearray = field(default_factory=bytearray)
    synced: int = 0


class Disk:
    """What a home holds. `crash` is what a kill, or with `power` a power cut, makes of it."""

    def __init__(self) -> None:
        self.templates: dict[str, Template] = {}
        self.jobs: dict[str, Job] = {}
        self.queue: set[str] = set()
        self.journals: dict[str, Written] = {}
        self.states: dict[str, bytes] = {}
        self.signals: dict[str, dict[str, Signal]] = defaultdict(dict)
        self.quarantined: dict[str, str] = {}
        self.faults: deque[str] = deque()

    def accept(self, job: Job, template: Template) -> None:
        self.templates[template.version] = template
        self.jobs[job.id] = job
        self.queue.add(queue_name(job.priority, job.due_at, job.id))

    def fault(self, operation: str) -> None:
        """Raise when the next fault is one of this operation."""
        if self.faults and self.faults[0] == operation:
            self.faults.popleft()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def entries(self, workflow: str) -> list[codec.Entry]:
        """What is in a journal for sure."""
        written = self.journals.get(workflow, Written())
        return codec.parse(bytes(written.data[: written.synced])).entries

    def events(self, workflow: str) -> list[Event]:
        return [entry.event for entry in self.entries(workflow)]

    def state(self, workflow: str) -> WorkflowState | None:
        """What a journal adds up to."""
        return fold((entry.n, entry.at, entry.event) for entry in self.entries(workflow))

    def crash(self, keep: Callable[[int, int], int] = lambda least, most: most) -> None:
        """`keep(least, most)` chooses how many bytes of each journal are left, of which `least` are sure."""
        for written in self.journals.values():
            del written.data[keep(written.synced, len(written.data)) :]
            written.synced = len(written.data)
        self.faults.clear()


class MemoryJournal:
    """`ports.storage.Journal`."""

    def __init__(self, disk: Disk, workflow: str, n: int = 0, size: int = 0) -> None:
        self.n = n
        self.size = size
        self._disk = disk
        self._workflow = workflow

    @property
    def _written(self) -> Written:
        return self._disk.journals.setdefault(self._workflow, Written())

    def append(self, at: str, events: Sequence[Event]) -> None:
        data = codec.encode(self.n + 1, at, events)
        self._disk.fault("append")
        written = self._written
        assert len(written.data) == self.size, "somebody else has written here, or garbage is left"
        written.data += data
        self.size += len(data)
        self.n += len(events)

    def sync(self) -> None:
        self._disk.fault("sync")
        self._written.synced = len(self._written.data)

    def rewrite(self, keep: int) -> None:
        self._disk.fault("rewrite")
        written = self._written
        reading = codec.parse(bytes(written.data[:keep]))
        if reading.good != keep:
            raise JournalError(f"cannot be read back up to byte {keep}")
        self._disk.journals[self._workflow] = Written(written.data[:keep], keep)
        self.n, self.size = len(reading.entries), keep

    def close(self) -> None:
        pass


class MemoryStore:
    """`ports.storage.Store`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def unfinished(self) -> Iterator[Unfinished]:
        for name in sorted(self._disk.queue):
            parsed = parse_queue_name(name)
            assert parsed is not None
            yield Unfinished(name, parsed[2], parsed[2] in self._disk.journals, None)

    def forget(self, found: Unfinished) -> None:
        self._disk.queue.discard(found.name)

    def restore(self, found: Unfinished) -> Job:
        return self.job(found.workflow)

    def job(self, workflow: str, name: str | None = None) -> Job:
        if workflow not in self._disk.jobs:
            raise JobError(f"there is no job {workflow}", code="missing")
        return self._disk.jobs[workflow]

    def template(self, version: str, workflow: str) -> Template:
        return self._disk.templates[version]

    def new_journal(self, workflow: str) -> MemoryJournal:
        return MemoryJournal(self._disk, workflow)

    def history(self, workflow: str) -> History | None:
        if workflow not in self._disk.journals:
            return None
        written = self._disk.journals[workflow]
        reading = codec.parse(bytes(written.data))
        if reading.damage:
            raise JournalError(reading.damage)
        del written.data[reading.good :]
        written.synced = min(written.synced, reading.good)
        if not reading.entries:
            return None
        entries = [(entry.n, entry.at, entry.event) for entry in reading.entries]
        return History(entries, MemoryJournal(self._disk, workflow, len(entries), reading.good))

    def sync_workflow(self, workflow: str) -> None:
        self._disk.fault("sync_workflow")

    def requeue(self, job: Job) -> str:
        name = queue_name(job.priority, job.due_at, job.id)
        self._disk.queue.add(name)
        return name

    def finish(self, job: Job, name: str, view: bytes) -> None:
        self._disk.fault("finish")
        self._disk.states[job.id] = view
        self._disk.queue.discard(name)

    def drop_signal(self, workflow: str, name: str) -> None:
        self._disk.signals[workflow].pop(name, None)

    def quarantine(self, workflow: str, reason: str, name: str) -> None:
        self._disk.quarantined[workflow] = reason
        self._disk.queue.discard(name)


# --- the loop -------------------------------------------------------------------------------------------------------


class MemoryTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class MemoryReactor:
    """`ports.reactor.Reactor` on a clock that moves when it is told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.after_round: Callable[[], None] = lambda: None
        self._timers: list[tuple[float, int, MemoryTimer]] = []
        self._posted: deque[Callable[[], None]] = deque()
        self._numbers = count()

    def monotonic(self) -> float:
        return self.now

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        raise NotImplementedError("nothing in memory has a descriptor")

    def unwatch(self, fd: int) -> None:
        raise NotImplementedError("nothing in memory has a descriptor")

    def call_later(self, seconds: float, callback: Callable[[], None]) -> MemoryTimer:
        timer = MemoryTimer(callback)
        heapq.heappush(self._timers, (self.now + max(0.0, seconds), next(self._numbers), timer))
        return timer

    def post(self, callback: Callable[[], None]) -> None:
        self._posted.append(callback)

    def run(self) -> None:
        """All that can be done without time going on."""
        self.after_round()
        while self._posted:
            self._posted.popleft()()
            self.after_round()

    def advance(self, seconds: float) -> None:
        """Let time go on, and call what becomes due, each at its moment."""
        end = self.now + seconds
        self.run()
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
                self.run()
        self.now = end

    def next_timer(self) -> float | None:
        """Seconds until the next timer."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] - self.now if self._timers else None


class MemorySyncer:
    """`ports.storage.Syncer`: work is done when the test says so, in any order."""

    def __init__(self, reactor: MemoryReactor) -> None:
        self.pending: list[tuple[Work, Done]] = []
        self._reactor = reactor

    @property
    def idle(self) -> bool:
        return not self.pending

    def submit(self, work: Work, done: Done) -> None:
        self.pending.append((work, done))

    def do(self, which: int = 0) -> None:
        """One piece of work; its end is posted."""
        work, done = self.pending.pop(which)
        error: BaseException | None = None
        try:
            work()
        except BaseException as caught:
            error = caught
        self._reactor.post(lambda: done(error))


# --- attempts -------------------------------------------------------------------------------------------------------


@dataclass
class Process:
    """An attempt under way: `outcome` when it has ended and left word; `dead` when it has ended without."""

    attempt: Attempt
    outcome: Outcome | None = None
    dead: bool = False
    cancelled: bool = False

    @property
    def runs(self) -> bool:
        return self.outcome is None and not self.dead


class World:
    """The processes of all attempts ever made, which outlive an engine. `on_submit` may object to one."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.on_submit: Callable[[Attempt], None] = lambda attempt: None
        self.shortages = 0

    def running(self) -> list[Process]:
        return [process for process in self.processes.values() if process.runs]

    def ended(self) -> list[str]:
        """The keys of those that left word."""
        return [key for key, process in self.processes.items() if process.outcome is not None]


class MemoryExecutor:
    """`ports.execution.Executor`: attempts run until the test ends them."""

    def __init__(self, world: World, reactor: MemoryReactor) -> None:
        self.world = world
        self._reactor = reactor
        self._outcome: Listener = lambda outcome: None
        self._progress: ProgressListener = lambda *_: None
        self._known: set[str] = set()

    def listen(self, outcome: Listener, progress: ProgressListener) -> None:
        self._outcome, self._progress = outcome, progress

    def submit(self, attempt: Attempt) -> None:
        if attempt.key in self._known:
            return
        if self.world.shortages:
            self.world.shortages -= 1
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.world.on_submit(attempt)
        self._known.add(attempt.key)
        self.world.processes[attempt.key] = Process(attempt)

    def attach(self, attempt: Attempt) -> bool:
        process = self.world.processes.get(attempt.key)
        if process is None or process.dead:
            return False
        self._known.add(attempt.key)
        if process.outcome is not None:
            outcome = process.outcome
            self._reactor.post(lambda: self._outcome(outcome))
        return True

    def cancel(self, key: str) -> None:
        if key in self._known:
            self.world.processes[key].cancelled = True

    def close(self) -> None:
        pass

    # --- what tests do

    def end(self, key: str, kind: Any = "completed", output: Any = None, exit_code: int | None = None) -> None:
        """An attempt ends, and says so."""
        attempt = self.world.processes[key].attempt
        error = None if kind == "completed" else {"kind": kind, "message": f"it ended as {kind}"}
        outcome = Outcome(attempt.workflow, attempt.step, attempt.number, kind, output, exit_code, error)
        self.world.processes[key].outcome = outcome
        self._reactor.post(lambda: self._outcome(outcome))

    def say_again(self, key: str) -> None:
        """Results are pushed at least once: this one comes once more, perhaps much later."""
        outcome = self.world.processes[key].outcome
        assert outcome is not None
        self._reactor.post(lambda: self._outcome(outcome))

    def progress(self, key: str, percent: float) -> None:
        attempt = self.world.processes[key].attempt
        self._reactor.post(lambda: self._progress(attempt.workflow, attempt.step, attempt.number, percent, None))


# --- an engine ------------------------------------------------------------------------------------------------------


class MemoryWatcher:
    """`engine.watching.Watcher`, which does as the keeper does: about a disk that fails, and with views."""

    def __init__(self, disk: Disk, syncer: MemorySyncer) -> None:
        self._disk = disk
        self._syncer = syncer
        self.driver: Driver | None = None
        self.recovery: Recovery | None = None
        self.stuck_ones: dict[str, BaseException] = {}
        self.ended: list[str] = []

    def changed(self, run: Run) -> None:
        """Write a view. While it is on its way, no other one of the same workflow is."""
        assert not run.committing, "a view would show what is not committed"
        if run.viewing:
            return
        view = self.last_view(run)
        run.viewing = True

        def done(error: BaseException | None) -> None:
            run.viewing = False
            assert self.driver is not None
            self.driver.closer.view_written(run)

        self._syncer.submit(lambda: self._disk.states.update({run.id: view}), done)

    def last_view(self, run: Run) -> bytes:
        return views.render_state(views.state_record(run.state))

    def finished(self, run: Run) -> None:
        self.ended.append(run.id)

    def reopen(self, workflow: str) -> Run | None:
        assert self.recovery is not None
        return self.recovery.reopen(workflow)

    def stuck(self, workflow: str, error: BaseException) -> None:
        self.stuck_ones[workflow] = error

    def disk(self, error: BaseException | None) -> None:
        if error is not None and self.driver is not None:
            self.driver.accepting_work = False

    def short_of(self, error: OSError, attempt: Attempt) -> None:
        pass


class MemoryEngine:
    """One life of an engine. `slots` attempts at once; the wall clock starts at START and moves with the reactor's.

    With a `store` of its own (that of a real home) `disk` holds only signals and views.
    """

    def __init__(self, disk: Disk, world: World, slots: int = 2, now: float = 0.0, store: Store | None = None) -> None:
        self.disk = disk
        self.reactor = MemoryReactor(now)
        self.syncer, self.background = MemorySyncer(self.reactor), MemorySyncer(self.reactor)
        self.executor = MemoryExecutor(world, self.reactor)
        self.watcher = MemoryWatcher(disk, self.background)
        self.store: Store = store or MemoryStore(disk)
        self.put_aside: dict[str, str] = {}
        self.driver = Driver(
            self.store, self.syncer, self.background, self.executor, self.reactor, self.watcher, self.clock,
            slots=slots, grace=5.0,
        )  # fmt: skip
        self.recovery = Recovery(self.store, self.driver, self.put_aside.__setitem__)
        self.watcher.driver, self.watcher.recovery = self.driver, self.recovery
        self.report = self.recovery.run()
        for workflow, signals in list(disk.signals.items()):
            for signal in list(signals.values()):
                self.driver.signal(workflow, signal)
        self.reactor.after_round = self.driver.pulse

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.reactor.now)

    def admit(self, job: Job, template: Template) -> None:
        self.disk.accept(job, template)
        self.driver.admit(Entry.of(job))

    def signal(self, workflow: str, verb: str, name: str) -> None:
        """Somebody drops a signal and rings."""
        signal = self.disk.signals[workflow][name] = Signal(verb, name, "ada")
        self.driver.signal(workflow, signal)

    def works_again(self) -> None:
        """The disk does; the keeper would have found out by its probe."""
        self.disk.faults.clear()
        self.driver.accepting_work = True

    def settle(self) -> None:
        """Do all that can be done without an attempt's end and without time going on."""
        self.reactor.run()
        while self.slow_work():
            self.do_slow_work(0)
            self.reactor.run()

    def slow_work(self) -> int:
        """How many pieces of work are under way in other threads."""
        return len(self.syncer.pending) + len(self.background.pending)

    def do_slow_work(self, which: int) -> None:
        """One of them is done."""
        which %= self.slow_work()
        commits = len(self.syncer.pending)
        if which < commits:
            self.syncer.do(which)
        else:
            self.background.do(which - commits)
