"""A run: one started workflow in memory, and the mail it gets. Only workflows that have something to do have runs."""

from __future__ import annotations

from typing import Any

from hybrid_engine.model.attempt import Outcome
from hybrid_engine.model.effects import Effect
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.events import Event, WorkflowReopened
from hybrid_engine.model.job import Job
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.ports.storage import Turn
from hybrid_engine.rules.context import NONE_LOADED, Outputs
from hybrid_engine.rules.decisions import Frontier, Plan

__all__ = ["Begin", "Entry", "Mail", "Run", "Signal", "Woken"]


class Woken:
    """The time `at` of a step's next attempt has come."""

    __slots__ = ("at", "step")

    def __init__(self, step: str, at: Stamp) -> None:
        self.step = step
        self.at = at


class Begin:
    """Look at the workflow as a whole: it was found at a restart. `torn_retry`: the last it did, perhaps only half."""

    __slots__ = ("torn_retry",)

    def __init__(self, torn_retry: WorkflowReopened | None) -> None:
        self.torn_retry = torn_retry


Mail = Outcome | Signal | Woken | Begin


class Run:
    """One workflow under way.

    `mailbox` holds what happened and was not yet looked at. `events` are folded into `state` but not yet committed:
    between rounds there are none, unless the disk fails. `effects` are what may be done only after the commit. `ready`
    steps want a slot, the `newly_ready` ones since this turn; `offered` ones are known to the dispatcher, and of these
    the `parked` ones wait in the pool named there; `retrying` ones may wait for their next attempt. `freed` counts the
    slots and `ended` names the steps of attempts that ended in this turn. `has_left`: the workflow is out of the queue,
    and comes back with the next commit. `progress` is what running steps say of themselves: (percent, message).
    """

    __slots__ = (
        "at", "effects", "ended", "entry", "events", "freed", "frontier", "has_left", "job", "mailbox", "newly_ready",
        "offered", "parked", "plan", "pool", "progress", "ready", "retrying", "signals", "state", "stuck", "view_at",
        "viewing",
    )  # fmt: skip

    def __init__(
        self, job: Job, entry: Entry, plan: Plan, state: WorkflowState, outputs: Outputs = NONE_LOADED
    ) -> None:
        self.job = job
        self.entry = entry
        self.plan = plan
        self.state = state
        self.frontier = Frontier(plan, state, outputs)
        self.mailbox: list[Mail] = []
        self.events: list[Event] = []
        self.at: Stamp = ""
        self.effects: list[Effect | Any] = []
        self.signals: list[str] = []
        self.ready: set[str] = set()
        self.newly_ready: list[str] = []
        self.offered: set[str] = set()
        self.parked: dict[str, str] = {}
        self.retrying: set[str] = (
            {name for name, step in state.steps.items() if step.status == "retrying"} if state.seq > 1 else set()
        )
        self.progress: dict[str, tuple[float, str | None]] = {}
        self.ended: list[str] = []
        self.freed = 0
        self.pool: str | None = None
        self.stuck = False
        self.has_left = False
        self.view_at = 0.0
        self.viewing = False

    @property
    def id(self) -> str:
        return self.job.id

    def turns(self) -> list[Turn]:
        """What is to be committed. A first event is dated as the job was asked for, whenever the rest happens: so a
        workflow that has not begun is known from its job alone."""
        first, events, turns = self.state.seq - len(self.events) + 1, self.events, []
        if first == 1 and events:
            turns.append(Turn(self.job.id, 1, self.job.queued_at, events[:1]))
            first, events = 2, events[1:]
        if events:
            turns.append(Turn(self.job.id, first, self.at, events))
        return turns
