"""The worker: a warm process that calls Python functions, one at a time, for the engine at the other end of a socket.

Run as `python -m hybrid_engine.execution.worker <socket fd> <lease file> <functions folder> <umask>`. It outlives the
engine for as long as the call takes: then its result has nobody to go to, so it is written to the attempt's `exit`
file, where the next engine finds it. While it lives it holds the lock of its lease file, whose text says what it is
calling.

Nothing of the engine is imported here but the authoring module: a worker must start quickly and stay small.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import json
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from types import CoroutineType, ModuleType
from typing import Any

from hybrid_engine import authoring

HEADER = struct.Struct(">I")
MAX_OUTPUT = 1 << 20
MAX_DEPTH = 64
MAX_DIGITS = 100
"""Of a whole number, as in the JSON that a shell step writes."""
LEASE_SIZE = 512
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class FunctionError(Exception):
    """Something about the call that is not the function's own exception: `kind` and a sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Lease:
    """The worker's lock file and what it says: pid and the key of the attempt under way."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        self.path = path
        self.say("")

    def say(self, key: str) -> None:
        """One write, in place, of a fixed size: a reader sees the old text or the new."""
        os.pwrite(self._fd, f"{os.getpid()} {key}".encode().ljust(LEASE_SIZE), 0)


class Logs:
    """Where prints go: the attempt's log files, made at the first byte, so that a silent function leaves no file."""

    def __init__(self, scratch: str) -> None:
        self._scratch = [f"{scratch}.{name}" for name in ("stdout", "stderr")]
        self._folder = ""
        self._opened = [False, False]
        for number, path in enumerate(self._scratch, 1):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            os.dup2(fd, number)
            os.close(fd)
        self._streams = _Stream(self, 0), _Stream(self, 1)
        self.enter("")

    def enter(self, folder: str) -> None:
        self._folder = folder
        sys.stdout, sys.stderr = self._streams

    def open(self, which: int) -> None:
        """The attempt's log takes the place of the scratch file, for Python, for C and for subprocesses."""
        if self._opened[which] or not self._folder:
            return
        authoring.make_folders(self._folder)
        path = os.path.join(self._folder, ("stdout.log", "stderr.log")[which])
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        os.dup2(fd, which + 1)
        os.close(fd)
        self._opened[which] = True

    def leave(self) -> None:
        """The call is over: what bypassed Python (subprocesses) moves from the scratch file to the attempt's log."""
        for which, path in enumerate(self._scratch):
            if self._opened[which]:
                self._back_to_scratch(which)
            elif os.fstat(which + 1).st_size:
                self._move(which, path)

    def _back_to_scratch(self, which: int) -> None:
        path = self._scratch[which]
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        os.dup2(fd, which + 1)
        os.close(fd)
        self._opened[which] = False
        if os.fstat(which + 1).st_size:
            self._move(which, path)

    def _move(self, which: int, path: str) -> None:
        authoring.make_folders(self._folder)
        target = os.path.join(self._folder, ("stdout.log", "stderr.log")[which])
        with open(path, "rb") as source, open(target, "ab") as log:
            while chunk := source.read(1 << 20):
                log.write(chunk)
        os.ftruncate(which + 1, 0)

    def remove(self) -> None:
        for path in self._scratch:
            try:
                os.unlink(path)
            except OSError:
                pass


