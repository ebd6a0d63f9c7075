"""The warm pool: worker processes that call Python functions, as the engine sees them.

One call at a time each; a worker that hangs or dies costs only the attempt it was making. Workers are started when
there is a call and no idle one, and retire after a while without work. Those of an earlier engine are found by their
lease files: one that still is calling is watched until it is gone, then its result is read from the `exit` file.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable

from hybrid_engine.execution import processes, results
from hybrid_engine.files import atomic
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.ports.reactor import Reactor, Timer

HEADER = struct.Struct(">I")
MODULE = "hybrid_engine.execution.worker"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
Ended = Callable[[Outcome], None]


class Worker:
    """One worker process. `call` is what it is doing, if anything."""

    def __init__(
        self, reactor: Reactor, lease: str, functions: str, umask: int, gone: Callable[[Worker], None]
    ) -> None:
        self.call: Call | None = None
        self.lease = lease
        self.idle_since = 0.0
        self._reactor = reactor
        self._gone = gone
        self._received = bytearray()
        self._unsent = b""
        ours, theirs = socket.socketpair()
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", MODULE, str(theirs.fileno()), lease, functions, f"{umask:o}"],
                _environment(),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), theirs.fileno()),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGIO, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ),
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._channel = ours
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            ours.close()  # it ends when it finds nobody there
            raise
        reactor.watch(ours.fileno(), self._readable)
        reactor.watch(self._pidfd, self._died)

    def request(self, call: Call, message: dict[str, object]) -> None:
        self.call = call
        self._send(_encode(message).encode("utf-8", "backslashreplace"))

    def dismiss(self) -> None:
        """Tell an idle worker that its results are all safe and that it may go."""
        self._send(b'{"bye":true}')
        self._close_channel()

    def abandon(self) -> None:
        """The engine goes away: the worker makes its call to the end and leaves word."""
        self._send(b'{"alone":true}')
        self._close_channel()
        self._reactor.unwatch(self._pidfd)
        os.close(self._pidfd)

    def _send(self, body: bytes) -> None:
        self._unsent += HEADER.pack(len(body)) + body
        self._flush()

    def _flush(self) -> None:
        try:
            sent = self._channel.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it is dead or dying; `_died` will tell
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._reactor.call_later(0.002, self._flush)

    def _readable(self) -> None:
        try:
            data = self._channel.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close_channel()
            return
        self._received += data
        while len(self._received) >= HEADER.size:
            size = HEADER.unpack_from(self._received)[0]
            if len(self._received) < HEADER.size + size:
                return
            body = bytes(self._received[HEADER.size : HEADER.size + size])
            del self._received[: HEADER.size + size]
            if self.call is not None:
                self.call.answered(_decoded(body))

    def _close_channel(self) -> None:
        if self._channel.fileno() >= 0:
            self._reactor.unwatch(self._channel.fileno())
            self._channel.close()

    def _died(self) -> None:
        if self._channel.fileno() >= 0:
            self._readable()  # what it said before it died counts
        self._reactor.unwatch(self._pidfd)
        os.close(self._pidfd)
        self._close_channel()
        try:
            _, status = os.waitpid(self.pid, 0)
            code: int | None = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            code = None
        self._gone(self)
        if self.call is not None:
            self.call.died(code)


class Call:
    """One attempt in one worker."""

    def __init__(self, pool: WorkerPool, attempt: Attempt, worker: Worker, message: dict[str, object]) -> None:
        self.attempt = attempt
        self.worker = worker
        self.message = message
        self._pool = pool
        self._verdict: Outcome | None = None
        self._timer: Timer | None = None
        if attempt.timeout is not None:
            self._timer = pool.reactor.call_later(attempt.timeout, self._time_out)

    def answered(self, answer: dict[str, object]) -> None:
        if self._verdict is not None or answer.get("key", self.attempt.key) != self.attempt.key:
            return  # too late, or the word of a process that a function left behind
        if answer.get("again"):
            self._pool.again(self)
            return
        self.worker.call = None
        self._pool.release(self.worker)
        self._finish(results.of_answer(self.attempt, answer))

    def died(self, code: int | None) -> None:
        """The worker is gone in the middle of the call."""
        if self._verdict is not None:
            return  # we ended it; `Ending` tells when nothing is left
        if code is not None and code >= 0:
            outcome = results.ended_by(
                self.attempt, "exit", f"the worker exited with status {code} during the call", code
            )
        else:
            name = (results.signal_name(-code) or f"signal {-code}") if code else "a signal"
            outcome = results.ended_by(self.attempt, "killed", f"the worker was killed by {name} during the call", code)
        self._verdict = outcome
        self._pool.reactor.call_later(MOURNING if code == -signal.SIGKILL else 0.0, self._finish_off)

    def moved(self, worker: Worker) -> None:
        self.worker = worker

    def cancel(self) -> None:
        self._end(results.ended_by(self.attempt, "cancelled", "cancelled"))

    def _time_out(self) -> None:
        limit = self.attempt.timeout
        self._end(results.ended_by(self.attempt, "timeout", f"ran longer than its timeout of {limit:g} s"))

    def _end(self, verdict: Outcome) -> None:
        """End the worker with all it started; only then the outcome is told."""
        if self._verdict is not None:
            return
        self._verdict = verdict
        self._finish_off()

    def _finish_off(self) -> None:
        others = lambda: self._pool.strays(self.attempt.key)  # noqa: E731 – read at every check
        lease = self.worker.lease  # a process that it forked holds it, in whatever session it is
        processes.Ending(self._pool.reactor, self.worker.pid, lease, self.attempt.grace, others, self._tell)

    def _tell(self) -> None:
        remove_lease(self.worker.lease)
        if self._verdict is not None:
            self._finish(self._verdict)

    def _finish(self, outcome: Outcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pool.finished(self, outcome)


READ_AGAIN = 0.1
MOURNING = 0.1
"""As for shell steps: an outsider's SIGKILL of a worker often comes with one for us."""


