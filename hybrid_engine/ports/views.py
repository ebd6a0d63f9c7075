"""How views are made and where they go, as the daemon sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from hybrid_engine.model.entry import Entry
from hybrid_engine.model.job import Job
from hybrid_engine.model.state import WorkflowState


class Views(Protocol):
    """`state.json`, `progress.json` and `queue-state.json`. Raises OSError when the disk fails."""

    def state_bytes(self, state: WorkflowState) -> bytes: ...

    def write_state(self, workflow: str, data: bytes) -> None: ...

    def grown(self, state: WorkflowState) -> None:
        """Everything of this state is committed: what spares folding a long history may be brought up to date."""

    def write_progress(self, workflow: str, progress: Mapping[str, tuple[float, str | None]]) -> None:
        """What running steps say of themselves, by step: (percent, message); nothing left: the view goes."""

    def has_state(self, workflow: str) -> bool: ...

    def has_queue(self) -> bool: ...

    def write_queued(self, workflow: str) -> None:
        """The first view of a job that has not started, unless it has one."""

    def queue_line(self, entry: Entry) -> bytes:
        """One job's line."""

    def write_queue(
        self, lines: Iterable[bytes], counts: Mapping[str, int], updated_at: str, engine: Mapping[str, Any] | None
    ) -> None:
        """Any thread."""


class Index(Protocol):
    """The searchable view of all workflows. Late at worst; `put` only notes."""

    def put_state(self, state: WorkflowState) -> None: ...

    def put_job(self, job: Job) -> None: ...

    def remove(self, workflow: str) -> None: ...

    def put_missing(self, workflows: list[str]) -> None:
        """Put in those waiting jobs that are not in it. Any thread."""
