"""Who is told what the engine does: views, index, health. Nothing here may slow a turn or make it fail."""

from __future__ import annotations

from typing import Protocol

from hybrid_engine.engine.run import Run
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.job import Job


class Watcher(Protocol):
    """Called from the reactor's thread, after the commit in question."""

    def accepted(self, entry: Entry, job: Job) -> None:
        """The job is a workflow now, and waits."""

    def changed(self, run: Run) -> None:
        """Something of this workflow was committed; `run.state` is what the journal says."""

    def progressed(self, run: Run) -> None:
        """A running step says how far it is (`run.progress`)."""

    def resting(self, run: Run) -> None:
        """The workflow waits for mail, and leaves the memory; what was to be shown of it is shown now."""

    def last_view(self, run: Run) -> bytes:
        """The final `state.json`."""

    def finished(self, run: Run) -> None:
        """The workflow has left the queue."""

    def removed(self, workflow: str) -> None:
        """Somebody removed the folder of this unfinished workflow."""

    def stuck(self, workflow: str, error: BaseException) -> None:
        """This workflow cannot go on and was put aside."""

    def disk(self, error: BaseException | None) -> None:
        """The disk fails (again), or, with None, works again."""

    def short_of(self, error: OSError, attempt: Attempt) -> None:
        """An attempt cannot be begun now (processes, descriptors, memory, disk); it will be tried again."""
