"""The seams in memory: a disk with its log, a reactor with its own clock, an executor. No thread, no file, no sleep.

`Disk` and `World` outlive an engine as files and processes do; `MemoryEngine` is one life of an engine on them, put
together as bootstrap does it. What may happen in any order (an attempt that ends) happens when the test says so. A
fault is raised once for each that is in `Disk.faults`.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

from builders import START

from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.gate import Gate
from hybrid_engine.engine.recovery import Recovery
from hybrid_engine.engine.run import Run
from hybrid_engine.engine.turn import job_of
from hybrid_engine.engine.work import Work as EngineWork
from hybrid_engine.errors import InputError, JobError, JournalError
from hybrid_engine.files import journal as codec
from hybrid_engine.files import views
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.events import Event, WorkflowCreated
from hybrid_engine.model.ids import parse_queue_name, queue_name
from hybrid_engine.model.job import Job
from hybrid_engine.model.jsontext import decode
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.template import Template
from hybrid_engine.ports.execution import Listener, ProgressListener
from hybrid_engine.ports.storage import CommitLog, History, Store, Syncer, Turn, Unfinished
from hybrid_engine.rules.transitions import fold

Work = Callable[[], None]
Done = Callable[[BaseException | None], None]

# --- the disk -------------------------------------------------------------------------------------------------------


class Disk:
    """What a home holds. `crash` is what a kill, or with `dice` a power cut, makes of it."""

    def __init__(self) -> None:
        self.templates: dict[str, Template] = {}
        self.queue: set[str] = set()
        self.journals: dict[str, bytearray] = {}
        self.states: dict[str, bytes] = {}
        self.signals: dict[str, dict[str, Signal]] = defaultdict(dict)
        self.quarantined: dict[str, str] = {}
        self.outputs: dict[str, bytes] = {}
        self.faults: deque[str] = deque()
        self.inbox: dict[str, Job] = {}
        self.unsure: list[Turn] = []

    def fault(self, operation: str) -> None:
        """Raise when the next fault is one of this operation."""
        if self.faults and self.faults[0] == operation:
            self.faults.popleft()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, turns: Sequence[Turn]) -> list[int]:
        """Put turns into their journals: all that was committed is there for sure."""
        sizes = []
        lines = [codec.encode(first, moment, events) for _, first, moment, events in turns]
        for (workflow, first, _, _), data in zip(turns, lines, strict=True):
            journal = self.journals.setdefault(workflow, bytearray())
            assert len(codec.parse(bytes(journal)).entries) == first - 1, "a hole, or events that are there already"
            journal += data
            sizes.append(len(data))
        return sizes

    def entries(self, workflow: str) -> list[codec.Entry]:
        """What was committed of a workflow."""
        return codec.parse(bytes(self.journals.get(workflow, b""))).entries

    def events(self, workflow: str) -> list[Event]:
        return [entry.event for entry in self.entries(workflow)]

    def state(self, workflow: str) -> WorkflowState | None:
        """What a journal adds up to."""
        return fold((entry.n, entry.at, entry.event) for entry in self.entries(workflow))

    def crash(self, dice: Random | None = None) -> None:
        """A batch whose commit failed may be there after a power cut, or not. What was written behind commits may be
        lost, and the log has it: a replay makes it again."""
        if self.unsure and dice is not None and dice.random() < 0.5:
            self.write(self.unsure)
        self.unsure = []
        self.faults.clear()
        self.replay()

    def replay(self) -> None:
        """Bring names and views in line with what was committed."""
        self.queue.clear()
        for workflow in self.journals:
            state = self.state(workflow)
            assert state is not None
            self.states[workflow] = views.render_state(views.state_record(state))
            if not state.is_final:
                self.queue.add(queue_name(state.priority, state.due_at, workflow))


class MemoryLog:
    """`ports.storage.CommitLog`: everything is in its place at once."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.is_dirty = False
        self.is_behind = False
        self.size = 0

    def commit(self, turns: Sequence[Turn], removed: Iterable[str] = ()) -> list[int]:
        if self._disk.unsure:
            assert list(turns) == self._disk.unsure, "another batch than the one that failed"
        try:
            self._disk.fault("commit")
        except OSError:
            self._disk.unsure = [Turn(*turn[:3], list(turn.events)) for turn in turns]
            raise
        self._disk.unsure = []
        for workflow in removed:
            self._disk.journals.pop(workflow, None)
        sizes = self._disk.write(turns)
        for turn in turns:
            if turn.first == 1 and isinstance(created := turn.events[0], WorkflowCreated):
                self._disk.queue.add(queue_name(created.priority, created.due_at, created.workflow))
        return sizes

    def checkpoint(self, done: Done) -> None:
        done(None)

    def write_behind(self, seconds: float, min_age: float = 0.0) -> bool:
        return False

    def when_placed(self, workflows: Sequence[str], done: Work) -> None:
        done()


