"""Which steps run again when a workflow is retried: such that no result is older than what it was made from.

A step that needs one which runs again, directly or over others, runs again, because files travel between them unseen;
so does a step that names one in an expression. A step that its condition skipped is asked again under the same rule.
Whatever else is completed stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hybrid_engine.model import events as e
from hybrid_engine.model.state import StepState, WorkflowState
from hybrid_engine.model.words import FINAL_STEP
from hybrid_engine.rules.decisions import UPSTREAM, Plan, step_stops_others


def reopening(
    state: WorkflowState, plan: Plan, from_: str | None = None, steps: Sequence[str] = ()
) -> list[e.StepReopened]:
    """The events that open the steps which shall run again; none for those that are open already.

    So it can be asked again when only some of its events were written.
    """
    again = running_again(state.steps, plan, from_, steps)
    return [e.StepReopened(name) for name, step in state.steps.items() if name in again and step.status in FINAL_STEP]


def running_again(
    states: Mapping[str, StepState], plan: Plan, from_: str | None = None, steps: Sequence[str] = ()
) -> set[str]:
    """The steps that a retry runs, or asks, again.

    By default those that failed, were cancelled, or were skipped because of such a step, and all that depends on them.
    With `from_` that step, too. With `steps` only those, and what depends on them.
    """
    first = {name for name, step in states.items() if step.status == "pending"}
    first.update(steps)
    if from_ is not None:
        first.add(from_)
    if not steps:
        first.update(name for name, step in states.items() if _ended_badly(step))
    return _with_dependents(first, plan)


def kept_back(
    states: Mapping[str, StepState], plan: Plan, steps: Iterable[str], again: set[str]
) -> tuple[str, str] | None:
    """The first of the chosen steps that could not begin, and the step that it needs which stays as badly as it ended.

    None when each of them can.
    """
    for name in steps:
        for need in plan.needs[name]:
            if need not in again and step_stops_others(plan.definition(need), states[need]):
                return name, need
    return None


def _ended_badly(step: StepState) -> bool:
    return step.status in ("failed", "cancelled") or (
        step.status == "skipped" and (step.reason or "").startswith(UPSTREAM)
    )


def _with_dependents(first: Iterable[str], plan: Plan) -> set[str]:
    found = set(first)
    todo = list(found)
    while todo:
        name = todo.pop()
        for behind in (*plan.dependents[name], *plan.readers.of(name)):
            if behind not in found:
                found.add(behind)
                todo.append(behind)
    return found
