"""What an expression may make: plain JSON values, finite and of bounded size and depth.

`plain` is the way out of every expression: what it returns can be written into a journal, an environment or a request,
whatever the names were that the expression saw.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model.words import Json

MAX_TEXT = 1_000_000
"""Characters of any text an expression makes."""
MAX_ITEMS = 100_000
MAX_DIGITS = 100
MAX_DEPTH = 64
"""As in the documents that values come from."""
MAX_VALUE = 2 * MAX_TEXT
"""Characters, about, of a list or mapping as JSON."""
MAX_ALL = 8 * MAX_VALUE
"""The same of all arguments of a step together."""
_HUGE: int = 10**MAX_DIGITS


def bounded(value: Json) -> Json:
    """Return `value` when it is finite and not too large; raise ExpressionError otherwise."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise too_large(f"a text of {len(value)} characters")
    elif isinstance(value, float):
        if value - value != 0.0:
            raise ExpressionError("the result is not a finite number", code="not_finite")
    elif isinstance(value, int):
        if not -_HUGE < value < _HUGE:
            raise too_large(f"a number of more than {MAX_DIGITS} digits")
    elif isinstance(value, list) and len(value) > MAX_ITEMS:
        raise too_large(f"a list of {len(value)} elements")
    return value


def too_large(what: str) -> ExpressionError:
    return ExpressionError(f"the result would be {what}", code="too_large")


def check_size(value: Json, limit: int = MAX_VALUE) -> None:
    """Refuse a value whose JSON would be much longer than `limit`. Shared parts count each time they are used."""
    size = 0
    todo = [value]
    while todo:
        item = todo.pop()
        size += 1
        if isinstance(item, str):
            size += len(item)
        elif isinstance(item, list):
            todo.extend(item)
        elif isinstance(item, Mapping):
            todo.extend(item.values())
            size += sum(map(len, item))
        if size + len(todo) > limit:
            raise too_large("too large")


def plain(value: object) -> Json:
    """The value as plain JSON data, lists and mappings copied. Raises ExpressionError when it is not, or too large."""
    if isinstance(value, Mapping | list):
        check_size(value)
    return _plain(value, MAX_DEPTH)


def _plain(value: object, room: int) -> Json:
    kind = type(value)
    if value is None or kind in (bool, str, int, float):
        return bounded(value)
    if not isinstance(value, Mapping | list):
        raise ExpressionError(f"a {kind.__name__} is not a JSON value", code="not_json")
    if room == 0:
        raise ExpressionError(f"the result is nested deeper than {MAX_DEPTH}", code="too_deep")
    if isinstance(value, list):
        return [_plain(item, room - 1) for item in value]
    for key in value:
        if type(key) is not str:
            raise ExpressionError(f"a mapping with the key {key!r:.60}, which is not text", code="not_json")
    return {key: _plain(item, room - 1) for key, item in value.items()}
