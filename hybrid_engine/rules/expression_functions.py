"""The functions an expression can call. Each takes and returns JSON values, and bounds what it makes.

A function that could make something large computes the size first. `default` is not here: it is part of the language,
because its first argument may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model.words import Json
from hybrid_engine.rules.expression_values import MAX_DIGITS, MAX_TEXT, bounded, check_size, too_large
from hybrid_engine.rules.params import told


def as_text(value: Json) -> str:
    """A value inside of a text: true and false as such, null as nothing, mappings and lists as compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(bounded(value))
    if isinstance(value, float):
        return repr(value)
    return _json(value)


def truth(value: Json) -> bool:
    """Is a condition met? Text is not guessed about, save the two words that a shell step can only leave as text."""
    if not isinstance(value, str):
        return bool(value)
    if value in ("true", "false", ""):
        return value == "true"
    raise ExpressionError(
        f"the text {value!r:.60} is neither true nor false", code="not_a_condition", hint="compare it: … == 'text'"
    )


def same(one: Json, other: Json) -> bool:
    """Equality as JSON has it: true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _json(value: Json) -> str:
    check_size(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict)


def _want(value: Json, what: str, *types: type) -> Any:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise ExpressionError(f"needs {what}, not {told(value)}", code="wrong_type")
    return value


def _number(value: Json) -> Any:
    return _want(value, "a number", int, float)


def _text(value: Json) -> str:
    text: str = _want(value, "text", str)
    return text


def _list(value: Json) -> list[Json]:
    items: list[Json] = _want(value, "a list", list)
    return items


def _len(value: Json) -> int:
    return len(_want(value, "text, a list or a mapping", str, list, Mapping))


def _int(value: Json) -> int:
    if isinstance(value, str):
        digits = value.strip().lstrip("+-")
        if not (
            digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS and len(value.strip()) - len(digits) < 2
        ):
            raise ExpressionError(f"{told(value)} is not a whole number", code="wrong_type")
    return int(_want(value, "a number or text", int, float, bool, str))


def _float(value: Json) -> float:
    if isinstance(value, str):
        try:
            return float(value) if value.isascii() and "_" not in value else float("")
        except ValueError:
            raise ExpressionError(f"{told(value)} is not a number", code="wrong_type") from None
    return float(_want(value, "a number or text", int, float, bool))


def _round(value: Json, digits: Json = 0) -> Json:
    places = _want(digits, "a whole number of digits", int)
    if not -20 <= places <= 20:
        raise ExpressionError("rounds to at most 20 digits", code="too_large")
    return round(_number(value), places) if places else round(_number(value))


def _all_of(values: tuple[Json, ...]) -> list[Json]:
    """The elements to choose from: one list, or the arguments themselves; all numbers or all text."""
    items = _list(values[0]) if len(values) == 1 else list(values)
    if not all(isinstance(item, str) for item in items):
        for item in items:
            _number(item)
    return items


def _least(*values: Json) -> Json:
    items = _all_of(values)
    if not items:
        raise ExpressionError("an empty list has no least element", code="missing")
    return min(items)


def _most(*values: Json) -> Json:
    items = _all_of(values)
    if not items:
        raise ExpressionError("an empty list has no greatest element", code="missing")
    return max(items)


def _contains(container: Json, item: Json) -> bool:
    if isinstance(container, str):
        return _text(item) in container
    if isinstance(container, Mapping):
        return isinstance(item, str) and item in container
    return any(same(element, item) for element in _list(container))


def _join(items: Json, separator: Json = ",") -> str:
    texts = [as_text(item) for item in _list(items)]
    size = sum(map(len, texts)) + len(_text(separator)) * max(0, len(texts) - 1)
    if size > MAX_TEXT:
        raise too_large(f"a text of {size} characters")
    return str(separator).join(texts)


def _split(text: Json, separator: Json = None) -> list[str]:
    if separator is None:
        return _text(text).split()
    if not separator:
        raise ExpressionError("cannot split at nothing", code="wrong_type")
    return _text(text).split(_text(separator))


FUNCTIONS: dict[str, Callable[..., Json]] = {
    "len": _len,
    "str": as_text,
    "int": _int,
    "float": _float,
    "bool": truth,
    "round": _round,
    "abs": lambda value: abs(_number(value)),
    "min": _least,
    "max": _most,
    "sum": lambda items: sum(_number(item) for item in _list(items)),
    "sorted": lambda items: sorted(_all_of((_list(items),))),
    "lower": lambda text: _text(text).lower(),
    "upper": lambda text: _text(text).upper(),
    "trim": lambda text: _text(text).strip(),
    "contains": _contains,
    "starts_with": lambda text, start: _text(text).startswith(_text(start)),
    "ends_with": lambda text, end: _text(text).endswith(_text(end)),
    "join": _join,
    "split": _split,
    "keys": lambda mapping: list(_want(mapping, "a mapping", Mapping)),
    "values": lambda mapping: list(_want(mapping, "a mapping", Mapping).values()),
    "json": _json,
}

ARITY: dict[str, tuple[int, int]] = {
    **dict.fromkeys(FUNCTIONS, (1, 1)),
    **dict.fromkeys(("round", "join", "split"), (1, 2)),
    **dict.fromkeys(("contains", "starts_with", "ends_with", "default"), (2, 2)),
    **dict.fromkeys(("min", "max"), (1, 50)),
}
"""For each function the least and the greatest number of arguments."""
