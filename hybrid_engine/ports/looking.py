"""What queries ask of a home: reading only, with or without an engine at work. `files.reader` is the folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Record = dict[str, Any]
"""The JSON object of a `state.json`."""
Row = dict[str, Any]
"""One workflow as `list` shows it: some fields of its record, and a cursor."""


@dataclass(slots=True, frozen=True)
class LogFile:
    """One stream of one attempt. The file may not be there (yet): a step that says nothing leaves none."""

    step: str
    attempt: int
    stream: str
    path: str


class Rows(Protocol):
    """The index, for reading."""

    def query(
        self,
        *,
        status: Sequence[str] | None = None,
        template: str | None = None,
        label: Any = None,
        user: str | None = None,
        key: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[Row]: ...

    def counts(self) -> dict[str, int]: ...

    def statuses(self, ids: Sequence[str]) -> dict[str, str]: ...

    def meant(self, part: str, most: int) -> list[str]:
        """Up to `most` ids that `part` may mean, as `rules.shortids.meant` has it."""

    def alike(self, endings: Collection[str]) -> list[str]:
        """All ids with one of these endings (`rules.shortids.ending`)."""

    @property
    def complete(self) -> bool:
        """False while it is being rebuilt."""

    @property
    def clean(self) -> bool:
        """Did the engine that kept it end in order?"""

    def close(self) -> None: ...


class Looking(Protocol):
    """A home, seen from outside of its engine. Nothing here waits for anything, and nothing is written."""

    def engine(self) -> dict[str, Any] | None:
        """What the engine that holds the home says of itself (pid, host, started_at …); None when there is none."""

    def troubles(self) -> list[str]:
        """What seems wrong with a living engine, seen from outside: it hangs, or what it shows is late."""

    def record(self, workflow: str) -> Record | None:
        """All that is known of an accepted workflow; None when there is no such. Raises JournalError."""

    def status(self, workflow: str) -> str | None:
        """The status as `state.json` has it: cheap, perhaps late. None when there is no view (yet)."""

    def dropped(self, workflow: str) -> Record | None:
        """The request of a job that lies in the inbox and is not accepted yet."""

    def rejected(self, workflow: str) -> str | None:
        """Why a job was rejected, when it was."""

    def quarantined(self, workflow: str) -> str | None:
        """Why a workflow was put aside, and where, when it was."""

    def in_flight(self) -> Collection[str]:
        """The ids of all jobs that are dropped by our own programs or accepted, and unfinished."""

    def inbox(self) -> dict[str, int]:
        """How many files lie in the inbox and were not taken yet ("waiting"), and how many were rejected."""

    def ids(self) -> Iterable[str]:
        """The ids of all workflows, and of jobs that lie in the inbox."""

    def requests(self, workflow: str) -> list[dict[str, Any]]:
        """What people asked of a workflow, oldest first: `type` of the event, `at`, `by`, `reason`."""

    def template(self, workflow: str) -> dict[str, Any]:
        """The frozen definition of a workflow, as a JSON object; empty when it cannot be read."""

    def queue_head(self) -> dict[str, Any]:
        """`queue-state.json` without its jobs."""

    def queue_jobs(self, limit: int | None) -> list[dict[str, Any]]:
        """The first jobs of the queue, in order."""

    def queue_place(self, workflow: str) -> tuple[int, dict[str, Any]] | None:
        """How many jobs are ahead in the order of work, and what the view says of this one."""

    def unindexed(self, rows: Rows | None) -> list[Record]:
        """Workflows that an index which nobody keeps now may not have as they are; all, without a whole index."""

    def log_files(self, workflow: str, step: str, attempt: int) -> list[LogFile]: ...

    def attempts(self, workflow: str, step: str) -> list[int]:
        """The attempts of a step that left a folder, in order."""