class WorkerPool:
    """All workers of this engine."""

    def __init__(
        self,
        reactor: Reactor,
        folder: str,
        functions: str,
        idle_seconds: float,
        umask: int,
        strays: Callable[[str], list[int]],
        ended: Ended,
    ) -> None:
        self.reactor = reactor
        self.strays = strays
        self.workers: dict[int, Worker] = {}
        self._folder = folder
        self._functions = functions
        self._idle_seconds = idle_seconds
        self._umask = umask
        self._idle: list[Worker] = []
        self._calls: dict[str, Call] = {}
        self._ended = ended
        self._number = 0
        self._retiring = False

    def submit(self, attempt: Attempt, message: dict[str, object]) -> None:
        """Call a function. OSError when no worker can be started now."""
        worker = self._idle.pop() if self._idle else self._start()
        call = self._calls[attempt.key] = Call(self, attempt, worker, message)
        worker.request(call, message)

    def cancel(self, key: str) -> bool:
        call = self._calls.get(key)
        if call is not None:
            call.cancel()
        return call is not None

    def release(self, worker: Worker) -> None:
        """The worker has answered and waits for work."""
        worker.idle_since = self.reactor.monotonic()
        self._idle.append(worker)
        if not self._retiring:
            self._retiring = True
            self.reactor.call_later(self._idle_seconds, self._retire)

    def again(self, call: Call) -> None:
        """A file in functions/ has changed: the worker goes, a fresh one takes the call."""
        call.worker.call = None
        try:
            worker = self._start()
        except OSError:
            self.reactor.call_later(0.2, lambda: self.again(call))
            return
        call.moved(worker)
        worker.request(call, call.message)

    def finished(self, call: Call, outcome: Outcome) -> None:
        if self._calls.pop(call.attempt.key, None) is not None:
            self._ended(outcome)

    def close(self) -> None:
        """Leave the busy ones to their work; the idle ones may go."""
        for worker in list(self.workers.values()):
            if worker.call is None:
                worker.dismiss()
            worker.abandon()

    def _start(self) -> Worker:
        self._number += 1
        atomic.make_folder(self._folder)
        lease = os.path.join(self._folder, f"{os.getpid()}-{self._number}")
        worker = Worker(self.reactor, lease, self._functions, self._umask, self._gone)
        self.workers[worker.pid] = worker
        return worker

    def _gone(self, worker: Worker) -> None:
        self.workers.pop(worker.pid, None)
        if worker in self._idle:
            self._idle.remove(worker)
        if worker.call is None:
            remove_lease(worker.lease)  # else when nothing of the call is left
            processes.signal_group(worker.pid, signal.SIGKILL)  # what its functions left running

    def _retire(self) -> None:
        self._retiring = False
        limit = self.reactor.monotonic() - self._idle_seconds
        for worker in [worker for worker in self._idle if worker.idle_since <= limit]:
            self._idle.remove(worker)
            worker.dismiss()
        if self._idle:
            self._retiring = True
            self.reactor.call_later(self._idle_seconds, self._retire)


