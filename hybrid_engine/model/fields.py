"""The field types of a template: names, durations, environments, numbers.

Each checks one value by itself and says what is wrong in a sentence; its JSON Schema says the same to editors. No
unions of types here: pydantic would report a union's errors once per member, at places that do not exist in the
author's file.
"""

from __future__ import annotations

from datetime import timedelta
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from hybrid_engine.model.durations import duration_text, microseconds
from hybrid_engine.model.ids import MAX_NAME, is_name

_MICROSECOND = timedelta(microseconds=1)


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text!r:.80} is not a name: use letters, digits, '_' and '-', at most {MAX_NAME}")
    return text


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    return timedelta(microseconds=microseconds(value))


def _environment_name(text: str) -> str:
    if not (text.isascii() and text.isidentifier()):
        raise ValueError(f"{text!r:.80} is not the name of an environment variable")
    if text.startswith("HYBRID_"):
        raise ValueError(f"{text!r:.80}: names that begin with HYBRID_ are set by the engine")
    return text


def _environment_value(value: Any) -> Any:
    """Numbers and booleans are taken as the text a shell would see."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and "\0" in value:
        raise ValueError("a value of the environment cannot contain a NUL character")
    return "" if value is None else value


def _function_name(text: str) -> str:
    module, _, function = text.rpartition(".")
    if not module or not all(part.isidentifier() and part.isascii() for part in (*module.split("."), function)):
        raise ValueError(f'{text!r:.80} is not a function: write "module.function" for one in functions/module.py')
    return text


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("must be a number")
    return value


def _condition(value: Any) -> str | bool | None:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be an expression, true or false")
    return value


NAME_SCHEMA = {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$", "maxLength": MAX_NAME}
_FUNCTION_SCHEMA = {"type": "string", "pattern": r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"}
DURATION_SCHEMA = {
    "type": ["string", "number"],
    "pattern": r"^\s*(\d*\.?\d+\s*|(\d+(\.\d*)?(d|h|ms|m|s) *)+)$",
    "minimum": 0,
    "description": "Such as 500ms, 30s, 10m, 1h30m, 1d, or a number of seconds.",
}
_VARIABLE_SCHEMA = {"type": "string", "pattern": "^(?!HYBRID_)[A-Za-z_][A-Za-z0-9_]*$"}

Name = Annotated[str, AfterValidator(_name), WithJsonSchema(NAME_SCHEMA)]
FunctionName = Annotated[str, AfterValidator(_function_name), WithJsonSchema(_FUNCTION_SCHEMA)]
Number = Annotated[Any, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Condition = Annotated[Any, BeforeValidator(_condition), WithJsonSchema({"type": ["string", "boolean"]})]
Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    PlainSerializer(lambda value: duration_text(value // _MICROSECOND), return_type=str),
    WithJsonSchema(DURATION_SCHEMA),
]
Environment = dict[
    Annotated[str, AfterValidator(_environment_name), WithJsonSchema(_VARIABLE_SCHEMA)],
    Annotated[
        str,
        BeforeValidator(_environment_value),
        WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
    ],
]
