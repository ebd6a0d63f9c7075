"""One worker process, as the engine sees it: how it is spawned, the socket to it, and that its end is noticed."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Protocol

from hybrid_engine.execution import processes, results
from hybrid_engine.execution.host import Host
from hybrid_engine.files import atomic
from hybrid_engine.model.words import Json

HEADER = struct.Struct(">I")
MODULE = "hybrid_engine.execution.worker_process"
FLUSH_AGAIN = 0.002
FLUSH_MOST = 0.05
PIECE = 1 << 18
READY_WITHIN = 60.0
SCRATCH = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Caller(Protocol):
    """The call that a worker is making."""

    def answered(self, answer: dict[str, Json]) -> None:
        """The worker says something about it."""

    def died(self, code: int | None) -> None:
        """The worker has ended, and how, where that is known."""

    def could_not_start(self, why: str) -> None:
        """The worker ended before it was ready for any call."""


class Worker:
    """One worker process. `call` is what it is doing, if anything. What it prints before it is ready goes into the
    scratch files beside its lease, as later does what a function prints."""

    def __init__(self, host: Host, lease: str, gone: Callable[[Worker], None]) -> None:
        self.call: Caller | None = None
        self.lease = lease
        self.idle_since = 0.0
        self._host = host
        self._reactor = reactor = host.reactor
        self._gone = gone
        self._received = bytearray()
        self._unsent = b""
        self._flush_wait = FLUSH_AGAIN
        self._is_ready = False
        self._is_late = False
        ours, theirs = socket.socketpair()
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                _command(theirs.fileno(), lease, host),
                _environment(),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, f"{lease}.stdout", SCRATCH, atomic.FILE_MODE),
                    (os.POSIX_SPAWN_OPEN, 2, f"{lease}.stderr", SCRATCH, atomic.FILE_MODE),
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), theirs.fileno()),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGIO, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ),
            )
        except OSError:
            ours.close()
            remove_lease(lease)
            raise
        finally:
            theirs.close()
        host.children.add(self.pid)
        ours.setblocking(False)
        self._channel = ours
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except OSError:
            ours.close()  # it ends when it finds nobody there
            raise
        reactor.watch(ours.fileno(), self._said)
        reactor.watch(self._pidfd, self._died)
        self._ready_timer = reactor.call_later(READY_WITHIN, self._check_ready)

    def request(self, call: Caller, message: dict[str, object]) -> None:
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
        self._ready_timer.cancel()
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
        if sent:
            self._flush_wait = FLUSH_AGAIN
        if self._unsent:
            self._reactor.call_later(self._flush_wait, self._flush)
            self._flush_wait = min(FLUSH_MOST, self._flush_wait * 2)

    def _said(self) -> None:
        self._take_piece()

    def _take_piece(self) -> bool:
        """Take a piece of what the worker says; False when there is none now."""
        try:
            data = self._channel.recv(PIECE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close_channel()
            return False
        self._received += data
        while len(self._received) >= HEADER.size:
            size = HEADER.unpack_from(self._received)[0]
            if len(self._received) < HEADER.size + size:
                break
            body = bytes(self._received[HEADER.size : HEADER.size + size])
            del self._received[: HEADER.size + size]
            self._understand(_decoded(body))
        return True

    def _understand(self, said: dict[str, Json]) -> None:
        if said.get("ready") and not self._is_ready:
            self._is_ready = True
            self._ready_timer.cancel()
        elif self.call is not None:
            self.call.answered(said)

    def _check_ready(self) -> None:
        self.look()
        if not self._is_ready and self.pid in self._host.children:
            self._is_late = True
            processes.signal_group(self.pid, signal.SIGKILL)

    def receive(self) -> None:
        """Take what the worker has said already, without waiting for the reactor to notice it."""
        while self._take_piece():
            pass

    def look(self) -> None:
        """Notice now what the reactor would tell in its next round: words of the worker, or its end."""
        self.receive()
        self._died()

    @property
    def is_answering(self) -> bool:
        """Has it begun an answer whose end is still to come?"""
        return bool(self._received)

    def _close_channel(self) -> None:
        if self._channel.fileno() >= 0:
            self._reactor.unwatch(self._channel.fileno())
            self._channel.close()

    def _died(self) -> None:
        if not processes.has_ended(self._pidfd):
            return
        self.receive()  # what it said before it died counts
        self._reactor.unwatch(self._pidfd)
        os.close(self._pidfd)
        self._close_channel()
        self._ready_timer.cancel()
        code = self._reap()
        call, why = self.call, self._why_not_ready(code)
        if why is not None:
            self.call = None
        self._gone(self)
        if call is not None and why is not None:
            call.could_not_start(why)
        elif call is not None:
            call.died(code)

    def _why_not_ready(self, code: int | None) -> str | None:
        """Why it ended before it was ready for any call; None when it was ready."""
        if self._is_ready:
            return None
        if self._is_late:
            text = f"not ready within {READY_WITHIN:g} s"
        elif code is not None and code >= 0:
            text = f"ended with status {code}"
        else:
            text = f"killed by {results.signal_name(-code) or -code}" if code else "ended"
        last = results.last_words(f"{self.lease}.stderr")
        return f"{text}: {last}" if last else text

    def _reap(self) -> int | None:
        self._host.children.discard(self.pid)
        try:
            _, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status)


def remove_lease(path: str) -> None:
    """Remove a lease file and the scratch logs beside it."""
    for suffix in ("", ".stdout", ".stderr"):
        try:
            os.unlink(path + suffix)
        except OSError:
            pass


def _command(channel: int, lease: str, host: Host) -> list[str]:
    return [sys.executable, "-m", MODULE, str(channel), lease, host.layout.functions, f"{host.umask:o}"]


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
