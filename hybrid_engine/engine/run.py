"""A run: one started workflow in memory, and an entry: one unfinished job in memory.

A home may hold 100,000 entries, so they are small; runs exist only for workflows that have something to do.
"""

from __future__ import annotations

from typing import Any

from hybrid_engine.model.attempt import Outcome
from hybrid_engine.model.effects import Effect
from hybrid_engine.model.events import Event
from hybrid_engine.model.ids import queue_name
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.ports.storage import Journal
from hybrid_engine.rules.decisions import Frontier, Plan


class Entry:
    """What memory and `queue-state.json` know of an unfinished job. `name` is its name in `queue/`, and its rank."""

    __slots__ = (
        "due_at", "id", "labels", "line", "name", "priority", "queued_at", "status", "template", "user", "waits_for",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        id: str,
        template: str,
        priority: int,
        due_at: Stamp,
        queued_at: Stamp,
        user: str,
        labels: dict[str, str] | None,
    ) -> None:
        self.name = name
        self.id = id
        self.template = template
        self.priority = priority
        self.due_at = due_at
        self.queued_at = queued_at
        self.user = user
        self.labels = labels or None
        self.status = "queued"
        self.waits_for: str | None = None
        self.line: tuple[str, bytes] | None = None

    @classmethod
    def of(cls, job: Job) -> Entry:
        name = queue_name(job.priority, job.due_at, job.id)
        return cls(name, job.id, job.template, job.priority, job.due_at, job.queued_at, job.user, job.labels)

    def show(self, status: str, waits_for: str | None) -> bool:
        """Change what the view says of this job; True when that is something new."""
        if status == self.status and waits_for == self.waits_for:
            return False
        self.status, self.waits_for, self.line = status, waits_for, None
        return True


class Signal:
    """A request that somebody dropped for this workflow. `name` is that of its file."""

    __slots__ = ("by", "name", "reason", "verb")

    def __init__(self, verb: str, name: str, by: str | None = None, reason: str | None = None) -> None:
        self.verb = verb
        self.name = name
        self.by = by
        self.reason = reason


class Woken:
    """The time `at` of a step's next attempt has come."""

    __slots__ = ("at", "step")

    def __init__(self, step: str, at: Stamp) -> None:
        self.step = step
        self.at = at


class Granted:
    """A slot (and a place in its pool) was given to a step."""

    __slots__ = ("step",)

    def __init__(self, step: str) -> None:
        self.step = step


class Progress:
    """What a running step says of itself."""

    __slots__ = ("message", "number", "percent", "step")

    def __init__(self, step: str, number: int, percent: float, message: str | None) -> None:
        self.step = step
        self.number = number
        self.percent = percent
        self.message = message


class Begin:
    """Look at the workflow as a whole: it was found at a restart. `torn_retry`: perhaps only half reopened."""

    __slots__ = ("torn_retry",)

    def __init__(self, torn_retry: bool) -> None:
        self.torn_retry = torn_retry


Mail = Outcome | Signal | Woken | Granted | Progress | Begin


class Run:
    """One workflow under way.

    `mailbox` holds what happened and was not yet looked at. `events` are folded into `state` but not yet committed;
    while `committing`, the mailbox waits, so between commits `state` is exactly what the journal says. `effects` are
    what may be done only after the commit. `ready` steps want a slot, the `newly_ready` ones since this turn; `offered`
    ones are known to the slots, and of these the `parked` ones wait in the pool named there. `freed` counts the slots
    and `ended` names the steps of attempts whose end this turn commits.
    """

    __slots__ = (
        "at", "committed", "committing", "effects", "ended", "entry", "events", "freed", "frontier", "is_new", "job",
        "journal", "mailbox", "newly_ready", "offered", "parked", "plan", "pool", "ready", "signals", "state", "stuck",
        "view_at", "viewing", "wants_close",
    )  # fmt: skip

    def __init__(
        self, job: Job, entry: Entry, plan: Plan, state: WorkflowState, journal: Journal, is_new: bool
    ) -> None:
        self.job = job
        self.entry = entry
        self.plan = plan
        self.state = state
        self.frontier = Frontier(plan, state)
        self.journal = journal
        self.is_new = is_new
        self.committed = journal.size
        self.committing = False
        self.mailbox: list[Mail] = []
        self.events: list[Event] = []
        self.at: Stamp = ""
        self.effects: list[Effect | Any] = []
        self.signals: list[str] = []
        self.ready: set[str] = set()
        self.newly_ready: list[str] = []
        self.offered: set[str] = set()
        self.parked: dict[str, str] = {}
        self.ended: list[str] = []
        self.freed = 0
        self.pool: str | None = None
        self.stuck = False
        self.view_at = 0.0
        self.viewing = False
        self.wants_close = False

    @property
    def id(self) -> str:
        return self.job.id
