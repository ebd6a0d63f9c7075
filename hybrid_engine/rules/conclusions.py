"""`conclude`: what an outcome means, as events. Retry policy, cancellation and stale results are settled here."""

from __future__ import annotations

from datetime import datetime, timedelta

from hybrid_engine.model import events as e
from hybrid_engine.model.attempt import Outcome
from hybrid_engine.model.stamps import stamp
from hybrid_engine.model.state import StepState, WorkflowState
from hybrid_engine.model.template import Step
from hybrid_engine.model.words import Json
from hybrid_engine.rules.retries import LOST_DELAY, delay_before, may_try_again


def conclude(state: WorkflowState, definition: Step, outcome: Outcome, now: datetime) -> e.Event | None:
    """The event that `outcome` means, or None when it is not the current attempt's: a late result changes nothing."""
    step = state.steps.get(outcome.step)
    if step is None or step.status != "running" or step.attempt != outcome.number:
        return None
    if outcome.kind == "completed":
        return e.StepCompleted(outcome.step, outcome.number, outcome.output, outcome.exit_code, outcome.output_ref)
    if state.cancel_requested_at or outcome.kind == "cancelled":
        return e.StepCancelled(outcome.step, outcome.number)
    return _after_failure(state, step, definition, outcome, now)


def _after_failure(state: WorkflowState, step: StepState, definition: Step, outcome: Outcome, now: datetime) -> e.Event:
    error: dict[str, Json] = outcome.error or {"kind": outcome.kind, "message": f"the attempt ended as {outcome.kind}"}
    lost = outcome.kind == "lost"
    tries = outcome.number - step.reopened_at_attempt
    if not may_try_again(definition.retry, attempts=tries, lost=step.lost, was_lost=lost, exit_code=outcome.exit_code):
        return e.StepFailed(outcome.step, outcome.number, error, outcome.exit_code)
    delay: timedelta = LOST_DELAY
    if not lost:
        seed = f"{state.id}/{outcome.step}/{outcome.number}"
        delay = delay_before(definition.retry, max(1, tries - step.lost), seed)
    return e.StepRetryScheduled(outcome.step, outcome.number, stamp(now + delay), error, outcome.exit_code, lost)
