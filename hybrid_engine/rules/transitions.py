"""The transition tables and `evolve`, the only function that changes a state.

Every status × event pair is in one of the two tables, or is illegal: then IllegalTransitionError is raised and the
state is as it was. A final status is left only by a `reopened` event. Folding a journal with `evolve` is what
`state.json` means; the diagram in docs/internals.md is drawn from these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hybrid_engine.errors import IllegalTransitionError
from hybrid_engine.model import events as e
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.state import StepState, WorkflowState
from hybrid_engine.model.words import FINAL_STEP

WORKFLOW_TABLE: dict[tuple[str, str], str] = {
    ("queued", "workflow_started"): "running",
    ("queued", "workflow_paused"): "paused",
    ("queued", "cancel_requested"): "queued",
    ("queued", "workflow_cancelled"): "cancelled",
    ("queued", "workflow_failed"): "failed",
    ("running", "workflow_paused"): "paused",
    ("running", "cancel_requested"): "running",
    ("running", "workflow_completed"): "completed",
    ("running", "workflow_failed"): "failed",
    ("running", "workflow_cancelled"): "cancelled",
    ("waiting", "workflow_paused"): "paused",
    ("waiting", "cancel_requested"): "waiting",
    ("waiting", "workflow_completed"): "completed",
    ("waiting", "workflow_failed"): "failed",
    ("waiting", "workflow_cancelled"): "cancelled",
    ("paused", "workflow_resumed"): "running",
    ("paused", "cancel_requested"): "paused",
    ("paused", "workflow_completed"): "completed",
    ("paused", "workflow_failed"): "failed",
    ("paused", "workflow_cancelled"): "cancelled",
    ("completed", "workflow_reopened"): "running",
    ("failed", "workflow_reopened"): "running",
    ("cancelled", "workflow_reopened"): "running",
}

STEP_TABLE: dict[tuple[str, str], str] = {
    ("pending", "step_started"): "running",
    ("pending", "step_skipped"): "skipped",
    ("pending", "step_failed"): "failed",
    ("pending", "step_cancelled"): "cancelled",
    ("running", "step_progressed"): "running",
    ("running", "step_completed"): "completed",
    ("running", "step_retry_scheduled"): "retrying",
    ("running", "step_failed"): "failed",
    ("running", "step_cancelled"): "cancelled",
    ("retrying", "step_started"): "running",
    ("retrying", "step_failed"): "failed",
    ("retrying", "step_cancelled"): "cancelled",
    ("waiting", "step_completed"): "completed",
    ("waiting", "step_failed"): "failed",
    ("waiting", "step_cancelled"): "cancelled",
    ("completed", "step_reopened"): "pending",
    ("failed", "step_reopened"): "pending",
    ("skipped", "step_reopened"): "pending",
    ("cancelled", "step_reopened"): "pending",
}

STEPS_MOVE_IN = frozenset({"running", "waiting", "paused"})
"""The workflow statuses in which events of steps are legal. A queued one's steps can only be cancelled with it."""

REMEMBERED_SIGNALS = 16


def evolve(state: WorkflowState | None, event: e.Event, n: int, at: Stamp) -> WorkflowState:
    """Fold event number `n`, of moment `at`, into `state`, which is changed in place and returned.

    The state of 10,000 steps cannot be copied for each event; whoever needs an earlier one folds again.
    Raises IllegalTransitionError, the state unchanged, when the tables have no place for the event.
    """
    if isinstance(event, e.WorkflowCreated):
        if state is not None:
            raise IllegalTransitionError("a workflow is created once")
        state = created(event)
    elif state is None:
        raise IllegalTransitionError(f"the first event is a {event.TYPE!r}, not 'workflow_created'")
    elif isinstance(event, e.StepEvent):
        _evolve_step(state, event, at)
    else:
        status = WORKFLOW_TABLE.get((state.status, event.TYPE))
        if status is None:
            raise IllegalTransitionError(f"workflow {state.id} is {state.status}: no {event.TYPE!r} from there")
        _WORKFLOW_CHANGES.get(event.TYPE, _no_change)(state, event, at)
        state.status = status if event.TYPE != "workflow_resumed" or state.started_at else "queued"
    state.seq = n
    state.updated_at = at
    return state


def fold(entries: Iterable[tuple[int, Stamp, e.Event]], state: WorkflowState | None = None) -> WorkflowState | None:
    """The state that numbered, dated events add up to; None for no events."""
    for n, at, event in entries:
        state = evolve(state, event, n, at)
    return state


def created(event: e.WorkflowCreated) -> WorkflowState:
    """The state of a workflow that is accepted and has done nothing."""
    return WorkflowState(
        id=event.workflow,
        template=event.template,
        version=event.version,
        queued_at=event.queued_at,
        due_at=event.due_at,
        priority=event.priority,
        user=event.user,
        trigger=event.trigger,
        key=event.key,
        source=event.source,
        parent=event.parent,
        forked_from=event.forked_from,
        params=event.params,
        labels=event.labels,
        steps={name: StepState() for name in event.steps},
        updated_at=event.queued_at,
    )


