"""The names an expression can see: `params`, `steps.<name>.output|status|…`, `workflow`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hybrid_engine.model.state import StepState, WorkflowState
from hybrid_engine.model.words import Json

Outputs = Mapping[str, Json]
"""By step, the outputs that a state names only by reference: whoever hands them in may load them when asked for."""
NONE_LOADED: Outputs = {}
FIELDS = ("status", "output", "exit_code", "attempt", "error")


class StepWithLargeOutput(Mapping[str, Json]):
    """One step as an expression sees it, whose output is asked for only when it is looked at, and then once."""

    __slots__ = ("_loaded", "_name", "_outputs", "_step")

    def __init__(self, name: str, step: StepState, outputs: Outputs) -> None:
        self._name = name
        self._step = step
        self._outputs = outputs
        self._loaded: list[Json] = []

    def __getitem__(self, field: str) -> Json:
        if field not in FIELDS:
            raise KeyError(field)
        if field != "output":
            return getattr(self._step, field)
        if not self._loaded:
            self._loaded.append(self._outputs[self._name])
        return self._loaded[0]

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def __len__(self) -> int:
        return len(FIELDS)


class Steps(Mapping[str, Mapping[str, Json]]):
    """`steps` as an expression sees it, made on demand: a workflow of 10,000 steps pays only for those it names."""

    __slots__ = ("_large", "_outputs", "_state")

    def __init__(self, state: WorkflowState, outputs: Outputs) -> None:
        self._state = state
        self._outputs = outputs
        self._large: dict[str, StepWithLargeOutput] = {}

    def __getitem__(self, name: str) -> Mapping[str, Json]:
        step = self._state.steps[name]
        if step.output_ref is None:
            return {field: getattr(step, field) for field in FIELDS}
        if name not in self._large:
            self._large[name] = StepWithLargeOutput(name, step, self._outputs)
        return self._large[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.steps)

    def __len__(self) -> int:
        return len(self._state.steps)


def names_of(state: WorkflowState, outputs: Outputs = NONE_LOADED) -> dict[str, Json]:
    """The names for evaluating an expression of this workflow; large outputs come from `outputs`."""
    return {
        "params": state.params,
        "steps": Steps(state, outputs),
        "workflow": {
            "id": state.id,
            "template": state.template,
            "user": state.user,
            "labels": state.labels,
            "priority": state.priority,
            "queued_at": state.queued_at,
        },
    }
