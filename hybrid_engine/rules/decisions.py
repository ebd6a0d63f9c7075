"""`decide`: what should happen next in a workflow.

It looks only at the steps that something happened to and at those behind them, so a workflow of 10,000 steps costs
O(edges) over its life. `Frontier` is the memory that makes this possible; it is derived and can be rebuilt any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model import events as e
from hybrid_engine.model.effects import Effect, Record, StartStep, StopAttempt, WakeStep
from hybrid_engine.model.state import StepState, WorkflowState
from hybrid_engine.model.template import Step, Template
from hybrid_engine.model.words import FINAL_STEP
from hybrid_engine.rules.context import NONE_LOADED, Outputs, names_of
from hybrid_engine.rules.expressions import evaluate_condition
from hybrid_engine.rules.readers import Readers

UPSTREAM = "upstream"
CONDITION = "condition"


class Plan:
    """A template made ready for deciding: who waits for whom. Shared by all workflows of one version."""

    __slots__ = ("_readers", "dependents", "needs", "position", "steps", "template", "waits")

    def __init__(self, template: Template) -> None:
        self.template = template
        self.steps: dict[str, Step] = dict(template.steps)
        self.position = {name: number for number, name in enumerate(self.steps)}
        self.needs: dict[str, tuple[str, ...]] = {name: tuple(dict.fromkeys(s.needs)) for name, s in self.steps.items()}
        self.waits: dict[str, int] = {name: len(needs) for name, needs in self.needs.items()}
        self.dependents: dict[str, list[str]] = {name: [] for name in self.steps}
        for name, needs in self.needs.items():
            for need in needs:
                self.dependents[need].append(name)
        self._readers: Readers | None = None

    @property
    def readers(self) -> Readers:
        """Who names whom in expressions. Made when it is asked for the first time: only a retry wants to know."""
        if self._readers is None:
            self._readers = Readers(self.template)
        return self._readers

    def definition(self, address: str) -> Step:
        """The definition of the step that an address (name, then iteration and item) belongs to."""
        return self.steps.get(address) or self.steps[address.partition(".")[0]]

    def position_of(self, address: str) -> int:
        """The place of the address's step in its template."""
        return self.position[address if address in self.position else address.partition(".")[0]]


class Frontier:
    """How many needs of each step are not final yet. `blocked` are steps that a failure upstream keeps from running.
    `outputs` are the large ones, for conditions."""

    __slots__ = ("blocked", "outputs", "plan", "unmet")

    def __init__(self, plan: Plan, state: WorkflowState, outputs: Outputs = NONE_LOADED) -> None:
        self.plan = plan
        self.outputs = outputs
        self.unmet = dict(plan.waits)
        self.blocked: dict[str, str] = {}
        if state.done:
            for name, step in state.steps.items():
                if step.status in FINAL_STEP:
                    self.settle(name, step)

    def settle(self, name: str, step: StepState) -> list[str]:
        """`name` has reached a final status: return the steps whose needs are all final now."""
        fails = step_stops_others(self.plan.definition(name), step)
        free = []
        for behind in self.plan.dependents[name]:
            self.unmet[behind] -= 1
            if fails:
                self.blocked.setdefault(behind, name)
            if self.unmet[behind] == 0:
                free.append(behind)
        return free


def step_stops_others(definition: Step, step: StepState) -> bool:
    """Does this final step keep those that need it from running?"""
    if step.status in ("failed", "cancelled"):
        return not definition.continue_on_error
    return step.status == "skipped" and (step.reason or "").startswith(UPSTREAM)


def decide(state: WorkflowState, frontier: Frontier, touched: Iterable[str]) -> Iterator[Effect]:
    """The effects that follow from the steps in `touched` having reached a final status.

    A Record must be folded in before the next effect is drawn: it may be what the next one follows from.
    """
    work = list(touched)
    while work:
        name = work.pop()
        for behind in frontier.settle(name, state.steps[name]):
            for effect in _consider(state, frontier, behind):
                yield effect
                if isinstance(effect, Record) and state.steps[behind].status in FINAL_STEP:
                    work.append(behind)
    if state.done == len(state.steps) and not state.is_final:
        yield Record(conclusion_of(state, frontier.plan))


def decide_all(state: WorkflowState, frontier: Frontier) -> Iterator[Effect]:
    """The effects that follow from the state as a whole: at the start, after a restart, when it is resumed."""
    settled: list[str] = []
    for name, step in list(state.steps.items()):
        if step.status == "pending" and frontier.unmet[name] == 0:
            for effect in _consider(state, frontier, name):
                yield effect
                if isinstance(effect, Record) and state.steps[name].status in FINAL_STEP:
                    settled.append(name)
        elif step.status == "retrying" and step.retry_at and state.status != "paused":
            yield WakeStep(name, step.retry_at)
    yield from decide(state, frontier, settled)


def decide_cancel(state: WorkflowState, frontier: Frontier) -> Iterator[Effect]:
    """The effects of a requested cancellation: nothing starts any more, what runs is ended, the rest is cancelled."""
    for name, step in list(state.steps.items()):
        if step.status == "running":
            yield StopAttempt(name)
        elif step.status not in FINAL_STEP:
            yield Record(e.StepCancelled(name, step.attempt))
    if state.done == len(state.steps) and not state.is_final:
        yield Record(conclusion_of(state, frontier.plan))


def _consider(state: WorkflowState, frontier: Frontier, name: str) -> Iterator[Effect]:
    """What to do with a step whose needs are all final."""
    step = state.steps[name]
    if step.status != "pending":
        return
    definition = frontier.plan.definition(name)
    if state.cancel_requested_at:
        yield Record(e.StepCancelled(name, step.attempt))
    elif name in frontier.blocked:
        yield Record(e.StepSkipped(name, UPSTREAM, frontier.blocked[name]))
    elif definition.if_ is None:
        if state.status != "paused":
            yield StartStep(name)
    else:
        yield from _consider_condition(state, definition, name, frontier.outputs)


def _consider_condition(state: WorkflowState, definition: Step, name: str, outputs: Outputs) -> Iterator[Effect]:
    try:
        holds = evaluate_condition(definition.if_, names_of(state, outputs))
    except ExpressionError as error:
        yield Record(e.StepFailed(name, 0, {"kind": "expression", "message": f"if: {error.message}"}))
        return
    if not holds:
        yield Record(e.StepSkipped(name, CONDITION))
    elif state.status != "paused":
        yield StartStep(name)


def conclusion_of(state: WorkflowState, plan: Plan) -> e.Event:
    """The last event of a workflow all of whose steps are final."""
    if state.cancel_requested_at:
        return e.WorkflowCancelled()
    stopped = [
        name
        for name, step in state.steps.items()
        if step.status in ("failed", "cancelled") and not plan.definition(name).continue_on_error
    ]
    if not stopped:
        return e.WorkflowCompleted()
    first = state.steps[stopped[0]]
    cause = first.error or {}
    how = f"failed: {cause.get('message', '')}" if first.status == "failed" else "was cancelled"
    also = f" (and {len(stopped) - 1} more)" if len(stopped) > 1 else ""
    return e.WorkflowFailed({"kind": "step", "step": stopped[0], "message": f"step {stopped[0]} {how}{also}"})
