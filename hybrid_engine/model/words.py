"""The words of statuses and triggers, and which of them are final."""

from __future__ import annotations

from typing import Any, Literal

Json = Any
"""null, bool, int, finite float, str, list of Json, dict of str to Json."""

WorkflowStatus = Literal["queued", "running", "waiting", "paused", "completed", "failed", "cancelled"]
StepStatus = Literal["pending", "running", "retrying", "waiting", "completed", "failed", "skipped", "cancelled"]
Trigger = Literal["cli", "inbox", "api", "schedule", "parent"]

WORKFLOW_STATUSES: tuple[WorkflowStatus, ...] = (
    "queued", "running", "waiting", "paused", "completed", "failed", "cancelled",
)  # fmt: skip
STEP_STATUSES: tuple[StepStatus, ...] = (
    "pending", "running", "retrying", "waiting", "completed", "failed", "skipped", "cancelled",
)  # fmt: skip

FINAL_WORKFLOW: frozenset[str] = frozenset({"completed", "failed", "cancelled"})
FINAL_STEP: frozenset[str] = frozenset({"completed", "failed", "skipped", "cancelled"})


def may_reopen(status: str, *, chosen: bool) -> bool:
    """May a workflow of this status be retried? A completed one only when somebody has `chosen` steps of it."""
    return status in ("failed", "cancelled") or (chosen and status == "completed")
