"""The state of a workflow: what its events add up to. `state.json` is its rendering.

Only `rules.transitions.evolve` changes a state. Fields hold JSON values only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.words import FINAL_STEP, FINAL_WORKFLOW, Json


@dataclass(slots=True)
class StepState:
    """One activation of a step. `attempt` is the number of the latest attempt, 0 when there was none."""

    status: str = "pending"
    attempt: int = 0
    lost: int = 0
    reopened_at_attempt: int = 0
    started_at: Stamp | None = None
    ended_at: Stamp | None = None
    retry_at: Stamp | None = None
    exit_code: int | None = None
    output: Json = None
    error: dict[str, Json] | None = None
    percent: float | None = None
    message: str | None = None
    reason: str | None = None
    boot: str | None = None
    output_ref: dict[str, Json] | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_STEP


@dataclass(slots=True)
class WorkflowState:
    """`seq` is the number of the last event folded in; `done` counts the steps in a final status."""

    id: str
    template: str
    version: str
    queued_at: Stamp
    due_at: Stamp
    status: str = "queued"
    seq: int = 0
    priority: int = 0
    user: str = "anonymous"
    trigger: str = "inbox"
    key: str | None = None
    source: str | None = None
    parent: str | None = None
    forked_from: str | None = None
    params: dict[str, Json] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    steps: dict[str, StepState] = field(default_factory=dict)
    started_at: Stamp | None = None
    ended_at: Stamp | None = None
    updated_at: Stamp | None = None
    cancel_requested_at: Stamp | None = None
    error: dict[str, Json] | None = None
    signals: list[str] = field(default_factory=list)
    done: int = 0
    active: int = 0

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_WORKFLOW
