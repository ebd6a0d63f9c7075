"""Effects: what the core wants done next, imperative. The engine performs them; nothing here is durable."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_engine.model.events import Event
from hybrid_engine.model.stamps import Stamp


@dataclass(slots=True)
class StartStep:
    """The step may begin an attempt as soon as a slot (and its pool) is free."""

    step: str


@dataclass(slots=True)
class WakeStep:
    """The step may begin its next attempt at `at`."""

    step: str
    at: Stamp


@dataclass(slots=True)
class StopAttempt:
    """End what runs of the step; its outcome will follow."""

    step: str


@dataclass(slots=True)
class Record:
    """A fact that follows from the others, needing nobody's help: a skipped step, the end of the workflow."""

    event: Event


Effect = StartStep | WakeStep | StopAttempt | Record