class AdoptedCall:
    """A call that a worker of an earlier engine is making: watched from outside until the worker is gone."""

    def __init__(
        self,
        reactor: Reactor,
        attempt: Attempt,
        folder: str,
        lease: str,
        pid: int,
        remaining: float | None,
        ended: Ended,
    ) -> None:
        self.attempt = attempt
        self._reactor = reactor
        self._folder = folder
        self._lease = lease
        self._pid = pid
        self._ended = ended
        self._verdict: Outcome | None = None
        self._timer = None if remaining is None else reactor.call_later(remaining, self._time_out)
        self._pidfd = os.pidfd_open(pid)
        reactor.watch(self._pidfd, self._gone)

    def cancel(self) -> None:
        self._end(results.ended_by(self.attempt, "cancelled", "cancelled"))

    def _time_out(self) -> None:
        limit = self.attempt.timeout
        self._end(results.ended_by(self.attempt, "timeout", f"ran longer than its timeout of {limit:g} s"))

    def _end(self, verdict: Outcome) -> None:
        if self._verdict is None:
            self._verdict = verdict
            processes.Ending(self._reactor, self._pid, self._lease, self.attempt.grace, list, self._tell)

    def _gone(self) -> None:
        self._reactor.unwatch(self._pidfd)
        os.close(self._pidfd)
        remove_lease(self._lease)
        self._read_result()

    def _read_result(self) -> None:
        if self._verdict is not None:
            return
        try:
            found = results.of_exit_file(self.attempt, self._folder)
        except OSError:  # the machine is short of something: the attempt is not at fault
            self._reactor.call_later(READ_AGAIN, self._read_result)
            return
        self._verdict = found or results.ended_by(self.attempt, "lost", "its worker died without leaving a result")
        self._tell()

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ended(self._verdict or results.ended_by(self.attempt, "lost", "its worker is gone"))


def earlier_workers(folder: str) -> dict[str, tuple[str, int]]:
    """What workers of earlier engines are calling: attempt key → (lease file, pid). Leases that nobody holds go."""
    calling: dict[str, tuple[str, int]] = {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if "." in name:
            continue
        if not processes.lease_is_held(path):
            remove_lease(path)
            continue
        try:
            pid, _, key = atomic.read(path, 1024).decode().strip().partition(" ")
            if key:
                calling[key] = (path, int(pid))
        except (OSError, ValueError):
            continue
    return calling


def remove_lease(path: str) -> None:
    """Remove a lease file and the scratch logs beside it."""
    for suffix in ("", ".stdout", ".stderr"):
        try:
            os.unlink(path + suffix)
        except OSError:
            pass


def _decoded(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
        if isinstance(answer, dict):
            return answer
    except (ValueError, RecursionError):
        pass
    return {"error": {"kind": "bad_output", "message": "the worker's answer cannot be read"}}


def _environment() -> dict[str, str]:
    """Our environment, with the package on the path and buffers off: what a worker prints must not wait in it."""
    import hybrid_engine

    root = os.path.dirname(os.path.dirname(os.path.abspath(hybrid_engine.__file__)))
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}
