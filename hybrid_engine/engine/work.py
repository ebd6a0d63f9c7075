"""What the engine has at hand: unfinished jobs, the runs in memory, and who holds slots and places in pools.

Changed by the driver and its dispatcher, looked at by those who show it.
"""

from __future__ import annotations

from hybrid_engine.engine.backlog import Backlog
from hybrid_engine.engine.run import Run
from hybrid_engine.engine.slots import Pools, Slots


class Work:
    """One per engine; `slots` attempts at once."""

    def __init__(self, slots: int) -> None:
        self.backlog = Backlog()
        self.runs: dict[str, Run] = {}
        self.slots = Slots(slots)
        self.pools = Pools()
