"""Signals on their way from a workflow's `signals/` folder to the driver, one after the other.

The state remembers only the latest names that were acted on. So a workflow gets its next signal when the file of the
one before is gone, durably: however many are dropped, and wherever a crash comes, at most one of them can be read
again, and that one is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

from loguru import logger

from hybrid_engine.engine.driver import Driver
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.stamps import stamp
from hybrid_engine.ports.intake import DroppedSignal, Signals
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Syncer

FIRST_CHECK = 0.002
"""So many seconds after a signal was handed on we look whether it is done; then after twice as long, and so on."""
LAST_CHECK = 1.0
"""When that is so long, it is left to whoever looks next."""
AGAIN = 0.5
"""Seconds after which a signal that could not be read or taken is tried again."""


class SignalIntake:
    """`_waiting` has the workflows of which a signal was handed on and is not done."""

    def __init__(
        self, signals: Signals, driver: Driver, syncer: Syncer, reactor: Reactor, clock: Callable[[], datetime]
    ) -> None:
        self._signals = signals
        self._driver = driver
        self._syncer = syncer
        self._reactor = reactor
        self._clock = clock
        self._waiting: set[str] = set()
        self._syncing: set[str] = set()
        self._again: set[str] = set()

    @property
    def is_busy(self) -> bool:
        """Is something on its way that will change a workflow?"""
        return bool(self._syncing or self._waiting or self._again)

    def answer(self, workflow: str) -> None:
        """A bell was rung: hand on what lies in the workflow's folder.

        The bell stays until the signals are gone, which is when they are committed: should we be killed before that,
        it is what makes the next engine look.
        """
        if workflow in self._syncing or workflow in self._waiting:
            return
        if not self._signals.has_any(workflow):
            self._signals.answer_bell(workflow)
            return
        self._next(workflow)

    def read_of(self, workflows: Iterable[str]) -> None:
        """At the start: a bell is only a hint, and may be gone while the signal is not."""
        for workflow in workflows:
            if self._signals.has_any(workflow):
                self.answer(workflow)

    def read_lost(self) -> None:
        """Signals that were dropped by hand, without a bell."""
        for workflow in self._driver.runs:
            if self._signals.has_any(workflow):
                self._reactor.post(partial(self.answer, workflow))

    def _next(self, workflow: str) -> None:
        dropped, must_wait = self._signals.read(workflow)
        good = [signal for signal in dropped if signal.error is None]
        for signal in dropped:
            if signal.error is not None and not self._put_aside(workflow, signal):
                must_wait = True
        if good:
            self._hand_on(workflow, good[0])
        elif must_wait:
            self._later(workflow)
        elif workflow not in self._driver.runs or not self._signals.has_any(workflow):
            self._signals.answer_bell(workflow)

    def _put_aside(self, workflow: str, signal: DroppedSignal) -> bool:
        try:
            put = self._signals.put_aside(workflow, signal, stamp(self._clock()))
        except OSError as failure:
            logger.error("signal {} cannot be put aside now: {}", signal.name, failure.strerror)
            return False
        told = logger.bind(workflow=workflow)
        told.warning("rejected a signal (see inbox/rejected/{}.reason.json): {}", put, signal.error)
        return True

    def _hand_on(self, workflow: str, signal: DroppedSignal) -> None:
        """First that all removals are durable: then this is the only one that a crash can bring back."""

        def synced(error: BaseException | None) -> None:
            self._syncing.discard(workflow)
            if error is not None:
                logger.error("signal {} cannot be taken now: {}", signal.name, error)
                self._later(workflow)
            else:
                self._tell_driver(workflow, signal)

        self._syncing.add(workflow)
        self._syncer.submit(partial(self._signals.sync, workflow), synced)

    def _tell_driver(self, workflow: str, signal: DroppedSignal) -> None:
        if not self._driver.signal(workflow, Signal.of(signal.verb, signal.name, signal.content)):
            self._later(workflow)
            return
        if workflow not in self._driver.runs and self._signals.has(workflow, signal.name):
            self._signals.answer_bell(workflow)  # a person has to do something first; ringing on would not help
            return
        self._waiting.add(workflow)
        self._check(workflow, signal.name, FIRST_CHECK)

    def _check(self, workflow: str, name: str, delay: float) -> None:
        """Go on when the signal is done, or, when that takes long, with whoever looks next."""
        if self._signals.has(workflow, name):
            if delay < LAST_CHECK:
                self._reactor.call_later(delay, lambda: self._check(workflow, name, delay * 2))
            else:
                self._waiting.discard(workflow)
            return
        self._waiting.discard(workflow)
        self.answer(workflow)

    def _later(self, workflow: str) -> None:
        if workflow not in self._again:
            self._again.add(workflow)
            self._reactor.call_later(AGAIN, lambda: self._once_more(workflow))

    def _once_more(self, workflow: str) -> None:
        self._again.discard(workflow)
        self.answer(workflow)
