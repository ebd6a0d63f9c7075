"""In a worker: the author's functions, found, imported and called, and what comes back made into an answer."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from types import CoroutineType, ModuleType
from typing import Any

from hybrid_engine import authoring

MAX_OUTPUT = 1 << 20
MAX_DEPTH = 64
MAX_DIGITS = 100
"""Of a whole number, as in the JSON that a shell step writes."""
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class FunctionError(Exception):
    """Something about the call that is not the function's own exception: `kind` and a sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


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


def answer_of(functions: Functions, request: dict[str, Any]) -> bytes:
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
        answer = encode({"key": key, "output": output})
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
    return encode({"error": plain}).encode()


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
