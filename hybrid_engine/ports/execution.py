"""Where attempts run. The local executor is the first implementation; a cluster can be another.

The contract: `submit` is idempotent on the attempt's key and is called only after "started" is committed. Results are
pushed to the listener, at least once, from the reactor's thread. After a restart `attach` says what became of an
attempt. `cancel` is best effort and confirmed by a result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hybrid_engine.model.attempt import Attempt, Outcome

Listener = Callable[[Outcome], None]
ProgressListener = Callable[[str, str, int, float, str | None], None]
"""(workflow, step address, attempt number, percent, message)"""


class Executor(Protocol):
    """Runs attempts outside of the engine's process."""

    def listen(self, outcome: Listener, progress: ProgressListener) -> None:
        """Who hears of results. Called once, before anything else."""

    def submit(self, attempt: Attempt) -> None:
        """Begin an attempt. OSError means that the machine is short of something and the caller may try again."""

    def attach(self, attempt: Attempt) -> bool:
        """After a restart: True when the attempt still runs or ended with a known result, which will be pushed.

        False when nobody knows of it: it never began, or died without a word.
        """

    def cancel(self, key: str) -> None:
        """End the attempt with all its processes; a result follows when nothing of it is left."""

    def close(self) -> None:
        """The engine goes away; what runs is left to run."""
