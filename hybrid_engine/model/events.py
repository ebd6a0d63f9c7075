"""Events: the durable facts of a workflow's life, past tense. One event is one line of `journal.jsonl`.

Fields hold JSON values only (moments are stamps), so an event and its line say the same. Treat events as immutable:
they are not frozen only because making a frozen one costs three times as much, and every step makes three.

Adding a field: give it a default, so that old journals still load. Never rename or remove one (see tests/golden).
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.words import Json


@dataclass(slots=True)
class Event:
    """Base of all events. `TYPE` is the word in the journal."""

    TYPE: ClassVar[str] = ""


# --- of the workflow ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class WorkflowCreated(Event):
    """The job was accepted. Holds all that the job asked for, so that the journal tells the whole story."""

    TYPE: ClassVar[str] = "workflow_created"
    workflow: str
    template: str
    version: str
    queued_at: Stamp
    due_at: Stamp
    priority: int = 0
    user: str = "anonymous"
    trigger: str = "inbox"
    params: dict[str, Json] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    key: str | None = None
    source: str | None = None
    parent: str | None = None
    forked_from: str | None = None


@dataclass(slots=True)
class WorkflowStarted(Event):
    TYPE: ClassVar[str] = "workflow_started"


@dataclass(slots=True)
class WorkflowPaused(Event):
    TYPE: ClassVar[str] = "workflow_paused"
    by: str | None = None
    reason: str | None = None
    signal: str | None = None


@dataclass(slots=True)
class WorkflowResumed(Event):
    TYPE: ClassVar[str] = "workflow_resumed"
    by: str | None = None
    reason: str | None = None
    signal: str | None = None


@dataclass(slots=True)
class CancelRequested(Event):
    """Somebody asked to cancel. The workflow is `cancelled` only when nothing of it runs any more."""

    TYPE: ClassVar[str] = "cancel_requested"
    by: str | None = None
    reason: str | None = None
    signal: str | None = None


@dataclass(slots=True)
class WorkflowCompleted(Event):
    TYPE: ClassVar[str] = "workflow_completed"


@dataclass(slots=True)
class WorkflowFailed(Event):
    TYPE: ClassVar[str] = "workflow_failed"
    error: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class WorkflowCancelled(Event):
    TYPE: ClassVar[str] = "workflow_cancelled"


@dataclass(slots=True)
class WorkflowReopened(Event):
    """A final workflow goes on (`hybrid retry`). The steps that shall run again follow as StepReopened.

    `from_step` and `steps` are what somebody chose, if anything.
    """

    TYPE: ClassVar[str] = "workflow_reopened"
    by: str | None = None
    reason: str | None = None
    signal: str | None = None
    from_step: str | None = None
    steps: list[str] | None = None


# --- of a step ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StepEvent(Event):
    """`step` is the address: name, then turn and item where there are any."""

    step: str


@dataclass(slots=True)
class StepStarted(StepEvent):
    """Committed before the attempt is handed to an executor. `attempt` counts from 1.

    `boot` names the machine's start: what an attempt of an earlier one left in unsynced files cannot be trusted.
    """

    TYPE: ClassVar[str] = "step_started"
    attempt: int
    boot: str | None = None


@dataclass(slots=True)
class StepProgressed(StepEvent):
    """`percent` is 0 to 100."""

    TYPE: ClassVar[str] = "step_progressed"
    attempt: int
    percent: float
    message: str | None = None


@dataclass(slots=True)
class StepCompleted(StepEvent):
    """`output_ref` stands in place of a large output: {path below the workflow's folder, bytes, sha256} of a file that
    was durable before this was committed."""

    TYPE: ClassVar[str] = "step_completed"
    attempt: int
    output: Json = None
    exit_code: int | None = None
    output_ref: dict[str, Json] | None = None


@dataclass(slots=True)
class StepRetryScheduled(StepEvent):
    """The attempt ended badly; another will start at `retry_at`. `lost` when it died with the engine or the machine."""

    TYPE: ClassVar[str] = "step_retry_scheduled"
    attempt: int
    retry_at: Stamp
    error: dict[str, Json] = field(default_factory=dict)
    exit_code: int | None = None
    lost: bool = False


@dataclass(slots=True)
class StepFailed(StepEvent):
    """No further attempt. `attempt` is 0 when the step could not even be started (a broken expression)."""

    TYPE: ClassVar[str] = "step_failed"
    attempt: int
    error: dict[str, Json] = field(default_factory=dict)
    exit_code: int | None = None


@dataclass(slots=True)
class StepSkipped(StepEvent):
    """`reason` is "condition" (its `if` was false) or "upstream" (a step it needs failed or was itself so skipped)."""

    TYPE: ClassVar[str] = "step_skipped"
    reason: str
    because: str | None = None


@dataclass(slots=True)
class StepCancelled(StepEvent):
    """`attempt` is 0 when the step had never started."""

    TYPE: ClassVar[str] = "step_cancelled"
    attempt: int = 0


@dataclass(slots=True)
class StepReopened(StepEvent):
    TYPE: ClassVar[str] = "step_reopened"


EVENT_TYPES: dict[str, type[Event]] = {
    value.TYPE: value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, Event) and value.TYPE
}
"""By the word in the journal."""

_FIELDS: dict[type[Event], tuple[tuple[str, Any], ...]] = {
    cls: tuple((f.name, f.default if f.default is not MISSING else MISSING) for f in fields(cls))
    for cls in EVENT_TYPES.values()
}


def as_record(event: Event) -> dict[str, Json]:
    """The fields of `event` as they stand in the journal: those at their default are left out."""
    return {
        name: value
        for name, default in _FIELDS[type(event)]
        if (value := getattr(event, name)) != default or default is MISSING
    }


def from_record(type_: str, record: dict[str, Json]) -> Event:
    """The event of a journal line. Raises KeyError for an unknown type, TypeError for fields that do not fit."""
    return EVENT_TYPES[type_](**record)
