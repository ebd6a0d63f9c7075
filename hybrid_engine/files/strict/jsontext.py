"""JSON from strangers: UTF-8, no NaN, no infinity, no key twice, bounded depth and digits.

A good text costs what `json` costs (its C scanner does the work). Only for a bad one is the text walked again, in
Python, to say at which line and column it went wrong.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from json import JSONDecodeError
from typing import Any, NamedTuple, NoReturn

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files.strict.guard import guarded, place_of
from hybrid_engine.model.words import Json

MAX_DEPTH = 64
MAX_DIGITS = 100

_BOM = b"\xef\xbb\xbf"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_TOKEN = re.compile(r'[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+|\S)', re.DOTALL)


class _RefusedError(ValueError):
    """Raised from within the scanner; `_diagnose` finds out where."""


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise _RefusedError
    return mapping


def _float(text: str) -> float:
    value = float(text)
    if value - value != 0.0:
        raise _RefusedError
    return value


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _RefusedError
    return int(text)


def _constant(_: str) -> NoReturn:
    raise _RefusedError


_decode = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_float, parse_int=_int, parse_constant=_constant
).decode


def parse_json(data: bytes, *, file: str | None = None, error: type[InputError] = JobError) -> Json:
    """The value of a JSON text. Raises `error` with code, line and column."""
    try:
        return _value(data)
    except Exception as failure:
        cause = failure  # the name of an `except` ends with it
    raise guarded(lambda: _diagnose(data, cause, file, error), "JSON", file, error)


def _value(data: bytes) -> Json:
    value = _decode(data.decode())
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and type(value) in (dict, list) and _is_too_deep(value):
        raise _RefusedError
    if b"\\u" in data and _SURROGATE.search(data):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def decode_utf8(data: bytes, file: str | None, error: type[InputError]) -> str:
    """The text of bytes that must be UTF-8 without a byte order mark, and not empty."""
    if data.startswith(_BOM):
        raise error(
            "begins with a byte order mark",
            file=file,
            line=1,
            column=1,
            code="bom",
            hint="save it as UTF-8 without BOM",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as failure:
        line = data.count(b"\n", 0, failure.start) + 1
        column = failure.start - data.rfind(b"\n", 0, failure.start)
        raise error(
            f"is not UTF-8: byte 0x{data[failure.start]:02x}", file=file, line=line, column=column, code="not_utf8"
        ) from None
    if not text.strip():
        raise error("is empty", file=file, code="empty")
    return text


_Path = tuple[str, ...]


class JsonPositions:
    """Where the fields of a JSON text stand; looked for only when somebody asks, because only errors do.

    One look goes through the whole text, so who has many errors asks for all their places by `look_up` first.
    """

    def __init__(self, data: bytes) -> None:
        self._text = data.decode(errors="replace")
        self._looked_up: set[_Path] = set()
        self._values: dict[_Path, int] = {}
        self._keys: dict[_Path, int] = {}
        self._line_ends: list[int] | None = None

    def look_up(self, paths: Iterable[str | Sequence[str | int]]) -> None:
        """Find the places of all these fields, and of what is around them, in one pass."""
        wanted = {_path(path) for path in paths} - self._looked_up
        around = {path[:length] for path in wanted for length in range(len(path) + 1)}
        if wanted:
            for token in _walk(self._text):
                if token.path in around:
                    (self._keys if token.is_key else self._values).setdefault(token.path, token.start)
        self._looked_up |= wanted

    def locate(self, path: str | Sequence[str | int], *, key: bool = False) -> tuple[int, int] | None:
        """(line, column) of the field with this path, or of the nearest one around it that is there.

        `key` asks for the place of the field's name instead of its value.
        """
        wanted = _path(path)
        self.look_up([wanted])
        if key and wanted in self._keys:
            return self._place(self._keys[wanted])
        for length in range(len(wanted), -1, -1):
            if wanted[:length] in self._values:
                return self._place(self._values[wanted[:length]])
        return None

    def _place(self, offset: int) -> tuple[int, int]:
        if self._line_ends is None:
            self._line_ends = [match.start() for match in re.finditer("\n", self._text)]
        line = bisect_left(self._line_ends, offset)
        return line + 1, offset - (self._line_ends[line - 1] if line else -1)


def _path(path: str | Sequence[str | int]) -> _Path:
    return tuple(path.split(".")) if isinstance(path, str) else tuple(str(part) for part in path)


def _is_too_deep(value: Json) -> bool:
    level = [value]  # all containers at one depth
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


class _Token(NamedTuple):
    path: tuple[str, ...]
    start: int
    text: str
    is_key: bool
    depth: int
    is_again: bool


def _walk(text: str) -> Iterator[_Token]:
    """The keys and the beginnings of values in a text that may be broken; stops where it stops making sense."""
    path: list[Any] = []
    seen: list[set[str] | None] = []
    wants_key = False
    for match in _TOKEN.finditer(text):
        token, start = match.group(1), match.start(1)
        if token in ("}", "]"):
            if not seen:
                return
            seen.pop()
            path.pop()
            wants_key = False
        elif token == ",":
            if not seen:
                return
            keys = seen[-1]
            wants_key = keys is not None
            if keys is None:
                path[-1] += 1
        elif token == ":":
            continue
        elif wants_key:
            name = _unquoted(token)
            keys = seen[-1] if seen[-1] is not None else set()
            path[-1] = name
            yield _Token(tuple(map(str, path)), start, token, True, len(seen), name in keys)
            keys.add(name)
            wants_key = False
        else:
            yield _Token(tuple(map(str, path)), start, token, False, len(seen), False)
            if token in ("{", "["):
                seen.append(set() if token == "{" else None)
                path.append("" if token == "{" else 0)
                wants_key = token == "{"


def _unquoted(token: str) -> str:
    try:
        return str(json.loads(token))
    except ValueError:
        return token


def _diagnose(data: bytes, failure: Exception, file: str | None, error: type[InputError]) -> InputError:
    """The error for a text that was refused: what is wrong, and where."""
    try:
        text = decode_utf8(data, file, error)
    except InputError as refused:
        return refused
    if isinstance(failure, JSONDecodeError):
        message, hint = _syntax(failure)
        return error(message, file=file, line=failure.lineno, column=failure.colno, code="syntax", hint=hint)
    for token in _walk(text):
        code, message, hint = _refusal(token)
        if code:
            line, column = place_of(text, token.start)
            return error(message, file=file, line=line, column=column, code=code, hint=hint)
    return error(f"is not JSON that we take: {failure}", file=file, code="syntax")


def _syntax(failure: JSONDecodeError) -> tuple[str, str | None]:
    if failure.pos >= len(failure.doc.rstrip()):
        return "is not JSON: the text ends too early", None
    what = failure.msg[0].lower() + failure.msg[1:]
    found = failure.doc[failure.pos]
    hint = {
        "'": "JSON has double quotes only",
        "}": "no comma after the last one",
        "]": "no comma after the last one",
        "/": "JSON has no comments",
        "#": "JSON has no comments",
    }.get(found)
    return f"is not JSON: {what}", hint


def _refusal(token: _Token) -> tuple[str, str, str | None]:
    """(code, message, hint) when this token is what was refused; else an empty code."""
    if token.is_again:
        return "duplicate_key", f"the key {token.text:.80} is there twice", None
    if token.depth >= MAX_DEPTH and token.text in "[{":
        return "too_deep", f"is nested deeper than {MAX_DEPTH}", None
    if token.text[0] == '"':
        try:
            _unquoted(token.text).encode()
        except UnicodeEncodeError:
            return "lone_surrogate", "half of a surrogate pair is not a character", None
        return "", "", None
    if token.text.lstrip("-") in ("NaN", "Infinity"):
        return "not_finite", f"{token.text} is not JSON", "write null"
    return _refused_number(token.text)


def _refused_number(text: str) -> tuple[str, str, str | None]:
    """The same for a number at the beginning of `text`: what stands behind it the scanner never saw."""
    match = _NUMBER.match(text)
    number = match.group() if match else ""
    if number.lstrip("-").isdigit():
        if len(number) > MAX_DIGITS:
            return "too_long_number", f"a whole number of {len(number)} digits; at most {MAX_DIGITS}", "use text"
    elif number and float(number) - float(number) != 0.0:
        return "not_finite", f"{number:.40} is too large for a number", None
    return "", "", None
