"""Parameters checked against their specifications, in the plain form these have in a frozen template.

Light: `hybrid enqueue` checks parameters in a process that lives for twenty milliseconds, so nothing is imported at
module level, and pydantic's pattern engine only when a parameter has a pattern.
"""

from __future__ import annotations

from hybrid_engine.errors import JobError
from hybrid_engine.model.jsontext import decode, encode
from hybrid_engine.model.nearest import did_you_mean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

TYPES: dict[str, str] = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}
MAX_DIGITS = 100
MAX_DEPTH = 64
"""Of a value, as in the documents that values come from."""
MAX_PROBLEMS = 100
"""So many are told. Each is looked for in the file and compared with all right names, and a file may have 100,000."""
MAX_MATCHED = 100_000
"""Characters of a value that a pattern is applied to; a longer one must be bounded by max_length anyway."""

_NOT_FINITE = (float("inf"), float("-inf"))
_HUGE: int = 10**MAX_DIGITS
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def check_params(specs: Mapping[str, dict[str, Any]], given: object, *, coerce: bool = False) -> dict[str, Any]:
    """All parameters of a template, in its order, from what was given and the defaults.

    `coerce` reads text as what the parameter wants to be, for values from a command line.
    Raises JobError with all `problems`; paths are `params.<name>`.
    """
    if not isinstance(given, dict):
        raise JobError(f"must be a mapping of names to values, not {told(given)}", path="params", code="wrong_type")
    problems: list[JobError] = []
    for name in given:
        if name not in specs:
            if len(problems) == MAX_PROBLEMS:
                problems.append(too_many("params"))
                break
            problems.append(_unknown(name, specs))
    params: dict[str, Any] = {}
    for name, spec in specs.items():
        if name not in given:
            if spec.get("required", True):
                problems.append(JobError("is missing", path=f"params.{name}", code="missing", hint=_wanted(spec)))
            params[name] = spec.get("default")
            continue
        value = given[name]
        try:
            params[name] = check_value(spec, _read(spec, value) if coerce and isinstance(value, str) else value)
        except ValueError as error:
            problems.append(JobError(str(error), path=f"params.{name}", code="invalid", hint=_wanted(spec)))
    if problems:
        raise JobError.of(problems)
    return params


def check_value(spec: Mapping[str, Any], value: Any) -> Any:
    """Return `value` when it is what `spec` wants; raise ValueError with a sentence otherwise."""
    if value is None and not spec.get("required", True) and spec.get("default") is None:
        return None
    kind = spec.get("type", "string")
    if not _is_a(kind, value):
        hint = ""
        if kind == "string" and isinstance(value, int | float):
            hint = "; put it in quotes"
        raise ValueError(f"must be {TYPES[kind]}, not {told(value)}{hint}")
    _check_limits(spec, value)
    choices = spec.get("choices")
    if choices is not None and not any(_same(choice, value) for choice in choices):
        near = did_you_mean(value, [choice for choice in choices if isinstance(choice, str)])
        raise ValueError(
            f"must be one of {', '.join(map(told, choices))}, not {told(value)}" + (f"; {near}" if near else "")
        )
    return value


def too_many(path: str | None = None) -> JobError:
    """The last problem of a list that is cut."""
    message = f"more than {MAX_PROBLEMS} problems; the rest is not looked at"
    return JobError(message, path=path, code="too_many_problems")


def not_plain(value: object) -> tuple[str, str] | None:
    """(code, sentence) when this would not come back from JSON as it is, or is nested too deep.

    Programs and command lines may hand over what no file holds; a key that is not text changes when it is written.
    """
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [item for item in level if isinstance(item, dict | list | tuple)]
        if not containers:
            return None
        level = []
        for item in containers:
            for key in item if isinstance(item, dict) else ():
                if not isinstance(key, str):
                    return "not_json", f"has a key that is not text: {told(key)}"
            level.extend(item.values() if isinstance(item, dict) else item)
    return "too_deep", f"is nested deeper than {MAX_DEPTH}"


def told(value: object) -> str:
    """A value as an error shows it: short, in the words of the file it came from."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if hasattr(value, "keys"):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int) and abs(value) >= 10**60:
        return "a very large number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_a(kind: str, value: object) -> bool:
    """Is `value` of this type? A boolean is not a number here, and neither is NaN or infinity."""
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "object":
        return isinstance(value, dict)
    if kind == "array":
        return isinstance(value, list)
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -_HUGE < value < _HUGE
    if kind == "number" and isinstance(value, float):
        return value == value and value not in _NOT_FINITE
    return False


def _check_limits(spec: Mapping[str, Any], value: Any) -> None:
    least, most = spec.get("minimum"), spec.get("maximum")
    if least is not None and value < least:
        raise ValueError(f"must be at least {least}, not {told(value)}")
    if most is not None and value > most:
        raise ValueError(f"must be at most {most}, not {told(value)}")
    shortest, longest = spec.get("min_length"), spec.get("max_length")
    if shortest is not None and len(value) < shortest:
        raise ValueError(f"must have a length of at least {shortest}, and has {len(value)}")
    if longest is not None and len(value) > longest:
        raise ValueError(f"must have a length of at most {longest}, and has {len(value)}")
    pattern = spec.get("pattern")
    if pattern is not None:
        from hybrid_engine.model.patterns import matches

        if len(value) > MAX_MATCHED or not matches(pattern, value):
            raise ValueError(f"must match {pattern!r}, and {told(value)} does not")


def _same(one: object, other: object) -> bool:
    """Equality as JSON has it: true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _read(spec: Mapping[str, Any], text: str) -> Any:
    """Text from a command line as a value of the wanted type; what cannot be read is left for the check to refuse."""
    kind = spec.get("type", "string")
    if kind == "boolean":
        word = text.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else text
    if kind in ("integer", "number"):
        return _number(text.strip())
    if kind in ("object", "array"):
        return _json(text)
    return text


def _number(text: str) -> Any:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits.isascii() and digits.isdigit():
        return int(text) if len(digits) <= MAX_DIGITS else text
    try:
        return float(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text


def _json(text: str) -> Any:
    try:
        value = decode(text)
        problem = not_plain(value)
        if problem is None:
            encode(value).encode()  # raises for a number that is infinite and for half of a surrogate pair
    except ValueError as error:
        raise ValueError(f"must be JSON, and is not: {error}") from None
    if problem:
        raise ValueError(problem[1])
    return value


def _unknown(name: object, specs: Mapping[str, Any]) -> JobError:
    hint = did_you_mean(name, specs) or ("the template has no parameters" if not specs else None)
    return JobError("no such parameter", path=f"params.{name!s:.80}", code="unknown_param", hint=hint)


def _wanted(spec: Mapping[str, Any]) -> str | None:
    description = spec.get("description")
    return f"{description:.200}" if description else None
