"""The backlog: every accepted, unfinished job in memory, and when those that wait for a moment are due.

Order and due times come from the names in `queue/`; nothing here is durable, everything can be read again.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from hybrid_engine.model.entry import Entry
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.waits import DUE, Wait


class Backlog:
    """Entries by workflow id. `changed` counts changes and `unrendered` has what changed, for who shows the queue."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.changed = 0
        self.unrendered: dict[str, Entry] = {}
        self._due: list[tuple[Stamp, str]] = []

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, workflow: str) -> bool:
        return workflow in self.entries

    def get(self, workflow: str) -> Entry | None:
        return self.entries.get(workflow)

    def add(self, entry: Entry) -> None:
        self.entries[entry.id] = entry
        self.unrendered[entry.id] = entry
        self.changed += 1

    def remove(self, workflow: str) -> None:
        self.entries.pop(workflow, None)
        self.unrendered.pop(workflow, None)
        self.changed += 1

    def show(self, entry: Entry, status: str, waits_for: Wait | None) -> None:
        """Change what the views say of a job."""
        if entry.show(status, waits_for):
            self.changed += 1
            if entry.id in self.entries:
                self.unrendered[entry.id] = entry

    def postpone(self, entry: Entry) -> None:
        """The job is not due yet."""
        heapq.heappush(self._due, (entry.due_at, entry.id))
        self.show(entry, "queued", Wait(DUE, until=entry.due_at))

    def next_due(self) -> Stamp | None:
        """When the next postponed job is due."""
        return self._due[0][0] if self._due else None

    def pop_due(self, now: Stamp) -> Iterator[Entry]:
        """The postponed jobs whose time has come, in order."""
        while self._due and self._due[0][0] <= now:
            _, workflow = heapq.heappop(self._due)
            entry = self.entries.get(workflow)
            if entry is not None:
                yield entry