class MemoryStore:
    """`ports.storage.Store`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def unfinished(self) -> Iterator[Unfinished]:
        for name in sorted(self._disk.queue):
            parsed = parse_queue_name(name)
            assert parsed is not None
            yield Unfinished(name, parsed[2], None, None, len(self._disk.journals[parsed[2]]))

    def leave_queue(self, name: str) -> None:
        self._disk.queue.discard(name)

    def exists(self, workflow: str) -> bool:
        return workflow in self._disk.journals

    def settle(self, workflow: str) -> None:
        self._disk.fault("settle")

    def job(self, workflow: str, name: str | None = None) -> Job:
        state = self._disk.state(workflow)
        if state is None:
            raise JobError(f"there is no job {workflow}", code="missing")
        return job_of(state)

    def template(self, version: str, workflow: str) -> Template:
        return self._disk.templates[version]

    def history(self, workflow: str) -> History | None:
        if workflow not in self._disk.journals:
            return None
        reading = codec.parse(bytes(self._disk.journals[workflow]))
        if reading.damage:
            raise JournalError(reading.damage)
        del self._disk.journals[workflow][reading.good :]
        return History([(entry.n, entry.at, entry.event) for entry in reading.entries])

    def write_output(self, workflow: str, step: str, number: int, data: bytes) -> dict[str, Any]:
        self._disk.fault("output")
        if workflow not in self._disk.journals:
            raise JobError(f"there is no workflow {workflow}", code="not_kept")
        path = f"steps/{step}/{number}/output.json"
        self._disk.outputs[f"{workflow}/{path}"] = data
        return {"path": path, "bytes": len(data), "sha256": sha256(data).hexdigest()}

    def read_output(self, workflow: str, reference: dict[str, Any]) -> Any:
        data = self._disk.outputs.get(f"{workflow}/{reference['path']}")
        if data is None or sha256(data).hexdigest() != reference["sha256"]:
            raise InputError("its file was changed")
        return decode(data)

    def requeue(self, job: Job) -> None:
        self._disk.queue.add(queue_name(job.priority, job.due_at, job.id))

    def finish(self, job: Job, name: str, view: bytes) -> None:
        self._disk.states[job.id] = view
        self._disk.queue.discard(name)

    def drop_signal(self, workflow: str, name: str) -> None:
        self._disk.signals[workflow].pop(name, None)

    def quarantine(self, workflow: str, reason: str, name: str | None) -> None:
        self._disk.quarantined[workflow] = reason
        self._disk.journals.pop(workflow, None)
        if name is not None:
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
    """`engine.watching.Watcher`, which does as the projector does: about a disk that fails, and with views."""

    def __init__(self, disk: Disk, gate: Gate, *, real_home: bool = False) -> None:
        self._disk = disk
        self._gate = gate
        self._real_home = real_home
        self.accepted_ones: list[Job] = []
        self.stuck_ones: dict[str, BaseException] = {}
        self.ended: list[str] = []
        self.progress: dict[str, dict[str, tuple[float, str | None]]] = {}

    def accepted(self, entry: Entry, job: Job) -> None:
        assert self._real_home or job.id in self._disk.journals, "shown before it is committed"
        self.accepted_ones.append(job)

    def changed(self, run: Run) -> None:
        assert not run.events, "a view would show what is not committed"
        self._disk.states[run.id] = self.last_view(run)

    def resting(self, run: Run) -> None:
        self.changed(run)

    def progressed(self, run: Run) -> None:
        self.progress[run.id] = dict(run.progress)

    def last_view(self, run: Run) -> bytes:
        return views.render_state(views.state_record(run.state))

    def finished(self, run: Run) -> None:
        self.ended.append(run.id)

    def removed(self, workflow: str) -> None:
        self.ended.append(workflow)

    def stuck(self, workflow: str, error: BaseException) -> None:
        self.stuck_ones[workflow] = error

    def disk(self, error: BaseException | None) -> None:
        if error is not None:
            self._gate.shut("disk")

    def short_of(self, error: OSError, attempt: Attempt) -> None:
        pass


class MemoryEngine:
    """One life of an engine. `slots` attempts at once; the wall clock starts at START and moves with the reactor's.

    With a `store` and a `log` of its own (those of a real home) `disk` holds only signals and views.
    """

    def __init__(
        self,
        disk: Disk,
        world: World,
        slots: int = 2,
        now: float = 0.0,
        store: Store | None = None,
        log: CommitLog | None = None,
        background: Callable[[MemoryReactor], Syncer] | None = None,
    ) -> None:
        self.disk = disk
        self.reactor = MemoryReactor(now)
        self.executor = MemoryExecutor(world, self.reactor)
        self.gate, self.work = Gate(), EngineWork(slots)
        self.watcher = MemoryWatcher(disk, self.gate, real_home=store is not None)
        self.store: Store = store or MemoryStore(disk)
        self.put_aside: dict[str, str] = {}
        self.driver = Driver(
            self.store, log or MemoryLog(disk), self.executor, self.reactor, self.watcher, self.clock, self.gate,
            self.work, grace=5.0, background=background(self.reactor) if background else None,
        )  # fmt: skip
        self.recovery = Recovery(self.store, self.driver, self.put_aside.__setitem__)
        self.report = self.recovery.run()
        for job in list(disk.inbox.values()):
            if self.driver.knows(job.id):
                del disk.inbox[job.id]
            else:
                self._accept(job)
        for workflow, signals in list(disk.signals.items()):
            for signal in list(signals.values()):
                self.driver.signal(workflow, signal)
        self.reactor.after_round = self.driver.pulse

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.reactor.now)

    def admit(self, job: Job, template: Template) -> None:
        """Somebody drops a job; it lies in the inbox until it is committed."""
        self.disk.templates[template.version] = template
        self.disk.inbox[job.id] = job
        self._accept(job)

    def _accept(self, job: Job) -> None:
        self.driver.accept([job], lambda: self.disk.inbox.pop(job.id, None))

    def signal(
        self, workflow: str, verb: str, name: str, from_step: str | None = None, steps: tuple[str, ...] = ()
    ) -> None:
        """Somebody drops a signal and rings."""
        signal = self.disk.signals[workflow][name] = Signal(verb, name, "ada", None, from_step, steps)
        self.driver.signal(workflow, signal)

    def works_again(self) -> None:
        """The disk does; the daemon would have found out by its probe."""
        self.disk.faults.clear()
        self.gate.shut("disk", False)

    def settle(self) -> None:
        """Do all that can be done without an attempt's end and without time going on."""
        self.reactor.run()
