"""YAML from strangers: one document, the scalars of YAML 1.2, no tags, no merging, no key twice, everything bounded.

Small files of plain `key: value` lines are read by `simpleyaml`, all others from the events of a full parser; both give
the same values and places.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files.strict.guard import guarded, in_words, place_of
from hybrid_engine.files.strict.jsontext import decode_utf8
from hybrid_engine.files.strict.simpleyaml import parse_simple
from hybrid_engine.files.strict.yamlbuilder import MAX_NODES, Builder, Positions
from hybrid_engine.files.strict.yamlrules import SourceRules
from hybrid_engine.model.words import Json

__all__ = ["MAX_BYTES", "MAX_NODES", "Positions", "YamlLimits", "parse_yaml"]

MAX_BYTES = 1024 * 1024
_LONG_TAG = re.compile(r"(?:^|[\s,:\[{-])!\S{1024}")
"""The scanner needs time that grows with the square of a tag's length, and we take no tags anyway."""

_DIRECTIVE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*+%")
"""A text that begins with a directive, perhaps behind comments."""
_SEPARATOR = re.compile("[\x85\u2028\u2029]")
_VERSION = re.compile(r"%YAML +1\.2\s")


class YamlLimits(NamedTuple):
    """How much of a text is read: bytes of it, and values after aliases have been written out."""

    bytes: int = MAX_BYTES
    values: int = MAX_NODES


_USUAL = YamlLimits()


def parse_yaml(
    data: bytes, *, file: str | None = None, error: type[InputError] = JobError, limits: YamlLimits = _USUAL
) -> tuple[Json, Positions]:
    """The value of a YAML document in plain data, and where its fields stand. Raises `error` with line and column."""
    if len(data) > limits.bytes:
        raise error(f"is {len(data)} bytes; at most {limits.bytes} are read as YAML", file=file, code="too_large")
    return guarded(lambda: _parse(decode_utf8(data, file, error), file, error, limits.values), "YAML", file, error)


def _parse(text: str, file: str | None, error: type[InputError], values: int) -> tuple[Json, Positions]:
    if long := _LONG_TAG.search(text):
        raise error("tags are not taken", file=file, line=text.count("\n", 0, long.end()) + 1, code="tag")
    if (directive := _DIRECTIVE.match(text)) and not _VERSION.match(text, directive.end() - 1):
        line = text.count("\n", 0, directive.end()) + 1
        message = "directives are not taken; this is read as YAML 1.2"
        raise error(message, file=file, line=line, column=1, code="directive")
    if separator := _SEPARATOR.search(text):
        line, column = place_of(text, separator.start())
        code = f"\\u{ord(separator.group()):04x}"
        message = f"the character {code} ends a line in YAML 1.1 and is text in 1.2"
        hint = f'write "{code}" in double quotes'
        raise error(message, file=file, line=line, column=column, code="line_separator", hint=hint)
    if simple := parse_simple(text):
        return simple
    return _parse_events(text, file, error, values)


def _parse_events(
    text: str, file: str | None, error: type[InputError], values: int = MAX_NODES
) -> tuple[Json, Positions]:
    if text[-1] in " \t" and not text[text.rfind("\n") + 1 :].strip():
        text += "\n"  # the scanner drops a last line of spaces from a block of text when no line break follows
    from hybrid_engine.files.strict.yamlevents import Events

    events = Events(text)
    rules = SourceRules(text, file, error)
    builder = Builder(file, error, values)
    try:
        for event in events:
            rules.check(event)
            builder.take(event)
    except InputError:
        raise
    except Exception as failure:
        raise _explained(failure, text, events.offset, file, error) from None
    return builder.finish(), builder.positions


def _explained(failure: Exception, text: str, offset: int, file: str | None, error: type[InputError]) -> InputError:
    """Anything that the scanner raised, as an error in its place: its own when it names one, else where it stood."""
    mark: Any = getattr(failure, "problem_mark", None) or getattr(failure, "context_mark", None)
    if mark is not None:
        line, column = mark.line + 1, mark.column + 1
    else:
        position = getattr(failure, "position", offset)
        line, column = place_of(text, position if isinstance(position, int) else offset)
    message = f"is not YAML: {_problem(failure, text, offset)}"
    return error(message, file=file, line=line, column=column, code="syntax")


def _problem(failure: Exception, text: str, offset: int) -> str:
    problem = getattr(failure, "problem", None) or getattr(failure, "reason", None)
    if problem:
        context = getattr(failure, "context", None)
        return f"{problem}" + (f" {context}" if context else "")
    if text[offset - 2 : offset] in ("\\U", "\\u", "\\x"):
        return f"the escape {text[offset - 2 : offset + 8]!s:.10} is not a character"
    return in_words(failure)
