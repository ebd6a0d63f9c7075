"""What every attempt under way has in common: a time-out, cancellation, one outcome. And the runners' seam.

A runner knows one kind of work: it starts an attempt or takes one over, and gives a `Handle` for it. How the attempt
ends is decided once: by itself, by its time-out or by a cancellation, whichever comes first; the outcome is told when
nothing of it runs any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from hybrid_engine.execution import results
from hybrid_engine.execution.host import Host
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.ports.reactor import Timer

READ_AGAIN = 0.1
READ_WITHIN = 600.0
MOURNING = 0.1
"""Seconds between a death by an outsider's SIGKILL and calling it a failure: such a kill often takes us with it, and
then the attempt is lost, not failed."""


class Handle(ABC):
    """One attempt under way. `host.ended` is called once with its outcome, from the reactor and never from within
    the call that made the handle."""

    def __init__(self, host: Host, attempt: Attempt) -> None:
        self.attempt = attempt
        self._host = host
        self._reactor = host.reactor
        self._verdict: Outcome | None = None
        self._is_decided = False
        self._timer: Timer | None = None

    def cancel(self) -> None:
        """End it with all its processes; the outcome follows when nothing of it is left."""
        self._end(results.ended_by(self.attempt, "cancelled", "cancelled"))

    # --- for the kinds

    @abstractmethod
    def _has_ended(self) -> bool:
        """Look whether it has ended by itself; when it has, its own outcome is on its way. OSError when the machine
        is short of something: that does not end it."""

    @abstractmethod
    def _finish_off(self) -> None:
        """End all its processes, then `_tell`."""

    def _set_timeout(self, seconds: float | None) -> None:
        if seconds is not None:
            self._timer = self._reactor.call_later(max(0.0, seconds), self._time_out)

    def _time_out(self) -> None:
        """Its time is up by the clock. When this process stood still meanwhile (a debugger, a machine under load), the
        attempt may have ended in time without our knowing: then that counts."""
        if self._is_decided:
            return
        try:
            if self._has_ended():
                return
        except OSError:
            self._set_timeout(READ_AGAIN)
            return
        limit = self.attempt.timeout
        self._end(results.ended_by(self.attempt, "timeout", f"ran longer than its timeout of {limit:g} s"))

    def _decide(self) -> bool:
        """True for the first who asks: he says how the attempt ended, and nobody after him."""
        if self._is_decided:
            return False
        self._is_decided = True
        return True

    def _end(self, verdict: Outcome) -> None:
        if self._decide():
            self._verdict = verdict
            self._finish_off()

    def _read_verdict(self, read: Callable[[], Outcome], then: Callable[[], None], until: float | None = None) -> None:
        """Take the outcome that the attempt left. While the machine is short of something or the disk fails, which is
        not the step's fault, try again; not for ever, because a disk may fail in one place only."""
        deadline = self._reactor.monotonic() + READ_WITHIN if until is None else until
        try:
            self._verdict = read()
        except OSError as error:
            if self._reactor.monotonic() < deadline:
                self._reactor.call_later(READ_AGAIN, lambda: self._read_verdict(read, then, deadline))
                return
            self._verdict = results.ended_by(self.attempt, "bad_output", f"what it left cannot be read: {error}")
        then()

    def _cancel_timeout(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._cancel_timeout()
        if self._verdict is not None:
            verdict, self._verdict = self._verdict, None
            self._host.ended(verdict)


class EndedHandle(Handle):
    """An attempt that had ended before anybody asked: only its outcome is left to be told."""

    def __init__(self, host: Host, outcome: Outcome, attempt: Attempt) -> None:
        super().__init__(host, attempt)
        self._is_decided = True
        self._verdict = outcome
        self._reactor.post(self._tell)

    def _has_ended(self) -> bool:
        return True

    def _finish_off(self) -> None:
        """Nothing of it runs."""


class Runner(Protocol):
    """Runs one kind of work on this machine."""

    def start(self, attempt: Attempt) -> Handle:
        """Begin an attempt. OSError when the machine is short of something: the caller may try again."""

    def adopt(self, attempt: Attempt) -> Handle | None:
        """Take over an attempt of an engine that is gone. None when nothing of it lives and it left no result."""

    def close(self) -> None:
        """The engine goes away; what runs is left to run."""
