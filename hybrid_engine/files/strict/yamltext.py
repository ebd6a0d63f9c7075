"""YAML from strangers: one document, the scalars of YAML 1.2, no tags, no merging, no key twice, everything bounded.

Built from the parser's events, one loop and no recursion, so depth and size are checked before anything is built.
Aliases are allowed while what they expand to stays small; an alias to something that holds it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files.strict.jsontext import MAX_DEPTH, MAX_DIGITS, decode_utf8
from hybrid_engine.model.words import Json

MAX_BYTES = 1024 * 1024
MAX_NODES = 200_000
"""Values, after aliases have been written out."""

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_LONG_TAG = re.compile(r"(?:^|[\s,:\[{-])!\S{1024}")
"""The scanner needs time that grows with the square of a tag's length, and we take no tags anyway."""
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)


class Positions:
    """Where each field of a YAML text stands, by its dotted path."""

    __slots__ = ("_keys", "_values")

    def __init__(self) -> None:
        self._values: dict[str, tuple[int, int]] = {}
        self._keys: dict[str, tuple[int, int]] = {}

    def locate(self, path: str | Sequence[str | int], *, key: bool = False) -> tuple[int, int] | None:
        """(line, column) of the field with this path, or of the nearest one around it that is there.

        `key` asks for the place of the field's name instead of its value.
        """
        parts = path.split(".") if isinstance(path, str) else [str(part) for part in path]
        if key and (found := self._keys.get(".".join(parts))):
            return found
        while parts:
            if found := self._values.get(".".join(parts)):
                return found
            parts.pop()
        return self._values.get("")


def parse_yaml(
    data: bytes, *, file: str | None = None, error: type[InputError] = JobError, limit: int = MAX_BYTES
) -> tuple[Json, Positions]:
    """The value of a YAML document in plain data, and where its fields stand. Raises `error` with line and column."""
    if len(data) > limit:
        raise error(f"is {len(data)} bytes; at most {limit} are read as YAML", file=file, code="too_large")
    text = decode_utf8(data, file, error)
    if long := _LONG_TAG.search(text):
        raise error("tags are not taken", file=file, line=text.count("\n", 0, long.end()) + 1, code="tag")
    builder = _Builder(file, error)
    try:
        for event in _events(text):
            builder.take(event)
    except InputError:
        raise
    except (ValueError, RecursionError) as failure:
        raise error(f"is not YAML: {failure}", file=file, code="syntax") from None
    except Exception as failure:
        mark = getattr(failure, "problem_mark", None) or getattr(failure, "context_mark", None)
        if mark is None and type(failure).__module__.partition(".")[0] != "ruamel":
            raise
        raise _syntax(failure, mark, text, file, error) from None
    return builder.finish(), builder.positions


def _events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML

    # "safe" here chooses the plain scanner (no comments kept); nothing is constructed from its events but by us.
    events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)
    return events


def _syntax(failure: Exception, mark: Any, text: str, file: str | None, error: type[InputError]) -> InputError:
    problem = getattr(failure, "problem", None) or getattr(failure, "reason", None) or str(failure).split("\n")[0]
    context = getattr(failure, "context", None)
    message = f"is not YAML: {problem}" + (f" {context}" if context else "")
    if mark is not None:
        return error(message, file=file, line=mark.line + 1, column=mark.column + 1, code="syntax")
    offset = getattr(failure, "position", None)
    if isinstance(offset, int) and 0 <= offset <= len(text):
        line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
        return error(message, file=file, line=line, column=column, code="syntax")
    return error(message, file=file, code="syntax")


class _Open:
    """A mapping or list that is being built. `before` is how many values there were before it."""

    __slots__ = ("anchor", "before", "key", "path", "value")

    def __init__(self, value: Any, path: str, anchor: str | None, before: int) -> None:
        self.value = value
        self.path = path
        self.anchor = anchor
        self.key: str | None = None
        self.before = before


