"""The one loop of the engine's process, as those who live in it see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Callback = Callable[[], None]


class Timer(Protocol):
    def cancel(self) -> None: ...


class Reactor(Protocol):
    """All callbacks run in the reactor's thread, one at a time. `post` alone may be called from any thread."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps."""

    def watch(self, fd: int, callback: Callback) -> None:
        """Call when `fd` is readable (a pidfd: when the process has ended)."""

    def unwatch(self, fd: int) -> None: ...

    def call_later(self, seconds: float, callback: Callback) -> Timer: ...

    def post(self, callback: Callback) -> None:
        """Call soon, from the reactor's thread."""
