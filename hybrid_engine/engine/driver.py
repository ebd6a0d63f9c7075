"""The driver: runs turns, hands out slots, commits, and performs what was decided once it is committed.

Every change of a workflow goes through `pulse`: mail → turns → slots → commits. After a commit the effects of the
turn are performed, slots it freed are given back, and the next mail is looked at. A slot is given back only when the
end of its attempt is committed (or handed to the same workflow's next step in the same commit), so that a crash
repeats at most as many attempts as there are slots.

What does not live here: what mail means (turn), how a commit becomes durable (recorder), files (ports).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from hybrid_engine.engine import turn
from hybrid_engine.engine.backlog import Backlog
from hybrid_engine.engine.closer import FINISH_AGAIN, Closer
from hybrid_engine.engine.loader import Loader
from hybrid_engine.engine.performer import Performer
from hybrid_engine.engine.recorder import Recorder
from hybrid_engine.engine.run import Begin, Entry, Granted, Mail, Progress, Run, Signal, Woken
from hybrid_engine.engine.slots import START, Candidate, Pools, Slots
from hybrid_engine.engine.watching import Watcher
from hybrid_engine.errors import HybridError
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.effects import WakeStep
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import moment, stamp
from hybrid_engine.ports.execution import Executor
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Store, Syncer

CLOSING_MOST = 128
"""While so many workflows have ended and are not out of the queue yet, no other is started."""
LONGEST_TIMER = 30.0
"""Seconds after which a wall-clock wait is looked at again: the wall clock may have been set meanwhile."""


class Driver:
    """One per engine. `syncer` commits; `background` does what nobody waits for, so that no commit queues behind it.

    `clock` tells the wall-clock time; it is read once per pulse.
    """

    def __init__(
        self,
        store: Store,
        syncer: Syncer,
        background: Syncer,
        executor: Executor,
        reactor: Reactor,
        watcher: Watcher,
        clock: Callable[[], datetime],
        *,
        slots: int,
        grace: float,
        boot: str | None = None,
    ) -> None:
        self.backlog = Backlog()
        self.slots = Slots(slots)
        self.pools = Pools()
        self.runs: dict[str, Run] = {}
        self.accepting_work = True
        self.commits = 0
        self._store = store
        self._syncer = syncer
        self._executor = executor
        self._reactor = reactor
        self._watcher = watcher
        self._clock = clock
        self._grace = grace
        self._boot = boot
        self._recorder = Recorder(store, syncer, reactor, self._committed, watcher.disk, self._broken)
        self.loader = Loader(store)
        self.closer = Closer(store, background, reactor, watcher, self._closed)
        self._performer = Performer(executor, reactor, watcher, clock, self._outcome, self._wake)
        self._dirty: dict[str, Run] = {}
        self._to_commit: dict[str, Run] = {}
        self._committing = 0
        self._pulsing = False
        self._due_timer: object | None = None
        executor.listen(self._outcome, self._progress)

    @property
    def is_settled(self) -> bool:
        """No commit and no last view is under way."""
        return self._committing == 0 and not self.closer.closing and not self._to_commit

    @property
    def is_idle(self) -> bool:
        """Nothing will happen by itself any more: all is finished, paused, or waits for a person."""
        return (
            self.is_settled
            and not self.slots.used
            and all(
                entry.status == "paused" or (entry.waits_for or "").startswith("a person")
                for entry in self.backlog.entries.values()
            )
        )

    # --- ways in

    def admit(self, entry: Entry, job: Job | None = None) -> None:
        """A job was accepted (durably). It starts when it is due and a slot is free.

        `job` saves reading it again when it starts soon; of many that wait only the first are kept.
        """
        self.backlog.add(entry)
        if job is not None:
            self.loader.remember(job)
        self._offer_start(entry)

    def signal(self, workflow: str, signal: Signal) -> bool:
        """Somebody asks something of a workflow, finished or not. False when the disk fails: then ask again."""
        run = self.runs.get(workflow)
        if run is None and workflow not in self.closer.closing:
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
        if run is not None and not any(isinstance(mail, Signal) and mail.name == signal.name for mail in run.mailbox):
            self._deliver(run, signal)
        return True

    def resume_run(self, run: Run, *, torn_retry: bool = False) -> None:
        """After a restart: a run that was found under way; `torn_retry` when its last write was to reopen it."""
        self.runs[run.id] = run
        self.backlog.add(run.entry)
        pool = run.plan.template.concurrency
        if pool is not None and run.state.active:
            run.pool = pool.pool
            self.pools.force(pool.pool, run.id)
        for name, step in run.state.steps.items():
            if step.status == "running":
                self._take_over(run, name)
        if run.state.status == "queued":
            self._offer_start(run.entry)
        self._show(run)
        self._deliver(run, Begin(torn_retry))

    def take_places(self) -> None:
        """After a restart, when all are resumed: workflows between two attempts come before those not yet started."""
        for run in self.runs.values():
            if run.state.started_at and not run.state.is_final:
                self._enter_pool(run)

    def finish_again(self, run: Run) -> None:
        """After a restart: the workflow has ended, but a crash came before it left the queue."""
        self.runs[run.id] = run
        self.backlog.add(run.entry)
        self.closer.close(run)

    # --- the pulse

    def pulse(self) -> None:
        """Do all that can be done now. Called after every round of the reactor."""
        if self._pulsing:
            return
        self._pulsing = True
        try:
            while self._dirty or self._to_commit or self._may_grant():
                now = self._clock()
                at = stamp(now)
                self._take_turns(now, at)
                self._grant(at)
                self._commit()
        finally:
            self._pulsing = False

    def _take_turns(self, now: datetime, at: str) -> None:
        dirty, self._dirty = self._dirty, {}
        for run in dirty.values():
            if run.committing or run.stuck or run.id in self.closer.closing:
                continue  # its mail waits; `_committed` or `_closed` looks at it again
            run.at = run.at if run.events else at
            mailbox, run.mailbox = run.mailbox, []
            try:
                for mail in mailbox:
                    self._handle(run, mail, now)
            except Exception as error:  # whatever is wrong with this workflow, the others go on
                self._broken(run, error)
                continue
            self._after_turn(run)

    def _handle(self, run: Run, mail: Mail, now: datetime) -> None:
        if isinstance(mail, Granted):
            self._start_step(run, mail.step)
        elif isinstance(mail, Begin):
            turn.look_around(run, torn_retry=mail.torn_retry)
        else:
            turn.handle(run, mail, now)

    def _after_turn(self, run: Run) -> None:
        for step in run.newly_ready:
            if step in run.ready and step not in run.offered:
                run.offered.add(step)
                self.slots.offer(Candidate(run.entry.name, run.id, run.plan.position[step], step))
        run.newly_ready.clear()
        if run.events:
            self._to_commit[run.id] = run
            return
        if run.effects or run.signals or run.freed:
            self._settle(run)
        if run.state.is_final:  # it was opened for a signal that it knows already
            self.closer.close(run)
        else:
            self._show(run)

    # --- slots

    def _may_grant(self) -> bool:
        first = self.slots.peek()
        if not self.accepting_work or first is None or self.slots.free <= 0:
            return False
        return first.step != START or len(self.closer.closing) < CLOSING_MOST

    def _grant(self, at: str) -> None:
        while self.accepting_work and (candidate := self.slots.peek()):
            run = self.runs.get(candidate.workflow)
            handed_on = run is not None and run.freed > 0 and not run.committing and candidate.step != START
            if self.slots.free <= 0 and not handed_on:
                return
            if candidate.step == START and len(self.closer.closing) >= CLOSING_MOST:
                return  # `_closed` makes room: what has ended must leave before more begins
            self.slots.pop()
            if candidate.step == START:
                wanted = self._start_workflow(candidate, at)
            else:
                wanted = run is not None and self._grant_step(run, candidate, at, handed_on=handed_on)
            if candidate.pool and not wanted:
                self._unpark(self.pools.next(candidate.pool))

    def _grant_step(self, run: Run, candidate: Candidate, at: str, *, handed_on: bool) -> bool:
        """False when the step cannot use a slot (any more)."""
        step = candidate.step
        run.offered.discard(step)
        run.parked.pop(step, None)
        if run.stuck or not turn.may_start(run, step):
            return False
        full = self._full_pool(run, step)
        if full is not None:
            self.pools.park(full, candidate)
            run.offered.add(step)
            run.parked[step] = full
            if not run.events and not run.committing:
                self._show(run)
            return True
        if handed_on:
            run.freed -= 1
        else:
            self.slots.used += 1
        if run.committing:
            self._deliver(run, Granted(step))
            return True
        if not run.events:
            run.at = at
        self._start_step(run, step)
        self._after_turn(run)
        return True

    def _full_pool(self, run: Run, step: str) -> str | None:
        """Take the places that an attempt of this step needs; or the name of a pool that has none."""
        if not self._enter_pool(run):
            return run.plan.template.concurrency.pool if run.plan.template.concurrency else None
        pool = run.plan.steps[step].concurrency
        if pool is None:
            return None
        if self.pools.enter(pool.pool, pool.limit, f"{run.id}/{step}"):
            if step in run.ended:  # retried in the very turn that ended it: the place is handed on
                run.ended.remove(step)
            return None
        return pool.pool

    def _enter_pool(self, run: Run) -> bool:
        """Take the workflow's place in its template's pool. One that goes on after its end has to get it again."""
        pool = run.plan.template.concurrency
        if pool is None or run.pool is not None:
            return True
        if not self.pools.enter(pool.pool, pool.limit, run.id):
            return False
        run.pool = pool.pool
        for candidate in self.pools.companions(pool.pool, run.id):
            self._unpark(candidate)
        return True

    def _start_step(self, run: Run, step: str) -> None:
        """The step has a slot. When it cannot use it, it is given back with this turn's commit."""
        if not turn.may_start(run, step) or not turn.start_step(run, Granted(step), self._grace, self._boot):
            run.freed += 1
            self._leave_pool(run, step)

    def _start_workflow(self, candidate: Candidate, at: str) -> bool:
        """False when the workflow is not to be started (any more), or cannot be."""
        entry = self.backlog.get(candidate.workflow)
        run = self.runs.get(candidate.workflow)
        if entry is None or entry.status == "paused":
            return False
        if run is not None and (run.committing or run.stuck or run.state.status != "queued"):
            return False  # `_committed` offers it again when it still is to be started
        try:
            run = run or self._open(entry, at)
        except HybridError as error:
            self.hold(entry, error)
            return False
        except OSError as error:
            self._watcher.disk(error)
            self._reactor.call_later(FINISH_AGAIN, lambda: self._offer_start(entry))
            return False
        pool = run.plan.template.concurrency
        if pool is not None and not self._enter_pool(run):
            self.pools.park(pool.pool, candidate)
            self.backlog.show(entry, "queued", f"pool {pool.pool}")
            if run.is_new and len(run.events) == 1 and run.id not in self._to_commit:
                del self.runs[run.id]
            return True
        if not run.events:
            run.at = at
        turn.begin(run)
        self._after_turn(run)
        return True

    def _leave_pool(self, run: Run, step: str) -> None:
        pool = run.plan.steps[step].concurrency
        if pool is not None:
            self._unpark(self.pools.leave(pool.pool, f"{run.id}/{step}"))

    def _unpark(self, candidate: Candidate | None) -> None:
        """There is a place for this candidate: now it waits for a slot."""
        if candidate is None:
            return
        self.slots.offer(candidate)
        entry, run = self.backlog.get(candidate.workflow), self.runs.get(candidate.workflow)
        if run is not None and candidate.step != START:
            run.parked.pop(candidate.step, None)
            if not run.events and not run.committing:
                self._show(run)
        elif entry is not None and entry.status == "queued":
            self.backlog.show(entry, "queued", "a free slot")

    # --- commits

    def _commit(self) -> None:
        ready, self._to_commit = self._to_commit, {}
        alone = len(ready) == 1 and self._committing == 0
        for run in ready.values():
            self._committing += 1
            self._recorder.commit(run, alone=alone)

    def _committed(self, run: Run) -> None:
        """What the turn decided may be done now, and shown."""
        self._committing -= 1
        self.commits += 1
        self._settle(run)
        if run.state.is_final:
            self.closer.close(run)
            return
        self._show(run)
        self._watcher.changed(run)
        if run.state.active == 0 and not run.mailbox:
            run.journal.close()  # it may wait for long, and descriptors are few
        if run.state.status == "queued":
            self._offer_start(run.entry)
        if run.mailbox:
            self._dirty[run.id] = run

    def _settle(self, run: Run) -> None:
        """The turn is committed (or had no events): its effects may be performed, what its attempts held is free."""
        self.slots.used -= run.freed
        run.freed = 0
        self._performer.perform(run)
        signals, run.signals = run.signals, []
        for name in signals:
            self._store.drop_signal(run.id, name)
        ended, run.ended = run.ended, []
        for step in ended:
            self._leave_pool(run, step)

    def _wake(self, workflow: str, effect: WakeStep) -> None:
        run = self.runs.get(workflow)
        if run is not None:
            self._deliver(run, Woken(effect.step, effect.at))

    # --- the end of a workflow

    def _closed(self, run: Run) -> None:
        self.runs.pop(run.id, None)
        self.backlog.remove(run.id)
        if run.pool is not None:
            self._unpark(self.pools.leave(run.pool, run.id))
        self._watcher.finished(run)
        for mail in run.mailbox:
            if isinstance(mail, Signal):
                self.signal(run.id, mail)

    def _broken(self, run: Run, error: BaseException) -> None:
        """A workflow that cannot go on (a bug, a damaged file) is put aside; the others must not notice."""
        if run.committing:
            self._committing -= 1
        run.stuck = True
        held = sum(step.status == "running" for step in run.state.steps.values())
        self.slots.used -= min(held + run.freed, self.slots.used)
        self.backlog.show(run.entry, run.state.status, f"a person: {error}")
        self._watcher.stuck(run.id, error)

    def hold(self, entry: Entry, error: HybridError) -> None:
        """This job cannot go on until a person has done something; it keeps its place."""
        self.backlog.add(entry)
        self.backlog.show(entry, "queued", f"a person: {error}")
        self._watcher.stuck(entry.id, error)

    def put_off(self, entry: Entry, error: OSError) -> None:
        """The disk does not let this job be taken up; whoever found it tries again."""
        self.backlog.add(entry)
        self.backlog.show(entry, "queued", f"the disk: {error.strerror}")
        self._watcher.disk(error)

    # --- opening

    def _open(self, entry: Entry, at: str) -> Run:
        run = self.runs[entry.id] = self.loader.begin(entry, at)
        return run

    def _open_for_signal(self, workflow: str, signal: Signal) -> Run | None:
        entry = self.backlog.get(workflow)
        if entry is not None:
            return self._open(entry, stamp(self._clock()))
        if signal.verb != "retry":
            return None
        run = self._watcher.reopen(workflow)
        if run is not None and run.state.status in ("failed", "cancelled"):
            self.runs[workflow] = run
            self.backlog.add(run.entry)
            return run
        return None

    def _take_over(self, run: Run, name: str) -> None:
        """A step was running when the engine went away."""
        attempt = turn.known_attempt(run, name, self._grace)
        self.slots.used += 1
        pool = run.plan.steps[name].concurrency
        if pool is not None:
            self.pools.force(pool.pool, f"{run.id}/{name}")
        self._attach(run, attempt)

    def _attach(self, run: Run, attempt: Attempt) -> None:
        try:
            is_known = self._executor.attach(attempt)
        except OSError as error:  # short of descriptors, or the disk does not read: that says nothing about the attempt
            self._watcher.short_of(error, attempt)
            self._reactor.call_later(FINISH_AGAIN, lambda: self._attach(run, attempt))
            return
        if not is_known:
            why = {"kind": "lost", "message": "the attempt ended with the engine or the machine; nobody saw how"}
            self._deliver(run, Outcome(run.id, attempt.step, attempt.number, "lost", error=why))

    # --- small

    def _offer_start(self, entry: Entry) -> None:
        if entry.id not in self.backlog or entry.status != "queued":
            return
        if entry.due_at > stamp(self._clock()):
            self.backlog.postpone(entry)
            self.arm_due_timer()
        else:
            self.slots.offer(Candidate(entry.name, entry.id))
            self.backlog.show(entry, "queued", "a free slot")

    def arm_due_timer(self) -> None:
        """Wake up when the next postponed job is due, and look at the wall clock every half minute until then."""
        due = self.backlog.next_due()
        if due is None:
            return
        if self._due_timer is not None:
            self._due_timer.cancel()  # type: ignore[attr-defined]
        seconds = (moment(due) - self._clock()).total_seconds()
        self._due_timer = self._reactor.call_later(max(0.0, min(seconds, LONGEST_TIMER)), self._check_due)

    def _check_due(self) -> None:
        self._due_timer = None
        for entry in self.backlog.pop_due(stamp(self._clock())):
            self._offer_start(entry)
        self.arm_due_timer()

    def _deliver(self, run: Run, mail: Mail) -> None:
        run.mailbox.append(mail)
        if not run.stuck and run.id not in self.closer.closing:
            self._dirty[run.id] = run

    def _outcome(self, outcome: Outcome) -> None:
        run = self.runs.get(outcome.workflow)
        if run is not None:
            self._deliver(run, outcome)

    def _progress(self, workflow: str, step: str, number: int, percent: float, message: str | None) -> None:
        run = self.runs.get(workflow)
        if run is not None:
            self._deliver(run, Progress(step, number, percent, message))

    def _show(self, run: Run) -> None:
        """Keep the entry's line in the queue's view true. Nothing uncommitted may be shown."""
        state = run.state
        waits_for = run.entry.waits_for if state.status == run.entry.status == "queued" else None
        if state.active == 0 and state.status in ("running", "waiting"):
            retrying = min((s.retry_at for s in state.steps.values() if s.retry_at), default=None)
            if run.parked and not run.ready - run.parked.keys():
                waits_for = f"pool {next(iter(run.parked.values()))}"
            elif retrying and not run.ready:
                waits_for = f"retry at {retrying}"
            else:
                waits_for = "a free slot"
        self.backlog.show(run.entry, state.status, waits_for)
