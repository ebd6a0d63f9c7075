"""The driver: runs turns, hands out slots, commits, and performs what was decided once it is committed.

Every change of a workflow goes through `pulse`: mail → turns → slots → one commit for all of it → effects. A slot that
an ended attempt had may go to another one in the same round, because both facts are in one commit: it is durable whole
or not at all. Nothing is begun, ended, answered or shown before the commit. While the disk fails the batch at hand is
kept, and nothing else is decided.

What does not live here: what mail means (turn), who may go next (dispatcher), how a commit becomes durable (ports).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from hybrid_engine.engine import turn
from hybrid_engine.engine.arrivals import Arrivals
from hybrid_engine.engine.dispatcher import Dispatcher
from hybrid_engine.engine.gate import Gate
from hybrid_engine.engine.loader import Loader
from hybrid_engine.engine.outputs import OutputKeeper
from hybrid_engine.engine.performer import Performer
from hybrid_engine.engine.recorder import Recorder
from hybrid_engine.engine.run import Begin, Mail, Run, Woken
from hybrid_engine.engine.slots import START, Candidate
from hybrid_engine.engine.watching import Watcher
from hybrid_engine.engine.work import Work
from hybrid_engine.errors import HybridError
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.effects import WakeStep
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.events import WorkflowReopened
from hybrid_engine.model.job import Job
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.stamps import stamp
from hybrid_engine.model.waits import DISK, FOR_A_SLOT, PERSON, POOL, RETRY, Wait
from hybrid_engine.ports.execution import Executor
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import CommitLog, Store, Syncer

AGAIN = 1.0
"""Seconds until what the machine did not allow is tried again."""


class Driver:
    """One per engine. `clock` tells the wall-clock time; it is read once per round."""

    def __init__(
        self,
        store: Store,
        log: CommitLog,
        executor: Executor,
        reactor: Reactor,
        watcher: Watcher,
        clock: Callable[[], datetime],
        gate: Gate,
        work: Work,
        *,
        grace: float,
        boot: str | None = None,
        background: Syncer | None = None,
    ) -> None:
        self.backlog = work.backlog
        self.runs = work.runs
        self.dispatcher = Dispatcher(work, reactor, clock, self._show)
        self.gate = gate
        self._store = store
        self._executor = executor
        self._reactor = reactor
        self._watcher = watcher
        self._clock = clock
        self._grace = grace
        self._boot = boot
        self.loader = Loader(store)
        self.recorder = Recorder(log, reactor, self._committed, watcher.disk, self._broken)
        self._outputs = OutputKeeper(store, reactor, watcher, background, self._is_wanted, self._deliver_outcome)
        self._performer = Performer(executor, store, reactor, watcher, clock, self._outcome, self._wake)
        self._dirty: dict[str, Run] = {}
        self._to_commit: dict[str, Run] = {}
        self._arrivals = Arrivals(work, self.loader)
        self._gone: list[str] = []
        self._pulsing = False
        executor.listen(self._outcome, self._progress)

    @property
    def is_settled(self) -> bool:
        """Everything that was decided is committed."""
        return not (self.recorder.failing or self._to_commit or self._arrivals or self._gone)

    @property
    def is_idle(self) -> bool:
        """Nothing will happen by itself any more: all is finished, paused, or waits for a person."""
        return (
            self.is_settled
            and not self.dispatcher.slots.used
            and all(
                entry.status == "paused" or (entry.waits_for is not None and entry.waits_for.kind == PERSON)
                for entry in self.backlog.entries.values()
            )
        )

    # --- ways in

    def knows(self, workflow: str) -> bool:
        """Has a job of this id been accepted before?"""
        return workflow in self.backlog or self._store.exists(workflow)

    def job(self, workflow: str) -> Job | None:
        """The job of a workflow that was accepted before; None when it cannot be told."""
        try:
            return self._store.job(workflow)
        except (HybridError, OSError):
            return None

    def accept(self, jobs: Sequence[Job], done: Callable[[], None] = lambda: None) -> None:
        """These jobs shall be workflows. They are with the next commit, in which those that can start do; then `done`
        is called."""
        for entry in self._arrivals.add(jobs, done):
            self.dispatcher.offer_start(entry)

    def admit(self, entry: Entry, job: Job | None = None) -> None:
        """After a restart: a job that was accepted and has not begun. It starts when it is due and a slot is free."""
        self.backlog.add(entry)
        if job is not None:
            self.loader.remember(job)
            self._arrivals.know_pool(entry, job)
        self.dispatcher.offer_start(entry)

    def signal(self, workflow: str, signal: Signal) -> bool:
        """Somebody asks something of a workflow, finished or not. False when the disk fails: then ask again."""
        run = self.runs.get(workflow)
        if run is None:
            try:
                run = self._open_for_signal(workflow, signal)
            except HybridError as error:
                self._watcher.stuck(workflow, error)
                return True
            except FileNotFoundError:
                return True  # it is being pruned: when that fails, its folder and the signal in it come back
            except OSError as error:
                self._watcher.disk(error)
                return False
            if run is None:
                self._store.drop_signal(workflow, signal.name)
                return True
        if not any(isinstance(mail, Signal) and mail.name == signal.name for mail in run.mailbox):
            self._deliver(run, signal)
        return True

    def resume_run(self, run: Run, *, torn_retry: WorkflowReopened | None = None) -> None:
        """After a restart, or when it was not needed in memory: a run that is under way.

        `torn_retry` is how it was reopened, when that was its last write.
        """
        self.runs[run.id] = run
        self.backlog.add(run.entry)
        pool = run.plan.template.concurrency
        if pool is not None and run.state.active:
            run.pool = pool.pool
            self.dispatcher.pools.force(pool.pool, pool.limit, run.id)
        for name, step in run.state.steps.items():
            if step.status == "running":
                self.dispatcher.take_over(run, name)
                self._attach(run, turn.known_attempt(run, name, self._grace))
        if run.state.status == "queued":
            self.dispatcher.offer_start(run.entry)
        self._show(run)
        self._deliver(run, Begin(torn_retry))

    def take_places(self) -> None:
        """After a restart, when all are resumed: workflows between two attempts come before those not yet started."""
        for run in self.runs.values():
            if run.state.started_at and not run.state.is_final:
                self.dispatcher.enter_of_workflow(run)

    def finish_again(self, run: Run) -> None:
        """After a restart: the workflow has ended, but a crash came before it left the queue."""
        self.runs[run.id] = run
        self.backlog.add(run.entry)
        self._finish(run)

    def removed(self, workflow: str) -> None:
        """Somebody removed the folder of this workflow: what runs of it is ended, and it is no more."""
        if workflow in self._gone:
            return
        run, entry = self.runs.pop(workflow, None), self.backlog.get(workflow)
        self.backlog.remove(workflow)
        self._gone.append(workflow)
        if entry is not None:
            self._arrivals.answer(lambda: self._store.leave_queue(entry.name))
        self._watcher.removed(workflow)
        if run is None:
            return
        run.stuck = True
        for name, step in run.state.steps.items():
            if step.status == "running":
                self._executor.cancel(f"{workflow}/{name}/{step.attempt}")
        self._forget(run)

    def put_aside(self, workflow: str, reason: str) -> None:
        """This workflow cannot go on: it goes into quarantine, with its reason."""
        run, entry = self.runs.pop(workflow, None), self.backlog.get(workflow)
        self.backlog.remove(workflow)
        if run is not None:
            run.stuck = True
            self._forget(run)
        self._store.quarantine(workflow, reason, entry.name if entry is not None else None)

    # --- the round

    def pulse(self) -> None:
        """Do all that can be done now. Called after every round of the reactor."""
        if self._pulsing or self.recorder.failing:
            return
        self._pulsing = True
        try:
            while not self.recorder.failing and self._has_work():
                now = self._clock()
                at = stamp(now)
                self._take_turns(now, at)
                self._grant(at)
                self._commit()
        finally:
            self._pulsing = False

    def _has_work(self) -> bool:
        if self._dirty or self._to_commit or self._arrivals or self._gone:
            return True
        slots = self.dispatcher.slots
        return self.gate.is_open and slots.free > 0 and len(slots) > 0

    def _take_turns(self, now: datetime, at: str) -> None:
        dirty, self._dirty = self._dirty, {}
        for run in dirty.values():
            if run.stuck:
                continue
            run.at = run.at if run.events else at
            mailbox, run.mailbox = run.mailbox, []
            try:
                for mail in mailbox:
                    self._handle(run, mail, now)
                self._after_turn(run)
            except Exception as error:  # whatever is wrong with this workflow, the others go on
                self._broken(run, error)

    def _handle(self, run: Run, mail: Mail, now: datetime) -> None:
        if isinstance(mail, Begin):
            turn.look_around(run, torn_retry=mail.torn_retry)
        else:
            turn.handle(run, mail, now)

    def _after_turn(self, run: Run) -> None:
        """Slots and places of what has ended are free at once: whoever gets them is committed in the same batch."""
        self.dispatcher.release(run)
        self.dispatcher.offer_steps(run)
        if run.events or run.effects or run.signals:
            self._to_commit[run.id] = run
        else:
            self._show(run)

    def _grant(self, at: str) -> None:
        while self.gate.is_open and (candidate := self.dispatcher.next()):
            run = self.runs.get(candidate.workflow)
            try:
                if candidate.step == START:
                    wanted = self._start_workflow(candidate, run, at)
                else:
                    wanted = run is not None and self._start_step(run, candidate, at)
            except Exception as error:
                if run is None:
                    run = self.runs.get(candidate.workflow)
                if run is None:
                    raise
                self._broken(run, error)
                wanted = False
            if not wanted:
                self.dispatcher.pass_on(candidate)

    def _start_step(self, run: Run, candidate: Candidate, at: str) -> bool:
        """False when the step cannot use a slot (any more)."""
        step = candidate.step
        run.offered.discard(step)
        run.parked.pop(step, None)
        if run.stuck or not turn.may_start(run, step):
            return False
        full = self.dispatcher.enter(run, step)
        if full is not None:
            self.dispatcher.park(full, candidate)
            return True
        run.at = run.at if run.events else at
        self.dispatcher.slots.used += 1
        run.freed, run.ended = 1, [step]  # until it has begun: what raises must not keep them
        if turn.start_step(run, step, self._grace, self._boot):
            run.freed, run.ended = 0, []
        self._after_turn(run)
        return True

    def _start_workflow(self, candidate: Candidate, run: Run | None, at: str) -> bool:
        """False when the workflow is not to be started (any more), or cannot be."""
        entry = self.backlog.get(candidate.workflow)
        if entry is None or entry.status == "paused" or (run is not None and run.stuck):
            return False
        if run is not None and run.state.status != "queued":
            return False
        opened = run is None
        try:
            run = run or self._open(entry, at)
        except HybridError as error:
            self.hold(entry, error)
            return False
        except OSError as error:
            self._watcher.disk(error)
            self._reactor.call_later(AGAIN, lambda: self.dispatcher.offer_start(entry))
            return False
        full = self.dispatcher.enter_of_workflow(run)
        if full is not None:
            self.dispatcher.park(full, candidate)
            if opened and run.id not in self._to_commit:
                self._arrivals.put_back(run)
            return True
        run.at = run.at if run.events else at
        turn.begin(run)
        self._after_turn(run)
        return True

    # --- commits

    def _commit(self) -> None:
        ready, self._to_commit = self._to_commit, {}
        gone, self._gone = self._gone, []
        accepted, answers = self._arrivals.take()
        if ready or accepted or gone:
            self.recorder.commit(list(ready.values()), accepted, gone, answers)
        else:
            for answer in answers:
                answer()

    def _committed(
        self, runs: Sequence[Run], accepted: Sequence[tuple[Entry, Job]], answers: Sequence[Callable[[], None]]
    ) -> None:
        """What was decided may be done now, and shown."""
        for entry, job in accepted:
            if entry.id not in self.runs:
                self.loader.remember(job)
            self._watcher.accepted(entry, job)
        for run in runs:
            try:
                self._settle(run)
            except Exception as error:
                self._broken(run, error)
        for answer in answers:
            answer()

    def _settle(self, run: Run) -> None:
        """The turn is committed (or had no events): its effects may be performed."""
        if run.state.is_final:
            self._finish(run)
        elif run.has_left:
            run.has_left = False
            self._store.requeue(run.job)
        self._performer.perform(run)
        signals, run.signals = run.signals, []
        for name in signals:
            self._store.drop_signal(run.id, name)
        if run.state.is_final:
            return
        self._show(run)
        self._watcher.changed(run)
        if run.state.status == "queued" and run.id in self.runs:
            self.dispatcher.offer_start(run.entry)
        self._rest(run)

    def _rest(self, run: Run) -> None:
        """A workflow that waits for a person, perhaps for weeks, need not be in memory: its mail brings it back."""
        if run.state.status == "paused" and not (
            run.state.active or run.mailbox or run.pool or run.ready or run.events or run.viewing
        ):
            self._watcher.resting(run)
            self.runs.pop(run.id, None)

    def _wake(self, workflow: str, effect: WakeStep) -> None:
        run = self.runs.get(workflow)
        if run is not None:
            self._deliver(run, Woken(effect.step, effect.at))

    # --- the end of a workflow

    def _finish(self, run: Run) -> None:
        self.runs.pop(run.id, None)
        self.backlog.remove(run.id)
        self._store.finish(run.job, run.entry.name, self._watcher.last_view(run))
        self._forget(run)
        self._watcher.finished(run)
        for mail in run.mailbox:
            if isinstance(mail, Signal):
                self._reactor.post(partial(self._signal_again, run.id, mail))

    def _signal_again(self, workflow: str, signal: Signal) -> None:
        self.signal(workflow, signal)

    def _forget(self, run: Run) -> None:
        """No candidate of it is to be granted, and what it held is free."""
        self._dirty.pop(run.id, None)
        self._to_commit.pop(run.id, None)
        run.ready.clear()
        self.dispatcher.leave_all(run)

    def _broken(self, run: Run, error: BaseException) -> None:
        """A workflow that cannot go on (a bug, a damaged file) is put aside; the others must not notice."""
        if run.stuck:
            return
        run.stuck = True
        self.backlog.show(run.entry, run.state.status, Wait(PERSON, reason=str(error)))
        self._arrivals.forget(run.id)
        self._forget(run)
        self._watcher.stuck(run.id, error)

    def hold(self, entry: Entry, error: HybridError) -> None:
        """This job cannot go on until a person has done something; it keeps its place."""
        self.backlog.add(entry)
        self.backlog.show(entry, "queued", Wait(PERSON, reason=str(error)))
        self._watcher.stuck(entry.id, error)

    def put_off(self, entry: Entry, error: OSError) -> None:
        """The disk does not let this job be taken up; whoever found it tries again."""
        self.backlog.add(entry)
        self.backlog.show(entry, "queued", Wait(DISK, reason=error.strerror))
        self._watcher.disk(error)

    # --- small

    def _open(self, entry: Entry, at: str) -> Run:
        run = self._arrivals.open(entry, at)
        if run.events:
            self._to_commit[run.id] = run
        return run

    def _open_for_signal(self, workflow: str, signal: Signal) -> Run | None:
        run = self._arrivals.open_for_signal(workflow, signal, stamp(self._clock()))
        if run is not None and run.events:
            self._to_commit[run.id] = run
        return run

    def _attach(self, run: Run, attempt: Attempt) -> None:
        try:
            is_known = self._executor.attach(attempt)
        except OSError as error:  # short of descriptors, or the disk does not read: that says nothing about the attempt
            self._watcher.short_of(error, attempt)
            self._reactor.call_later(AGAIN, lambda: self._attach(run, attempt))
            return
        if not is_known:
            why = {"kind": "lost", "message": "the attempt ended with the engine or the machine; nobody saw how"}
            self._deliver(run, Outcome(run.id, attempt.step, attempt.number, "lost", error=why))

    def _deliver(self, run: Run, mail: Mail) -> None:
        run.mailbox.append(mail)
        if not run.stuck:
            self._dirty[run.id] = run

    def _outcome(self, outcome: Outcome) -> None:
        if not self._outputs.takes(outcome):
            self._deliver_outcome(outcome)

    def _deliver_outcome(self, outcome: Outcome) -> None:
        run = self.runs.get(outcome.workflow)
        if run is not None:
            self._deliver(run, outcome)

    def _is_wanted(self, outcome: Outcome) -> bool:
        """Is it the outcome of an attempt that is under way?"""
        run = self.runs.get(outcome.workflow)
        step = run.state.steps.get(outcome.step) if run is not None and not run.stuck else None
        return step is not None and step.status == "running" and step.attempt == outcome.number

    def _progress(self, workflow: str, step: str, number: int, percent: float, message: str | None) -> None:
        run = self.runs.get(workflow)
        if run is not None and run.state.steps[step].attempt == number:
            run.progress[step] = percent, message
            self._watcher.progressed(run)

    def _show(self, run: Run) -> None:
        """Keep the entry's line in the queue's view true. Nothing uncommitted may be shown."""
        if run.events or run.stuck:
            return
        state = run.state
        waits_for = run.entry.waits_for if state.status == run.entry.status == "queued" else None
        if state.active == 0 and state.status in ("running", "waiting"):
            waits_for = _wait_of(run)
        self.backlog.show(run.entry, state.status, waits_for)


def _wait_of(run: Run) -> Wait:
    """What a workflow that has started, and has nothing running, waits for."""
    steps = run.state.steps
    run.retrying = {name for name in run.retrying if steps[name].status == "retrying"}
    retry_at = min((steps[name].retry_at or "" for name in run.retrying), default=None)
    if run.parked and not run.ready - run.parked.keys():
        return Wait(POOL, next(iter(run.parked.values())))
    if retry_at and not run.ready:
        return Wait(RETRY, until=retry_at)
    return FOR_A_SLOT