class _Stream:
    """`sys.stdout` and `sys.stderr`: writes through at once, opening the log at the first write."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, logs: Logs, which: int) -> None:
        self._logs = logs
        self._which = which

    def write(self, text: str) -> int:
        if text:
            self._logs.open(self._which)
            data = text.encode("utf-8", "backslashreplace")
            while data:
                data = data[os.write(self._which + 1, data) :]
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        self._logs.open(self._which)
        return self._which + 1

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    @property
    def buffer(self) -> Any:
        return os.fdopen(os.dup(self.fileno()), "wb", buffering=0)


class Functions:
    """The functions of a folder, imported when first called. `stale` when a file has changed since."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._found: dict[str, Callable[..., Any]] = {}
        self._stamps: dict[str, tuple[int, int]] = {}
        sys.path.append(folder)  # last: helpers beside the functions are found, nobody's `json` is hidden

    def stale(self) -> bool:
        return any(_stamp(path) != seen for path, seen in self._stamps.items())

    def get(self, name: str) -> Callable[..., Any]:
        found = self._found.get(name)
        if found is None:
            self._load(name.rpartition(".")[0])
            found = self._found.get(name)
        if found is None:
            known = ", ".join(sorted(self._found)) or "none"
            raise FunctionError("not_found", f"no function {name!r} in functions/ (decorated ones there: {known})")
        return found

    def _load(self, module: str) -> None:
        path = os.path.join(self._folder, *module.split("."))
        path = os.path.join(path, "__init__.py") if os.path.isdir(path) else path + ".py"
        if not module or not os.path.isfile(path):
            raise FunctionError("not_found", f"there is no file functions/{os.path.relpath(path, self._folder)}")
        self._stamps[path] = _stamp(path)
        try:
            if path.endswith("__init__.py") or "." in module:
                loaded = importlib.import_module(module)
            else:
                loaded = self._load_file(module, path)
        finally:
            self._note_stamps()  # of one that could not be imported, too: what it imports may be what has to be mended
        for value in vars(loaded).values():
            name = getattr(value, authoring.MARK, None)
            if name is not None and getattr(value, "__module__", None) == module:
                self._found[f"{module}.{name}"] = value

    def _note_stamps(self) -> None:
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.startswith(self._folder + os.sep):
                self._stamps.setdefault(file, _stamp(file))

    @staticmethod
    def _load_file(module: str, path: str) -> ModuleType:
        """By its path: a file may have the name of something that others mean when they import it, such as `json`."""
        spec = importlib.util.spec_from_file_location(module, path)
        assert spec is not None and spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        is_ours = module not in sys.modules and module not in sys.stdlib_module_names
        if is_ours:
            sys.modules[module] = loaded
        try:
            spec.loader.exec_module(loaded)
        except BaseException:
            if is_ours:
                del sys.modules[module]
            raise
        return loaded


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


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
        while (request := self._receive()) is not None:
            if request.get("alone"):
                break
            if request.get("bye") or self._is_forsaken():
                self._last = None
                break
            if self._functions.stale():
                self._send(_encode({"again": True}).encode())
                self._last = None
                break
            self._lease.say(request["key"])
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
            return _answer_of(self._functions, request)
        finally:
            try:
                self._logs.leave()
            except OSError:
                pass  # a full disk costs the end of a log, not the result

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
        """The engine is gone, and perhaps it never took the last answer: leave it where the next one looks."""
        if self._last is None:
            return
        folder, answer = self._last
        path = os.path.join(folder, "exit")
        try:
            authoring.make_folders(folder)
            with open(path + ".tmp", "wb") as file:
                file.write(answer)
            os.replace(path + ".tmp", path)
        except OSError:
            pass


def _answer_of(functions: Functions, request: dict[str, Any]) -> bytes:
    try:
        return _success(request["key"], _call(functions.get(request["function"]), request["arguments"]))
    except FunctionError as error:
        return _failure(error.kind, str(error))
    except SystemExit as error:
        return _failure("exit", f"the function called exit({_words(error.code)})")
    except BaseException as error:
        traceback.print_exc(file=sys.stderr)
        message = f"{type(error).__name__}: {_words(error)}"[:2000]
        return _failure("exception", message, where=_last_line(error))


def _success(key: str, output: Any) -> bytes:
    """The answer with a function's output. Raises FunctionError when that is not JSON, or would not come back whole."""
    try:
        answer = _encode({"key": key, "output": output})
        if len(answer) > MAX_OUTPUT:
            raise FunctionError(
                "bad_output", f"returned more than {MAX_OUTPUT} bytes; leave large results as artifacts"
            )
        if depth_exceeds(answer, MAX_DEPTH):
            raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
        _read_back(answer)
        return answer.encode()
    except FunctionError:
        raise
    except UnicodeEncodeError:
        raise FunctionError("bad_output", "returned half of a surrogate pair, which is not text") from None
    except Exception as error:  # an object of the function's own may raise anything while it is encoded
        raise FunctionError("bad_output", f"returned something that is not JSON: {_words(error)}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keys that are not text become text on the way: 1 and "1" would be one key, and a value would be lost."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r:.80} is there twice, as text and as something else")
    return found


def _whole(digits: str) -> None:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits; at most {MAX_DIGITS}")


_read_back = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_whole).decode


def _failure(kind: str, message: str, **more: str) -> bytes:
    # Escaped first: half of a surrogate pair in an exception's text would come back as one, and no journal can hold it.
    error = {"kind": kind, "message": message, **more}
    plain = {name: text.encode(errors="backslashreplace").decode() for name, text in error.items()}
    return _encode({"error": plain}).encode()


def _words(said: object) -> str:
    """The text of a function's own object, whose `__str__` may raise, too."""
    try:
        return str(said)
    except Exception:
        return f"<{type(said).__name__} without words>"


def depth_exceeds(text: str, limit: int) -> bool:
    """Is this JSON text nested deeper than `limit`? Cheap for what cannot be."""
    if text.count("[") + text.count("{") <= limit:
        return False
    depth, inside, escaped = 0, False, False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            if depth > limit:
                return True
        elif character in "]}":
            depth -= 1
    return False


def _call(target: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    try:
        result = target(**arguments)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # raised by the call, not inside it
            raise FunctionError("bad_arguments", str(error)) from None
        raise
    if isinstance(result, CoroutineType):
        import asyncio

        return asyncio.run(result)
    return result


def _last_line(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""


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
