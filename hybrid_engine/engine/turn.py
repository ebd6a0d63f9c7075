"""A turn: what the mail of one run means, as events to be committed and effects to be performed after that.

No I/O: everything a turn wants done is left in `run.events`, `run.effects`, `run.ready` and `run.freed`. The events
are folded in at once, so that what follows from them is decided in the same turn and committed by the same write.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from hybrid_engine.engine.run import Mail, Run, Woken
from hybrid_engine.errors import ExpressionError
from hybrid_engine.model import events as e
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.effects import Effect, Record, StartStep, WakeStep
from hybrid_engine.model.job import Job
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.words import FINAL_STEP, may_reopen
from hybrid_engine.rules.attempts import resolve
from hybrid_engine.rules.conclusions import conclude
from hybrid_engine.rules.decisions import Frontier, decide, decide_all, decide_cancel
from hybrid_engine.rules.reopening import reopening
from hybrid_engine.rules.transitions import evolve


def created_event(job: Job) -> e.WorkflowCreated:
    """The first event of a workflow: all that its job says."""
    return e.WorkflowCreated(
        workflow=job.id,
        template=job.template,
        version=job.version,
        queued_at=job.queued_at,
        due_at=job.due_at,
        priority=job.priority,
        user=job.user,
        trigger=job.trigger,
        params=job.params,
        labels=job.labels,
        steps=job.steps,
        key=job.key,
        source=job.source,
        parent=job.parent,
    )


def job_of(state: WorkflowState) -> Job:
    """The job that a workflow's first event told of."""
    return Job(
        id=state.id,
        template=state.template,
        version=state.version,
        queued_at=state.queued_at,
        due_at=state.due_at,
        params=state.params,
        priority=state.priority,
        key=state.key,
        labels=state.labels,
        user=state.user,
        trigger=state.trigger,
        source=state.source,
        steps=list(state.steps),
        parent=state.parent,
    )


def record(run: Run, event: e.Event) -> None:
    """Fold an event in, to be committed with this turn."""
    evolve(run.state, event, run.state.seq + 1, run.at)
    run.events.append(event)


def apply(run: Run, effects: Iterable[Effect]) -> None:
    """Take effects as they are decided: records are folded in before the next is drawn."""
    for effect in effects:
        if isinstance(effect, Record):
            record(run, effect.event)
        elif isinstance(effect, StartStep):
            get_ready(run, effect.step)
        else:
            run.effects.append(effect)


def get_ready(run: Run, step: str) -> None:
    """The step wants a slot."""
    run.ready.add(step)
    run.newly_ready.append(step)


def begin(run: Run) -> None:
    """The workflow starts: it has a slot to start in."""
    record(run, e.WorkflowStarted())
    apply(run, decide_all(run.state, run.frontier))


def look_around(run: Run, *, torn_retry: e.WorkflowReopened | None = None) -> None:
    """After a restart: find what should happen now, whatever the journal ends with.

    The write of a `torn_retry` may have been torn, in a home of format 1; the steps whose events it lost are reopened
    now.
    """
    if torn_retry is not None:
        _reopen_steps(run, torn_retry)
    if run.state.cancel_requested_at:
        apply(run, decide_cancel(run.state, run.frontier))
    elif run.state.status not in ("queued", "paused"):
        apply(run, decide_all(run.state, run.frontier))


def handle(run: Run, mail: Mail, now: datetime) -> None:
    """One piece of mail."""
    if isinstance(mail, Outcome):
        _handle_outcome(run, mail, now)
    elif isinstance(mail, Woken):
        step = run.state.steps[mail.step]
        # A pause leaves its timer behind, which may go off when a later attempt already waits for a later moment.
        if step.status == "retrying" and step.retry_at == mail.at and run.state.status != "paused":
            get_ready(run, mail.step)
    elif isinstance(mail, Signal):
        _handle_signal(run, mail)


