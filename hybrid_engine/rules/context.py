"""The names an expression can see: `params`, `steps.<name>.output|status|…`, `workflow`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.words import Json


class Steps(Mapping[str, dict[str, Json]]):
    """`steps` as an expression sees it, made on demand: a workflow of 10,000 steps pays only for those it names."""

    __slots__ = ("_state",)

    def __init__(self, state: WorkflowState) -> None:
        self._state = state

    def __getitem__(self, name: str) -> dict[str, Json]:
        step = self._state.steps[name]
        return {
            "status": step.status,
            "output": step.output,
            "exit_code": step.exit_code,
            "attempt": step.attempt,
            "error": step.error,
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.steps)

    def __len__(self) -> int:
        return len(self._state.steps)


def names_of(state: WorkflowState) -> dict[str, Json]:
    """The names for evaluating an expression of this workflow."""
    return {
        "params": state.params,
        "steps": Steps(state),
        "workflow": {
            "id": state.id,
            "template": state.template,
            "user": state.user,
            "labels": state.labels,
            "priority": state.priority,
            "queued_at": state.queued_at,
        },
    }
