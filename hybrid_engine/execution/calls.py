"""Function calls: one attempt in one worker, of our own or of an engine that is gone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from hybrid_engine.execution import leases, processes, results
from hybrid_engine.execution.handles import MOURNING, EndedHandle, Handle
from hybrid_engine.execution.host import Host
from hybrid_engine.execution.worker_channel import MODULE, Worker, remove_lease
from hybrid_engine.execution.worker_pool import EarlierCall, WorkerPool, earlier_calls
from hybrid_engine.files import atomic
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.words import Json

SHORT_AGAIN = 0.2
START_AGAIN = (0.2, 1.0, 3.0)
"""Seconds before the next tries to start a worker, after one could not be started at all."""

ANSWER_WITHIN = 1.0


class FunctionRunner:
    """Gives calls to warm workers, and takes over what workers of an engine that is gone are calling."""

    def __init__(self, host: Host, idle_seconds: float) -> None:
        self._host = host
        self.pool = WorkerPool(host, idle_seconds)
        self._earlier: dict[str, EarlierCall] | None = None

    def start(self, attempt: Attempt) -> Handle:
        call = CallHandle(self._host, attempt, self.pool)
        call.begin()
        return call

    def adopt(self, attempt: Attempt) -> Handle | None:
        if self._earlier is None:
            self._earlier = earlier_calls(self._host.layout.workers)
        found = self._earlier.pop(attempt.key, None)
        if found is not None:
            handle = self._adopt_call(attempt, found)
            if handle is not None:
                return handle
        outcome = results.of_word(attempt, self._host.folder(attempt))
        return None if outcome is None else EndedHandle(self._host, outcome, attempt)

    def _adopt_call(self, attempt: Attempt, found: EarlierCall) -> Handle | None:
        """None when its worker went since the look: its pid may be somebody else's by now, and its word tells."""
        if not leases.is_held(found.lease):
            return None
        try:
            handle = AdoptedCallHandle(self._host, attempt, found)
        except ProcessLookupError:
            return None
        if leases.is_held(found.lease):
            return handle
        handle.forget()
        return None

    def close(self) -> None:
        self.pool.close()


