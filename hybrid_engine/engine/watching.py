"""Who is told what the engine does: views, index, health. Nothing here may slow a turn or make it fail."""

from __future__ import annotations

from typing import Protocol

from hybrid_engine.engine.run import Run
from hybrid_engine.model.attempt import Attempt


class Watcher(Protocol):
    """Called from the reactor's thread, after the commit in question."""

    def changed(self, run: Run) -> None:
        """Something of this workflow was committed; `run.state` is what the journal says."""

    def last_view(self, run: Run) -> bytes:
        """The final `state.json`."""

    def finished(self, run: Run) -> None:
        """The workflow has left the queue."""

    def reopen(self, workflow: str) -> Run | None:
        """Load a finished workflow that shall go on, with its durable place in the queue; None when there is none."""

    def stuck(self, workflow: str, error: BaseException) -> None:
        """This workflow cannot go on and was put aside."""

    def disk(self, error: BaseException | None) -> None:
        """The disk fails (again), or, with None, works again."""

    def short_of(self, error: OSError, attempt: Attempt) -> None:
        """An attempt cannot be begun now (processes, descriptors, memory, disk); it will be tried again."""