class _Builder:
    """Plain data from events."""

    def __init__(self, file: str | None, error: type[InputError]) -> None:
        self.positions = Positions()
        self._file = file
        self._error = error
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._root: list[Any] = []
        self._documents = 0
        self._values = 0

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self._scalar(event)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._begin(event, {} if kind == "MappingStartEvent" else [])
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._end()
        elif kind == "AliasEvent":
            self._alias(event)
        elif kind == "DocumentStartEvent":
            self._document(event)

    def finish(self) -> Json:
        if not self._root:
            raise self._error("is empty", file=self._file, code="empty")
        return self._root[0]

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._refuse(event, "several_documents", "a second document begins here; one file holds one")
        if event.version not in (None, (1, 2)) or event.tags:
            raise self._refuse(event, "directive", "directives are not taken; this is read as YAML 1.2")

    def _scalar(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            raise self._refuse(event, "tag", f"tags are not taken: {event.tag:.80}")
        parent = self._open[-1] if self._open else None
        if parent is not None and type(parent.value) is dict and parent.key is None:
            self._key(event, parent)
            return
        plain = event.style is None and event.implicit[0] and event.tag is None
        value = self._plain(event) if plain else self._text(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(event, value, 1)

    def _key(self, event: Any, parent: _Open) -> None:
        name = self._text(event)
        if event.style is None and event.tag is None:
            if name == "<<":
                raise self._refuse(event, "merge_key", "<< is not taken: it is not part of YAML 1.2")
            value = self._plain(event)
            if not isinstance(value, str):
                raise self._refuse(event, "key_type", f"a key must be text, and {name or 'null'} is not", "quote it")
        if name in parent.value:
            raise self._refuse(event, "duplicate_key", f"the key {name!r:.80} is there twice")
        if event.anchor is not None:
            self._anchors[event.anchor] = (name, 1)
        parent.key = name
        path = f"{parent.path}.{name}" if parent.path else name
        self.positions._keys[path] = (event.start_mark.line + 1, event.start_mark.column + 1)

    def _begin(self, event: Any, value: Any) -> None:
        if event.tag is not None and event.tag != "!":
            raise self._refuse(event, "tag", f"tags are not taken: {event.tag:.80}")
        if len(self._open) >= MAX_DEPTH:
            raise self._refuse(event, "too_deep", f"is nested deeper than {MAX_DEPTH}")
        path = self._add(event, value, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # still open: an alias to it would be a circle
        self._open.append(_Open(value, path, event.anchor, self._values - 1))

    def _end(self) -> None:
        ended = self._open.pop()
        if ended.anchor is not None:
            self._anchors[ended.anchor] = (ended.value, self._values - ended.before)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise self._refuse(event, "unknown_alias", f"nothing above is called &{event.anchor:.80}")
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise self._refuse(event, "circle", f"*{event.anchor:.80} stands inside of what it stands for")
        value, size = anchored
        parent = self._open[-1] if self._open else None
        if parent is not None and type(parent.value) is dict and parent.key is None:
            raise self._refuse(event, "key_type", "an alias cannot be a key")
        self._add(event, value, size)

    def _add(self, event: Any, value: Any, size: int) -> str:
        """Put a value where it belongs; its path."""
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        self._values += size
        if self._values > MAX_NODES:
            raise self._refuse(event, "too_many_values", f"more than {MAX_NODES} values, aliases written out")
        if not self._open:
            self._root.append(value)
            self.positions._values[""] = place
            return ""
        parent = self._open[-1]
        if type(parent.value) is dict:
            if parent.key is None:
                raise self._refuse(event, "key_type", "a key must be text, not a mapping or list")
            name: str = parent.key
            parent.value[name] = value
            parent.key = None
        else:
            name = str(len(parent.value))
            parent.value.append(value)
        path = f"{parent.path}.{name}" if parent.path else name
        self.positions._values[path] = place
        return path

    def _text(self, event: Any) -> str:
        text: str = event.value
        if not text.isprintable():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise self._refuse(event, "lone_surrogate", "half of a surrogate pair is not a character") from None
        return text

    def _plain(self, event: Any) -> Json:
        """The value of an unquoted scalar by the core schema of YAML 1.2."""
        text: str = event.value
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if text[0] not in "-+.0123456789":
            return self._text(event)
        return self._numeral(event, text)

    def _numeral(self, event: Any, text: str) -> Json:
        if _INT.fullmatch(text):
            digits = text.lstrip("+-")
            if len(digits) > MAX_DIGITS:
                raise self._refuse(event, "too_long_number", f"a number of {len(digits)} digits", "quote it for text")
            if digits[0] == "0" and len(digits) > 1:
                hint = f'write {digits.lstrip("0") or "0"} for the number, "{text}" for text'
                raise self._refuse(event, "leading_zero", f"{text} could be a number or text", hint)
            return int(text)
        if _OTHER_INT.fullmatch(text) and len(text) <= MAX_DIGITS:
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            value = float(text)
            if value - value == 0.0:
                return value
        elif not _NOT_FINITE.fullmatch(text):
            return self._text(event)
        raise self._refuse(event, "not_finite", f"{text:.40} is not a finite number", "quote it for text")

    def _refuse(self, event: Any, code: str, message: str, hint: str | None = None) -> InputError:
        mark = event.start_mark
        return self._error(message, file=self._file, line=mark.line + 1, column=mark.column + 1, code=code, hint=hint)