class CallHandle(Handle):
    """A call that one of our workers makes, or that waits for a worker to be started."""

    def __init__(self, host: Host, attempt: Attempt, pool: WorkerPool) -> None:
        super().__init__(host, attempt)
        self._pool = pool
        self._worker: Worker | None = None
        self._message = _message(host, attempt)
        self._is_late = False
        self._failures = 0

    def begin(self) -> None:
        """Give the call to a worker. OSError when the machine is short of something."""
        self._give_to(self._pool.take)
        self._set_timeout(self.attempt.timeout)

    def _give_to(self, worker: Callable[[], Worker]) -> None:
        try:
            self._worker = worker()
        except OSError as error:
            if error.errno in atomic.PASSING:
                raise
            self.could_not_start(error.strerror or str(error))
        else:
            self._worker.request(self, self._message)

    # --- what the worker tells

    def answered(self, answer: dict[str, Json]) -> None:
        if self._is_decided or answer.get("key", self.attempt.key) != self.attempt.key or self._worker is None:
            return  # too late, or the word of a process that a function left behind
        worker, self._worker = self._worker, None
        worker.call = None
        if answer.get("again"):
            self._begin_again()
            return
        self._pool.release(worker)
        self._decide()
        self._verdict = results.of_answer(self.attempt, answer)
        self._tell()

    def _begin_again(self) -> None:
        """The worker went: a fresh one takes the call, if it is still wanted."""
        if self._is_decided:
            return
        try:
            self._give_to(self._pool.start)
        except OSError:
            self._reactor.call_later(SHORT_AGAIN, self._begin_again)

    def could_not_start(self, why: str) -> None:
        """No worker could be started, or it ended before it was ready. That is not the function's fault, and may pass
        (an upgrade under way, no memory for a moment); after a few tries it is told as what it is."""
        self._worker = None
        if self._is_decided:
            return
        if self._failures < len(START_AGAIN):
            self._reactor.call_later(START_AGAIN[self._failures], self._begin_again)
            self._failures += 1
        else:
            message = f"no worker for functions can be started: {sys.executable} -m {MODULE}: {why}"
            self._end(results.ended_by(self.attempt, "start", message))

    def died(self, code: int | None) -> None:
        """The worker is gone in the middle of the call."""
        if not self._decide():
            return  # we ended it; `Ending` tells when nothing is left
        if code is not None and code >= 0:
            message = f"the worker exited with status {code} during the call"
            self._verdict = results.ended_by(self.attempt, "exit", message, code)
        else:
            name = (results.signal_name(-code) or f"signal {-code}") if code else "a signal"
            message = f"the worker was killed by {name} during the call"
            self._verdict = results.ended_by(self.attempt, "killed", message, code)
        self._reactor.call_later(MOURNING if code == -signal.SIGKILL else 0.0, self._finish_off)

    def _has_ended(self) -> bool:
        """An answer may wait in the socket. For the rest of a long one there is a while more, once."""
        if self._worker is None:
            return False
        self._worker.look()
        if self._is_decided:
            return True
        is_answering = self._worker is not None and self._worker.is_answering and not self._is_late
        if is_answering:
            self._is_late = True
            self._set_timeout(ANSWER_WITHIN)
        return is_answering

    def _finish_off(self) -> None:
        """End the worker with all it started; only then the outcome is told."""
        if self._worker is None:
            self._reactor.post(self._tell)
            return
        others = lambda: self._host.orphans(self.attempt.key)  # noqa: E731 – read at every check
        lease = self._worker.lease  # a process that it forked holds it, in whatever session it is
        processes.Ending(self._reactor, self._worker.pid, lease, self.attempt.grace, others, self._tell)

    def _tell(self) -> None:
        if self._worker is not None:
            remove_lease(self._worker.lease)
        super()._tell()


class AdoptedCallHandle(Handle):
    """A call that a worker of an earlier engine is making: watched from outside until the worker is gone."""

    def __init__(self, host: Host, attempt: Attempt, earlier: EarlierCall) -> None:
        super().__init__(host, attempt)
        self._lease = earlier.lease
        self._pid = earlier.pid
        self._pidfd = os.pidfd_open(earlier.pid)
        self._reactor.watch(self._pidfd, self._gone)
        self._set_timeout(host.remaining(attempt, earlier.began))

    def _has_ended(self) -> bool:
        """Its worker is gone, or its result lies there and the worker is about to go."""
        if processes.has_ended(self._pidfd):
            self._gone()
            return True
        found = results.of_word(self.attempt, self._host.folder(self.attempt))
        if found is not None:
            self._end(found)
        return found is not None

    def _finish_off(self) -> None:
        processes.Ending(self._reactor, self._pid, self._lease, self.attempt.grace, _nobody, self._tell)

    def forget(self) -> None:
        """It is not ours to watch after all: nothing of it is told."""
        self._decide()
        self._cancel_timeout()
        self._reactor.unwatch(self._pidfd)
        os.close(self._pidfd)

    def _gone(self) -> None:
        if not processes.has_ended(self._pidfd):
            return
        self._reactor.unwatch(self._pidfd)
        os.close(self._pidfd)
        remove_lease(self._lease)
        if self._decide():
            self._read_verdict(self._outcome, self._tell)

    def _outcome(self) -> Outcome:
        found = results.of_word(self.attempt, self._host.folder(self.attempt))
        return found or results.ended_by(self.attempt, "lost", "its worker died without leaving a result")


def _nobody() -> processes.Orphans:
    """What a worker of an earlier engine leaves behind does not come to us."""
    return processes.Orphans([])


def _message(host: Host, attempt: Attempt) -> dict[str, object]:
    folder = host.folder(attempt)
    return {
        "key": attempt.key,
        "function": attempt.function,
        "arguments": attempt.arguments,
        "env": host.variables(attempt, folder),
        "folder": folder,
        "began": host.boot_clock(),
    }
