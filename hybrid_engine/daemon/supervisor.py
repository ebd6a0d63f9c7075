"""The supervisor: starts the parts, keeps them going, and ends them in order.

A part that fails is reported and started again after a moment; only the loss of the lock or of the home ends the
daemon. Stopping leaves running steps to run: the next engine takes them over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from loguru import logger

from hybrid_engine.daemon.checkpointer import Checkpointer
from hybrid_engine.daemon.health import Health
from hybrid_engine.daemon.intake import Intake
from hybrid_engine.daemon.projector import Projector
from hybrid_engine.daemon.reactor import EpollReactor
from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.gate import Gate
from hybrid_engine.engine.recovery import Recovery
from hybrid_engine.errors import LockHeldError

SETTLE_ROUNDS = 0.02
"""Seconds between looks at whether all is done."""
STOP_PATIENCE = 10.0
"""Seconds to wait for commits that are under way when told to stop."""


class Watching(Protocol):
    """A watcher of the inbox."""

    @property
    def is_alive(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Supervisor:
    """Owns the loop. `rescan` is in seconds; `watcher` makes a fresh watcher that calls what it is given; `look_after`
    looks whether the home is still whole and ours."""

    def __init__(
        self,
        reactor: EpollReactor,
        driver: Driver,
        gate: Gate,
        intake: Intake,
        projector: Projector,
        health: Health,
        checkpointer: Checkpointer,
        recovery: Recovery,
        watcher: Callable[[Callable[[], None]], Watching],
        look_after: Callable[[], None],
        *,
        rescan: float,
        until_idle: bool,
    ) -> None:
        self._reactor = reactor
        self._driver = driver
        self._intake = intake
        self._gate = gate
        self._projector = projector
        self._health = health
        self._checkpointer = checkpointer
        self._recovery = recovery
        self._make_watcher = watcher
        self._look_after = look_after
        self._watcher: Watching | None = None
        self._rescan = rescan
        self._until_idle = until_idle
        self._stopping = False
        self.failure: LockHeldError | None = None

    def run(self) -> None:
        """Until told to stop, or, with `until_idle`, until all is done. Raises LockHeldError when the lock is lost."""
        report = self._recovery.run()
        logger.info(
            "recovered: {} queued, {} running, {} just finished, {} put aside",
            len(report.waiting), report.under_way, report.finished, len(report.put_aside),
        )  # fmt: skip
        for workflow in report.waiting:
            self._projector.found_queued(workflow)
        self._intake.read_signals_of([*report.waiting, *self._driver.runs])
        self._reactor.after_round = self._after_round
        self._reactor.idle_work = self._checkpointer.idle_work
        self._keep_watching()
        self._projector.write_queue()
        if self._until_idle:
            self._reactor.call_later(0.0, self._end_when_idle)
        self._reactor.run()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Start nothing new, commit what is under way, then end the loop. Safe to call from a signal handler."""
        if not self._stopping:
            self._stopping = True
            self._reactor.post(self._begin_stop)

    def _begin_stop(self) -> None:
        self._gate.shut("stopping")
        if self._watcher is not None:
            self._watcher.stop()
        self._stop_when_settled(self._reactor.monotonic() + STOP_PATIENCE)

    def _stop_when_settled(self, deadline: float) -> None:
        if self._driver.is_settled:
            self._checkpointer.checkpoint(lambda error: self._reactor.stop())
            self._reactor.call_later(max(0.0, deadline - self._reactor.monotonic()), self._reactor.stop)
        elif self._reactor.monotonic() > deadline:
            self._reactor.stop()
        else:
            self._reactor.call_later(SETTLE_ROUNDS, lambda: self._stop_when_settled(deadline))

    def _after_round(self) -> None:
        self._driver.pulse()
        self._checkpointer.after_round()

    # --- looking

    def _keep_watching(self) -> None:
        """Every few seconds: is the watcher well, and is there something that it missed?"""
        if self._stopping:
            return
        self._reactor.call_later(self._rescan, self._keep_watching)
        self._look_around()
        self._recovery.again()
        if self._watcher is None or not self._watcher.is_alive:
            self._start_watcher()
        self._intake.look()
        self._intake.read_lost_signals()
        self._projector.restore_views()

    def _look_around(self) -> None:
        try:
            self._look_after()
        except LockHeldError as error:
            logger.error("{}; this one ends, its steps go on", error)
            self.failure = error
            self.stop()
        except OSError as error:
            self._health.disk(error)

    def _start_watcher(self) -> None:
        if self._watcher is not None:
            logger.warning("the inbox's watcher has died; a fresh one takes its place")
            self._watcher.stop()
        try:
            self._watcher = self._make_watcher(self._intake.look)
            self._watcher.start()
            self._health.problem("watcher", None)
        except OSError as error:
            self._watcher = None
            self._health.problem("watcher", f"drops are seen only every {self._rescan:g} s: {error}")

    def _end_when_idle(self) -> None:
        if self._stopping:
            return
        if self._intake.is_idle and self._driver.is_idle:
            self._intake.look()  # the last look: what came in between is still done
            if self._intake.is_idle and self._driver.is_idle:
                self.stop()
                return
        self._reactor.call_later(SETTLE_ROUNDS, self._end_when_idle)
