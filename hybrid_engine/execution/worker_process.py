"""The worker: a warm process that calls Python functions, one at a time, for the engine at the other end of a socket.

Run as `python -m hybrid_engine.execution.worker_process <socket fd> <lease file> <functions folder> <umask>`. It
outlives the engine for as long as the call takes: then its result has nobody to go to, so it is written to the
attempt's `exit` file, where the next engine finds it. While it lives it holds the lock of its lease file, whose text
says what it is calling.

Nothing is imported here but the worker's own modules and `authoring`: it must start quickly and stay small.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

from hybrid_engine import authoring
from hybrid_engine.execution.worker_functions import Functions, answer_of, encode
from hybrid_engine.execution.worker_logs import Logs

HEADER = struct.Struct(">I")
LEASE_SIZE = 512
LEAVE_WITHIN = 1.0
"""Seconds in which what is registered to run at the end of the interpreter may run."""


class Lease:
    """The worker's lock file and what it says: pid, the key of the attempt under way, when it began (boot clock)."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.path = path
        self._write(str(os.getpid()))

    def say(self, key: str, began: float) -> None:
        self._write(f"{os.getpid()} {key} {began:.2f}")

    def _write(self, text: str) -> None:
        """One write, in place, of a fixed size: a reader sees the old text or the new."""
        os.pwrite(self._fd, text.encode().ljust(LEASE_SIZE), 0)


class Worker:
    """The loop: a request comes, the function is called, the answer goes back or, without an engine, to a file."""

    def __init__(self, channel: socket.socket, lease: str, functions: str, umask: int) -> None:
        self._channel = channel
        self._lease = Lease(lease)
        self._logs = Logs(lease)
        self._functions = Functions(functions)
        self._base = dict(os.environ)
        self._cwd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._umask = umask
        self._last: tuple[str, bytes] | None = None
        self._pid = os.getpid()

    def serve(self) -> None:
        self._send(encode({"ready": True}).encode())
        while (request := self._receive()) is not None:
            if request.get("alone"):
                break
            if request.get("bye") or self._is_forsaken():
                self._last = None
                break
            if self._functions.stale():
                self._send(encode({"again": True}).encode())
                self._last = None
                break
            self._lease.say(request["key"], request["began"])
            answer = self._answer(request)
            if os.getpid() != self._pid:
                os._exit(0)  # a copy that the function forked and let return: the answer is not its to give
            self._last = (request["folder"], answer)
            if not self._send(answer):
                break
        self._leave_word()
        self._logs.remove()
        os.unlink(self._lease.path)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)  # what functions left running ends with us
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        signal.setitimer(signal.ITIMER_REAL, LEAVE_WITHIN)  # and so do its threads, which the interpreter waits for

    def _is_forsaken(self) -> bool:
        """Has the engine died since it sent this request? Then the next one takes the attempt for lost: do not begin.

        An engine that ends in order says so instead, and its request is answered.
        """
        try:
            return not self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _answer(self, request: dict[str, Any]) -> bytes:
        os.fchdir(self._cwd)
        os.umask(self._umask)
        self._set_environment({**self._base, **request["env"]})
        self._logs.enter(request["folder"])
        authoring._enter(request["folder"])
        try:
            return answer_of(self._functions, request)
        finally:
            self._logs.leave()

    def _set_environment(self, env: dict[str, str]) -> None:
        """Exactly `env`, whatever the last call made of it."""
        found = dict(os.environ)
        for name in found.keys() - env.keys():
            del os.environ[name]
        for name, value in env.items():
            if found.get(name) != value:
                os.environ[name] = value

    def _receive(self) -> dict[str, Any] | None:
        head = self._read_exactly(HEADER.size)
        if head is None:
            return None
        body = self._read_exactly(HEADER.unpack(head)[0])
        return None if body is None else json.loads(body)

    def _read_exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            try:
                more = self._channel.recv(size - len(data))
            except OSError:
                return None
            if not more:
                return None
            data += more
        return data

    def _send(self, answer: bytes) -> bool:
        try:
            self._channel.sendall(HEADER.pack(len(answer)) + answer)
            return True
        except OSError:
            return False

    def _leave_word(self) -> None:
        """The engine is gone, and perhaps it never took the last answer: leave it where the next one looks.

        Only in the folder of a workflow that is there: the answer may have been taken long ago, and the workflow may
        have been finished and removed since.
        """
        if self._last is None:
            return
        folder, answer = self._last
        path = os.path.join(folder, "exit")
        try:
            authoring.make_folders(folder, authoring.ATTEMPT_LEVELS)
            with open(path + ".tmp", "wb") as file:
                file.write(answer)
            os.replace(path + ".tmp", path)
        except OSError:
            try:
                os.unlink(path + ".tmp")
            except OSError:
                pass


def main() -> None:
    """Entry: `<socket fd> <lease file> <functions folder> <umask, octal>`."""
    fd, lease, functions = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.dont_write_bytecode = True
    channel = socket.socket(fileno=fd)
    channel.set_inheritable(False)
    Worker(channel, lease, functions, int(sys.argv[4], 8)).serve()


if __name__ == "__main__":
    main()
