"""The machine as runners see it: what every attempt here needs, whatever kind of work it is.

Holds no attempt itself. `children` are the processes that runners started and have not collected yet: any other child
of this process is an orphaned process of some step.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hybrid_engine.execution import processes
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.stamps import moment
from hybrid_engine.ports.reactor import Reactor


@dataclass(slots=True)
class Host:
    """`ended` hears of each attempt's outcome once. Steps make their files under `umask`, not under the engine's."""

    reactor: Reactor
    layout: Layout
    umask: int
    ended: Callable[[Outcome], None]
    clock: Callable[[], datetime]
    boot_clock: Callable[[], float]
    children: set[int] = field(default_factory=set)
    base: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def folder(self, attempt: Attempt) -> str:
        return self.layout.attempt(attempt.workflow, attempt.step, attempt.number)

    def variables(self, attempt: Attempt, folder: str) -> dict[str, str]:
        """The environment variables that say to a step who it is, and the attempt's own."""
        return {
            "HYBRID_HOME": self.layout.home,
            "HYBRID_WORKFLOW": attempt.workflow,
            "HYBRID_STEP": attempt.step,
            "HYBRID_ATTEMPT": str(attempt.number),
            "HYBRID_KEY": attempt.idempotency_key,
            "HYBRID_OUTPUT": os.path.join(folder, "output"),
            "HYBRID_PROGRESS": os.path.join(folder, "progress"),
            "HYBRID_ARTIFACTS": self.layout.artifacts(attempt.workflow),
            **attempt.env,
        }

    def orphans(self, key: str) -> processes.Orphans:
        """Children that came back to us and belong to this attempt."""
        return processes.orphans_of(key, self.children)

    def remaining(self, attempt: Attempt, began: float | None) -> float | None:
        """What is left of the time-out of an attempt that was taken over.

        `began` is of the boot clock, which nobody can set; without it (format 1) the wall clock has to do. Whatever
        the clocks say, it is something between nothing and all of the time-out.
        """
        if attempt.timeout is None:
            return None
        gone = 0.0
        if began is not None:
            gone = self.boot_clock() - began
        elif attempt.started_at is not None:
            gone = (self.clock() - moment(attempt.started_at)).total_seconds()
        return min(attempt.timeout, max(0.0, attempt.timeout - max(0.0, gone)))


def boot_seconds() -> float:
    """Seconds since the start of the machine, sleep included. Comparable between processes, and nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_clock() -> datetime:
    return datetime.now(UTC)
