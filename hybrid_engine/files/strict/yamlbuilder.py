"""Plain data from the events of a YAML parser: bounded depth and size, no tags, no merging, no key twice.

One loop and no recursion. Aliases are allowed while what they expand to stays small; an alias to something that holds
it is refused. What the events do not show (comments, indentation) is for `yamlrules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hybrid_engine.errors import InputError
from hybrid_engine.files.strict.jsontext import MAX_DEPTH
from hybrid_engine.files.strict.yamlscalars import ScalarError, checked_text, plain_value
from hybrid_engine.model.words import Json

MAX_NODES = 200_000
"""Values, after aliases have been written out."""


class Positions:
    """Where each field of a YAML text stands, by its dotted path."""

    __slots__ = ("keys", "values")

    def __init__(self) -> None:
        self.values: dict[str, tuple[int, int]] = {}
        self.keys: dict[str, tuple[int, int]] = {}

    def look_up(self, paths: Iterable[str | Sequence[str | int]]) -> None:
        """Nothing to do: all places are known since the text was read."""

    def locate(self, path: str | Sequence[str | int], *, key: bool = False) -> tuple[int, int] | None:
        """(line, column) of the field with this path, or of the nearest one around it that is there.

        `key` asks for the place of the field's name instead of its value.
        """
        parts = path.split(".") if isinstance(path, str) else [str(part) for part in path]
        if key and (found := self.keys.get(".".join(parts))):
            return found
        while parts:
            if found := self.values.get(".".join(parts)):
                return found
            parts.pop()
        return self.values.get("")


class _Open:
    """A mapping or list that is being built. `before` is how many values there were before it."""

    __slots__ = ("anchor", "before", "key", "path", "value")

    def __init__(self, value: Any, path: str, anchor: str | None, before: int) -> None:
        self.value = value
        self.path = path
        self.anchor = anchor
        self.key: str | None = None
        self.before = before


class Builder:
    """Takes the events of one text, one after the other; `finish` gives the value, `positions` the places."""

    def __init__(self, file: str | None, error: type[InputError], max_nodes: int = MAX_NODES) -> None:
        self.positions = Positions()
        self._max_nodes = max_nodes
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
        value = self._value(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(event, value, 1)

    def _value(self, event: Any) -> Json:
        plain = event.style is None and event.implicit[0] and event.tag is None
        if "\ufeff" in event.value and event.style not in ("'", '"'):
            raise self._refuse(event, "bom", "a byte order mark inside of the text", "write it in double quotes")
        try:
            return plain_value(event.value) if plain else checked_text(event.value)
        except ScalarError as refused:
            raise self._refuse(event, refused.code, refused.message, refused.hint) from None

    def _key(self, event: Any, parent: _Open) -> None:
        name: str = event.value
        if event.style is None and event.tag is None and name == "<<":
            raise self._refuse(event, "merge_key", "<< is not taken: it is not part of YAML 1.2")
        if not isinstance(self._value(event), str):
            raise self._refuse(event, "key_type", f"a key must be text, and {name or 'null'} is not", "quote it")
        if name in parent.value:
            raise self._refuse(event, "duplicate_key", f"the key {name!r:.80} is there twice")
        if event.anchor is not None:
            self._anchors[event.anchor] = (name, 1)
        parent.key = name
        path = f"{parent.path}.{name}" if parent.path else name
        self.positions.keys[path] = (event.start_mark.line + 1, event.start_mark.column + 1)

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
        if self._values > self._max_nodes:
            raise self._refuse(event, "too_many_values", f"more than {self._max_nodes} values, aliases written out")
        if not self._open:
            self._root.append(value)
            self.positions.values[""] = place
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
        if value is None and event.start_mark.index == event.end_mark.index:
            place = self.positions.keys.get(path, place)  # nothing is where the next thing begins, lines below
        self.positions.values[path] = place
        return path

    def _refuse(self, event: Any, code: str, message: str, hint: str | None = None) -> InputError:
        mark = event.start_mark
        return self._error(message, file=self._file, line=mark.line + 1, column=mark.column + 1, code=code, hint=hint)
