"""The reactor: one epoll, one heap of timers, one place to post to from other threads.

After every round `after_round` is called once: that is where the engine does what the round made possible. `idle_work`
is called while nothing else is to be done, until it says that nothing of it is left. A callback that raises is reported
and does not end the loop.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections import deque
from collections.abc import Callable
from itertools import count

Callback = Callable[[], None]
LONGEST = 3600.0
"""Seconds of one wait: what waits for longer is waited for again, because the kernel counts in 31 bits."""


class Timer:
    """A callback at a moment of the monotonic clock; `cancel` makes it do nothing."""

    __slots__ = ("at", "callback", "number")

    def __init__(self, at: float, number: int, callback: Callback) -> None:
        self.at = at
        self.number = number
        self.callback: Callback | None = callback

    def __lt__(self, other: Timer) -> bool:
        return (self.at, self.number) < (other.at, other.number)

    def cancel(self) -> None:
        self.callback = None


class EpollReactor:
    """`ports.reactor.Reactor` on epoll. `report(error)` hears of callbacks that raised."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[Timer] = []
        self._numbers = count()
        self._posted: deque[Callback] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._rung = False
        self._report = report
        self._running = False
        self.after_round: Callback = lambda: None
        self.idle_work: Callable[[], bool] = lambda: False
        self._epoll.register(self._bell, select.EPOLLIN)

    def monotonic(self) -> float:
        return time.monotonic()

    def watch(self, fd: int, callback: Callback) -> None:
        self._callbacks[fd] = callback
        self._epoll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        timer = Timer(time.monotonic() + seconds, next(self._numbers), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def post(self, callback: Callback) -> None:
        self._posted.append(callback)
        if not self._rung:  # a race rings twice at worst
            self._rung = True
            os.eventfd_write(self._bell, 1)

    def run(self) -> None:
        """Until `stop`."""
        self._running = True
        while self._running:
            self.run_once()

    def stop(self) -> None:
        self._running = False
        self.post(lambda: None)

    def run_once(self, longest: float | None = None) -> None:
        """One round: wait (at most `longest` seconds), then call all that is due."""
        ready = self._poll(0)
        if not ready and not self._posted and not self._is_due():
            more = self._call(self.idle_work)
            ready = self._poll(0 if more else self._timeout(longest))
        for fd, _ in ready:
            if fd == self._bell:
                self._answer_bell()
            elif (callback := self._callbacks.get(fd)) is not None:
                self._call(callback)
        self._call_posted()
        self._call_timers()
        self._call(self.after_round)

    def _poll(self, timeout: float | None) -> list[tuple[int, int]]:
        try:
            return self._epoll.poll(timeout)
        except InterruptedError:
            return []

    def _is_due(self) -> bool:
        return bool(self._timers) and self._timers[0].at <= time.monotonic()

    def close(self) -> None:
        self._epoll.close()
        os.close(self._bell)

    def _timeout(self, longest: float | None) -> float | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if self._posted:
            return 0
        if not self._timers:
            return longest
        wait = min(LONGEST, max(0.0, self._timers[0].at - time.monotonic()))
        return wait if longest is None else min(wait, longest)

    def _answer_bell(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass
        # Only now, and before the posted callbacks are called: who posts from here on rings again, and who found the
        # bell rung has posted already. The other way round, a ring could be swallowed and the next ones not be rung.
        self._rung = False

    def _call_posted(self) -> None:
        for _ in range(len(self._posted)):
            self._call(self._posted.popleft())

    def _call_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            callback = heapq.heappop(self._timers).callback
            if callback is not None:
                self._call(callback)

    def _call(self, callback: Callable[[], object]) -> object:
        try:
            return callback()
        except Exception as error:
            self._report(error)
            return None
