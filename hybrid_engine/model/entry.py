"""An entry: one unfinished job in memory. A home may hold a million, so they are small."""

from __future__ import annotations

from hybrid_engine.model.ids import queue_name
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.waits import Wait


class Entry:
    """What memory and `queue-state.json` know of an unfinished job. `name` is its name in `queue/`, and its rank.

    `size` is the length of its journal in bytes when nothing but its acceptance stands there: by that a start knows,
    without opening it, that the job has not begun. `pool` is the pool of its template: None for none, "" when that is
    not known yet. `line` caches (status as counted, its line in the view).
    """

    __slots__ = (
        "due_at", "id", "labels", "line", "name", "pool", "priority", "queued_at", "size", "status", "template", "user",
        "waits_for",
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
        self.size: int | None = None
        self.pool: str | None = ""
        self.status = "queued"
        self.waits_for: Wait | None = None
        self.line: tuple[str, bytes] | None = None

    @classmethod
    def of(cls, job: Job) -> Entry:
        name = queue_name(job.priority, job.due_at, job.id)
        return cls(name, job.id, job.template, job.priority, job.due_at, job.queued_at, job.user, job.labels)

    def is_due(self, now: Stamp) -> bool:
        """May it start at `now`? One that was asked for without a delay is due however the clock was set since."""
        return self.due_at <= now or self.due_at == self.queued_at

    def show(self, status: str, waits_for: Wait | None) -> bool:
        """Change what the view says of this job; True when that is something new."""
        if status == self.status and waits_for == self.waits_for:
            return False
        self.status, self.waits_for, self.line = status, waits_for, None
        return True