def may_start(run: Run, step: str) -> bool:
    """Is this step still waiting to begin an attempt? Things may have changed since it was offered."""
    state = run.state
    return (
        step in run.ready
        and state.status == "running"
        and not state.cancel_requested_at
        and state.steps[step].status in ("pending", "retrying")
    )


def start_step(run: Run, name: str, grace: float, boot: str | None) -> bool:
    """Begin an attempt of a step that was given a slot; False when it takes none because it cannot begin."""
    run.ready.discard(name)
    try:
        attempt = resolve(run.state, run.plan.template, run.plan.definition(name), name, grace, run.frontier.outputs)
    except ExpressionError as error:
        number = run.state.steps[name].attempt
        record(run, e.StepFailed(name, number, {"kind": "expression", "message": str(error)}))
        apply(run, decide(run.state, run.frontier, [name]))
        return False
    attempt.started_at, attempt.boot = run.at, boot
    record(run, e.StepStarted(name, attempt.number, boot))
    run.effects.append(attempt)
    return True


def known_attempt(run: Run, name: str, grace: float) -> Attempt:
    """The attempt that a step was making when the engine went away: enough of it to find and to end it."""
    definition, step = run.plan.definition(name), run.state.steps[name]
    return Attempt(
        workflow=run.id,
        step=name,
        number=step.attempt,
        script=definition.run,
        function=definition.call,
        timeout=definition.timeout.total_seconds() if definition.timeout else None,
        grace=grace,
        started_at=step.started_at,
        boot=step.boot,
    )


def _handle_outcome(run: Run, outcome: Outcome, now: datetime) -> None:
    event = conclude(run.state, run.plan.definition(outcome.step), outcome, now)
    if event is None:
        return
    record(run, event)
    run.freed += 1
    run.ended.append(outcome.step)
    run.progress.pop(outcome.step, None)
    if isinstance(event, e.StepRetryScheduled):
        run.retrying.add(outcome.step)
        run.effects.append(WakeStep(outcome.step, event.retry_at))
    elif run.state.steps[outcome.step].status in FINAL_STEP:
        apply(run, decide(run.state, run.frontier, [outcome.step]))


def _handle_signal(run: Run, signal: Signal) -> None:
    """Act on a signal, once: its name is remembered in the state, so one that was left lying is not acted on again."""
    run.signals.append(signal.name)
    state = run.state
    if signal.name in state.signals:
        return
    if signal.verb == "cancel" and not state.is_final and not state.cancel_requested_at:
        record(run, e.CancelRequested(signal.by, signal.reason, signal.name))
        run.ready.clear()
        apply(run, decide_cancel(state, run.frontier))
    elif signal.verb == "pause" and state.status in ("queued", "running", "waiting"):
        record(run, e.WorkflowPaused(signal.by, signal.reason, signal.name))
        run.ready.clear()
    elif signal.verb == "resume" and state.status == "paused":
        record(run, e.WorkflowResumed(signal.by, signal.reason, signal.name))
        if state.started_at and not state.cancel_requested_at:
            apply(run, decide_all(state, run.frontier))
    elif signal.verb == "retry" and may_retry(state, signal):
        _reopen(run, signal)


def may_retry(state: WorkflowState, signal: Signal) -> bool:
    """Can this retry be done? One that names a step which is not there cannot: nobody knows what was meant."""
    chosen = signal.steps if signal.from_step is None else (signal.from_step, *signal.steps)
    return may_reopen(state.status, chosen=bool(chosen)) and all(name in state.steps for name in chosen)


def _reopen(run: Run, signal: Signal) -> None:
    steps = list(signal.steps) or None
    event = e.WorkflowReopened(signal.by, signal.reason, signal.name, signal.from_step, steps)
    record(run, event)
    _reopen_steps(run, event)
    apply(run, decide_all(run.state, run.frontier))


def _reopen_steps(run: Run, retry: e.WorkflowReopened) -> None:
    for event in reopening(run.state, run.plan, retry.from_step, retry.steps or ()):
        record(run, event)
    run.frontier = Frontier(run.plan, run.state, run.frontier.outputs)
