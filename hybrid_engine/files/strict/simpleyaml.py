"""Small, plain YAML read line by line: what nearly all dropped jobs are, at a tenth of the full parser's cost.

`parse_simple` takes block mappings of `key: value` lines in printable ASCII, with plain or quoted values and lists or
mappings of such values in brackets, each on one line. Of everything else it says None, also of what is wrong: the full
parser reads it or has the error. What it does take it must read as the full parser does, values and places.
"""

from __future__ import annotations

import re
from typing import Any

from hybrid_engine.files.strict.jsontext import MAX_DEPTH
from hybrid_engine.files.strict.yamlbuilder import Positions
from hybrid_engine.files.strict.yamlscalars import ScalarError, plain_value
from hybrid_engine.model.words import Json

MAX_TEXT = 65_536
"""Characters of a text that is tried: far fewer values than any limit, so that none has to be counted here."""

_KEY = r"[A-Za-z_][A-Za-z0-9_-]{0,99}"
# In plain text a colon has something other than a space behind it; a # is left to the full parser.
_PLAIN = r"(?:[A-Za-z0-9_./+$(]|-(?=[A-Za-z0-9.]))(?: *+(?:[!\"$-9;-~]|:(?=[!\"$-9;-~])))*+"
_FLOW_PLAIN = r"(?:[A-Za-z0-9_./+$]|-(?=[A-Za-z0-9.]))(?: *+[A-Za-z0-9_./+$-])*+"
_QUOTED = r"'[ -&(-~]*+'|\"[ !#-\[\]-~]*+\""
_LINE = re.compile(
    rf"(?P<indent> *+)(?P<key>{_KEY}):"
    rf"(?: ++(?:(?P<plain>{_PLAIN})|(?P<quoted>{_QUOTED})|(?P<flow>[\[{{][ -~]*[\]}}])))?+(?: ++(?:#[ -~]*+)?+)?+"
)
_NOTHING = re.compile(r" *+(?:#[ -~]*+)?+")
_ITEM = re.compile(
    rf" *+(?:(?P<key>{_KEY}): ++)?+(?:(?P<plain>{_FLOW_PLAIN})|(?P<quoted>{_QUOTED})) *+(?P<end>[,\]}}])"
)


class _NotSimpleError(Exception):
    """The text has something that only the full parser may judge."""


class _Level:
    """A mapping under way, at the indentation of its keys."""

    __slots__ = ("indent", "path", "value")

    def __init__(self, indent: int, path: str, value: dict[str, Any]) -> None:
        self.indent = indent
        self.path = path
        self.value = value


def parse_simple(text: str) -> tuple[Json, Positions] | None:
    """The value and places of a simple text; None for any other."""
    if len(text) > MAX_TEXT or not text.isascii():
        return None
    reader = _Reader()
    try:
        for number, line in enumerate(text.split("\n"), 1):
            reader.take(number, line)
        return reader.finish()
    except (_NotSimpleError, ScalarError):
        return None


class _Reader:
    def __init__(self) -> None:
        self._positions = Positions()
        self._levels: list[_Level] = []
        self._waiting: str | None = None
        """A key that had no value on its line: the next line says whether it is a mapping or null."""

    def take(self, number: int, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            if not _NOTHING.fullmatch(line) and not (number == 1 and line == "---"):
                raise _NotSimpleError
            return
        key, level = match["key"], self._level(number, len(match["indent"]))
        if key in level.value or not isinstance(plain_value(key), str):
            raise _NotSimpleError
        path = f"{level.path}.{key}" if level.path else key
        self._positions.keys[path] = number, level.indent + 1
        self._value(match, number, path, level.value)

    def finish(self) -> tuple[Json, Positions]:
        if not self._levels:
            raise _NotSimpleError
        return self._levels[0].value, self._positions

    def _level(self, number: int, indent: int) -> _Level:
        """The mapping that a line of this indentation belongs to."""
        levels, waiting = self._levels, self._waiting
        self._waiting = None
        if not levels:
            if indent:
                raise _NotSimpleError
            self._positions.values[""] = number, 1
            levels.append(_Level(0, "", {}))
        elif indent > levels[-1].indent:
            if waiting is None or len(levels) >= MAX_DEPTH:
                raise _NotSimpleError
            path = f"{levels[-1].path}.{waiting}" if levels[-1].path else waiting
            inner: dict[str, Any] = {}
            levels[-1].value[waiting] = inner
            self._positions.values[path] = number, indent + 1
            levels.append(_Level(indent, path, inner))
        while levels[-1].indent > indent:
            levels.pop()
        if levels[-1].indent != indent:
            raise _NotSimpleError
        return levels[-1]

    def _value(self, match: re.Match[str], number: int, path: str, into: dict[str, Any]) -> None:
        key, kind = match["key"], match.lastgroup
        values = self._positions.values
        if kind == "key":
            into[key] = None
            values[path] = self._positions.keys[path]
            self._waiting = key
            return
        assert kind is not None
        values[path] = number, match.start(kind) + 1
        if kind == "plain":
            into[key] = plain_value(match["plain"])
        elif kind == "quoted":
            into[key] = match["quoted"][1:-1]
        else:
            into[key] = self._flow(match["flow"], number, match.start("flow"), path)

    def _flow(self, text: str, number: int, column: int, path: str) -> Json:
        """A list or mapping in brackets, of plain and quoted values only."""
        is_list = text[0] == "["
        values: dict[str, Any] = {}
        end = 1
        while True:
            match = _ITEM.match(text, end)
            if match is None or (match["key"] is None) is not is_list:
                raise _NotSimpleError
            name = str(len(values)) if is_list else match["key"]
            if name in values or (not is_list and not isinstance(plain_value(name), str)):
                raise _NotSimpleError
            kind = "plain" if match["plain"] is not None else "quoted"
            values[name] = plain_value(match["plain"]) if kind == "plain" else match["quoted"][1:-1]
            item = f"{path}.{name}"
            if not is_list:
                self._positions.keys[item] = number, column + match.start("key") + 1
            self._positions.values[item] = number, column + match.start(kind) + 1
            end = match.end()
            if match["end"] != ",":
                break
        if end != len(text) or match["end"] != ("]" if is_list else "}"):
            raise _NotSimpleError
        return list(values.values()) if is_list else values
