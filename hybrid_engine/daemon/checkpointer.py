"""The checkpointer: what follows from commits is written behind them, and made durable from time to time.

In the reactor's free moments, and in small pieces when it has none. A checkpoint is due when a segment is full, some
seconds after the first commit that it would make durable, soon when nothing happens any more, and at the end.
"""

from __future__ import annotations

from collections.abc import Callable

from hybrid_engine.daemon.health import Health
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import CommitLog

SLICE = 0.003
"""So many seconds of a free moment are used at once."""
OLD = 0.2
"""Seconds after which what is behind is written even when there is no free moment."""
LOOK = 0.05
LATEST = 5.0
"""Seconds from a commit to the checkpoint that covers it, at most."""
QUIET = 1.0
"""Seconds without a commit after which a checkpoint is made."""
AGAIN = 2.0
"""Seconds until one that failed is tried again."""
FULL = 1 << 24
TOO_LARGE = 1 << 28
"""Bytes of log: due for a checkpoint; so many that nothing new is taken."""


class Checkpointer:
    """`commits` counts commits so far. `asked` tells, and forgets, whether somebody wants a checkpoint now."""

    def __init__(
        self,
        log: CommitLog,
        reactor: Reactor,
        health: Health,
        commits: Callable[[], int],
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._log = log
        self._reactor = reactor
        self._health = health
        self._commits = commits
        self._asked = asked
        self._since: float | None = None
        self._seen = (-1, 0.0)
        self._not_before = 0.0
        self._under_way = False
        self._looking = False

    def idle_work(self) -> bool:
        """For the reactor's free moments."""
        left = self._log.is_behind and self._log.write_behind(SLICE)
        self.after_round()
        return left

    def after_round(self) -> None:
        """Something may have been committed."""
        if self._log.is_dirty or self._log.is_behind:
            self._look_later()

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._reactor.call_later(LOOK, self._look)

    def _look(self) -> None:
        self._looking = False
        if self._log.is_behind:
            self._log.write_behind(2 * SLICE, 0.0 if self._under_way else OLD)
        self._health.log_size(self._log.size, TOO_LARGE)
        now = self._reactor.monotonic()
        if not self._under_way and self._is_due(now):
            self.checkpoint(lambda error: None)
        if self._log.is_dirty or self._log.is_behind or self._under_way:
            self._look_later()

    def _is_due(self, now: float) -> bool:
        if not self._log.is_dirty:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        commits = self._commits()
        if commits != self._seen[0]:
            self._seen = commits, now
        if now < self._not_before:
            return False
        return self._log.size >= FULL or now - self._since >= LATEST or now - self._seen[1] >= QUIET or self._asked()

    def checkpoint(self, done: Callable[[BaseException | None], None]) -> None:
        """Begin one; `done(error or None)` when it is over."""
        self._under_way = True
        self._since = None

        def over(error: BaseException | None) -> None:
            self._under_way = False
            if error is not None:
                self._not_before = self._reactor.monotonic() + AGAIN
                self._health.problem("checkpoint", f"failed and is tried again: {error}")
            else:
                self._health.problem("checkpoint", None)
            done(error)

        self._log.checkpoint(over)
        self.after_round()
