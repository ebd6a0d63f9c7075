"""What YAML 1.2 forbids and the scanner lets through, found in the text around each event.

- Lines of a flow collection or quoted text must be indented more than the block around it, and not by tabs (6.1, 7.4).
- A comment must have white space before it (6.6).
- In a flow collection `?` with something right behind it is text (7.3.3); the scanner loses the sign.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from hybrid_engine.errors import InputError

_LINE_BREAK = re.compile(r"\r\n|\n|\r")
_BEFORE_COMMENT = frozenset(" \t\r\n")


class _Collection(NamedTuple):
    """An open collection. `column` is that of the innermost block around its content, -1 for none."""

    is_flow: bool
    column: int
    line: int


class SourceRules:
    """Takes the events of one text in order; `check` raises `error` at the first that breaks a rule."""

    def __init__(self, text: str, file: str | None, error: type[InputError]) -> None:
        self._text = text
        self._file = file
        self._error = error
        self._open: list[_Collection] = []
        self._end = 0
        self._split: list[str] | None = None

    def check(self, event: Any) -> None:
        kind = type(event).__name__
        if kind in ("StreamStartEvent", "StreamEndEvent"):
            return
        self._check_gap(event)
        if kind in ("MappingStartEvent", "SequenceStartEvent"):
            self._open.append(self._collection(event))
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._close(event)
        elif kind == "ScalarEvent" and event.style in ("'", '"'):
            self._check_lines(event.start_mark.line, event.end_mark.line, in_quotes=True)
        self._end = max(self._end, event.end_mark.index)

    def _collection(self, event: Any) -> _Collection:
        around = self._open[-1].column if self._open else -1
        if event.flow_style:
            return _Collection(True, around, event.start_mark.line)
        # An anchor stands before the first key, perhaps on the line above: then the block's own column is not known.
        column = around if event.anchor is not None or event.tag is not None else event.start_mark.column
        return _Collection(False, column, event.start_mark.line)

    def _close(self, event: Any) -> None:
        closed = self._open[-1]
        if closed.is_flow and not (len(self._open) > 1 and self._open[-2].is_flow):
            self._check_lines(closed.line, event.end_mark.line, in_quotes=False)
        self._open.pop()

    def _check_gap(self, event: Any) -> None:
        """Between two events there are only indicators, white space and comments."""
        start, end = self._end, event.start_mark.index
        at = self._text.find("#", start, end)
        while at >= 0:
            if at and self._text[at - 1] not in _BEFORE_COMMENT:
                raise self._refuse(at, "a comment needs a space before the #")
            line_break = _LINE_BREAK.search(self._text, at, end)
            at = self._text.find("#", line_break.end(), end) if line_break else -1
        if end and self._text[end - 1] == "?" and self._open and self._open[-1].is_flow:
            raise self._refuse(end - 1, "text that begins with ? inside of brackets", "quote it")

    def _check_lines(self, first: int, last: int, *, in_quotes: bool) -> None:
        """The lines after the first one of a flow collection or quoted text, against the block around it."""
        column = self._open[-1].column if self._open else -1
        if first == last or column < 0:
            return
        for number in range(first + 1, last + 1):
            line = self._lines[number]
            content = line.lstrip(" \t")
            # A closing bracket below its key is against the letter, too; everybody writes it and it is not ambiguous.
            if not content or (content[0] in "#]}" and not in_quotes) or line.startswith(" " * (column + 1)):
                continue
            raise self._error(
                f"is not YAML: this line belongs to what began on line {first + 1}, and must be indented by "
                f"{column + 1} or more spaces",
                file=self._file,
                line=number + 1,
                column=len(line) - len(content) + 1,
                code="syntax",
            )

    @property
    def _lines(self) -> list[str]:
        if self._split is None:
            self._split = _LINE_BREAK.split(self._text)
        return self._split

    def _refuse(self, offset: int, message: str, hint: str | None = None) -> InputError:
        line = len(_LINE_BREAK.findall(self._text, 0, offset)) + 1
        column = offset - max(self._text.rfind("\n", 0, offset), self._text.rfind("\r", 0, offset))
        return self._error(
            f"is not YAML: {message}", file=self._file, line=line, column=column, code="syntax", hint=hint
        )
