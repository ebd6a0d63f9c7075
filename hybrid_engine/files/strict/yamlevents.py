"""The one place that knows ruamel.yaml: the events of a text, and where the scanner stood when it failed.

The pure scanner of YAML 1.2 is used: it keeps places for everything and allocates nothing that the text does not ask
for. No tags are resolved and nothing is constructed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML


class _Parser(YAML):
    def official_plug_ins(self) -> list[str]:
        """None: the search reads folders for every text, and imports what it finds."""
        return []

    def get_constructor_parser(self, stream: Any) -> Any:
        found = super().get_constructor_parser(stream)
        # `parse` resets its reader when it ends or fails, and we ask it afterwards where it stood.
        self.reader.reset_reader = lambda: None
        return found


class Events:
    """The parser's events of `text`, once."""

    def __init__(self, text: str) -> None:
        # "safe" chooses the plain scanner: no comments are kept.
        self._yaml = _Parser(typ="safe", pure=True)
        self._text = text

    def __iter__(self) -> Iterator[Any]:
        yield from self._yaml.parse(self._text)

    @property
    def offset(self) -> int:
        """How far the text has been read."""
        try:
            return min(int(self._yaml.reader.index), len(self._text))
        except Exception:  # the reader itself could not be made: a text with characters that it refuses
            return 0