# --- what changes beside the status -------------------------------------------------------------------------------


def _no_change(state: WorkflowState, event: Any, at: Stamp) -> None:
    pass


def _started(state: WorkflowState, event: e.WorkflowStarted, at: Stamp) -> None:
    state.started_at = at


def _ended(state: WorkflowState, event: e.Event, at: Stamp) -> None:
    state.ended_at = at
    state.error = getattr(event, "error", None)


def _cancel_requested(state: WorkflowState, event: e.CancelRequested, at: Stamp) -> None:
    state.cancel_requested_at = at
    _remember_signal(state, event, at)


def _reopened(state: WorkflowState, event: e.WorkflowReopened, at: Stamp) -> None:
    state.ended_at = state.error = state.cancel_requested_at = None
    state.started_at = state.started_at or at
    _remember_signal(state, event, at)


def _remember_signal(state: WorkflowState, event: Any, at: Stamp) -> None:
    if event.signal:
        state.signals = [*state.signals, event.signal][-REMEMBERED_SIGNALS:]


_WORKFLOW_CHANGES: dict[str, Callable[[WorkflowState, Any, Stamp], None]] = {
    "workflow_started": _started,
    "workflow_completed": _ended,
    "workflow_failed": _ended,
    "workflow_cancelled": _ended,
    "workflow_reopened": _reopened,
    "workflow_paused": _remember_signal,
    "workflow_resumed": _remember_signal,
    "cancel_requested": _cancel_requested,
}


def _evolve_step(state: WorkflowState, event: e.StepEvent, at: Stamp) -> None:
    step = state.steps.get(event.step)
    before = step.status if step else "pending"
    status = STEP_TABLE.get((before, event.TYPE))
    if status is None:
        raise IllegalTransitionError(f"step {event.step} of {state.id} is {before}: no {event.TYPE!r} from there")
    if state.status not in STEPS_MOVE_IN and not (state.status == "queued" and event.TYPE == "step_cancelled"):
        raise IllegalTransitionError(f"workflow {state.id} is {state.status}: no {event.TYPE!r} of a step from there")
    number = getattr(event, "attempt", 0)
    expected = (step.attempt if step else 0) + (event.TYPE == "step_started")
    if number and number != expected:
        raise IllegalTransitionError(f"step {event.step} of {state.id}: attempt {number}, but {expected} is current")
    if step is None:
        step = state.steps[event.step] = StepState()
    _STEP_CHANGES[event.TYPE](step, event, at)
    step.status = status
    state.done += (status in FINAL_STEP) - (before in FINAL_STEP)
    state.active += (status == "running") - (before == "running")


def _step_started(step: StepState, event: e.StepStarted, at: Stamp) -> None:
    step.attempt = event.attempt
    step.boot = event.boot
    step.started_at = at
    step.ended_at = step.retry_at = step.error = step.exit_code = step.percent = step.message = None


def _step_progressed(step: StepState, event: e.StepProgressed, at: Stamp) -> None:
    step.percent = event.percent
    step.message = event.message


def _step_completed(step: StepState, event: e.StepCompleted, at: Stamp) -> None:
    step.ended_at = at
    step.output = event.output
    step.output_ref = event.output_ref
    step.exit_code = event.exit_code
    step.error = step.percent = step.message = None


def _step_retry_scheduled(step: StepState, event: e.StepRetryScheduled, at: Stamp) -> None:
    step.ended_at = at
    step.retry_at = event.retry_at
    step.error = event.error
    step.exit_code = event.exit_code
    step.lost += event.lost


def _step_failed(step: StepState, event: e.StepFailed, at: Stamp) -> None:
    step.ended_at = at
    step.retry_at = None
    step.error = event.error
    step.exit_code = event.exit_code


def _step_skipped(step: StepState, event: e.StepSkipped, at: Stamp) -> None:
    step.ended_at = at
    step.reason = event.reason if event.because is None else f"{event.reason}: {event.because}"


def _step_cancelled(step: StepState, event: e.StepCancelled, at: Stamp) -> None:
    step.ended_at = at
    step.retry_at = None


_OF_ATTEMPTS = (
    "started_at", "ended_at", "retry_at", "exit_code", "output", "output_ref", "error", "percent", "message", "reason",
)  # fmt: skip


def _step_reopened(step: StepState, event: e.StepReopened, at: Stamp) -> None:
    attempt = step.attempt
    for name in _OF_ATTEMPTS:
        setattr(step, name, None)
    step.lost = 0
    step.attempt = step.reopened_at_attempt = attempt


_STEP_CHANGES: dict[str, Callable[[StepState, Any, Stamp], None]] = {
    "step_started": _step_started,
    "step_progressed": _step_progressed,
    "step_completed": _step_completed,
    "step_retry_scheduled": _step_retry_scheduled,
    "step_failed": _step_failed,
    "step_skipped": _step_skipped,
    "step_cancelled": _step_cancelled,
    "step_reopened": _step_reopened,
}
