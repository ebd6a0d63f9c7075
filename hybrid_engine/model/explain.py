"""Pydantic's errors in our words: a dotted path into the author's file, a sentence, the nearest right name.

Nothing here decides what is right; that is in the models.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hybrid_engine.errors import TemplateError
from hybrid_engine.model.nearest import did_you_mean, nearest

UNKNOWN_KEY = "unknown_key"
BAD_KEY = "bad_key"
"""Codes of problems with a key itself: they are at the key in the file, not at its value."""

_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be text, not {was}",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "int_type": "must be a whole number, not {was}",
    "int_from_float": "must be a whole number, not {was}",
    "float_type": "must be a number, not {was}",
    "bool_type": "must be true or false, not {was}",
    "dict_type": "must be a mapping (key: value), not {was}",
    "model_type": "must be a mapping (key: value), not {was}",
    "model_attributes_type": "must be a mapping (key: value), not {was}",
    "tuple_type": "must be a list, not {was}",
    "greater_than_equal": "must be at least {ge}, not {was}",
    "less_than_equal": "must be at most {le}, not {was}",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length}, and has {actual_length}",
    "literal_error": "must be one of {expected}, not {was}",
    "value_error": "{error}",
}

_ELSEWHERE = {
    "name": "a step's name is its key; use description for a title",
    "on": "write it in retry",
    "attempts": "write it in retry",
    "delay": "write it in retry, or in the job for a delayed start",
    "uses": "write call for a Python function, run for a shell command",
    "script": "write run",
    "cmd": "write run",
    "function": "write call",
    "args": "write with",
    "depends_on": "write needs",
    "when": "write if",
    "retries": "write retry: {attempts: 3}",
}


_SHAPES = {
    "retry": "write retry: {attempts: 3}",
    "concurrency": "write concurrency: name, or concurrency: {pool: name, limit: 2}",
    "steps": "write steps: {name: {run: command}}",
    "params": "write params: {name: {type: string}}",
    "env": "write env: {NAME: value}",
    "with": "write with: {argument: value}",
    "labels": "write labels: {name: text}",
    "defaults": "write defaults: {timeout: 10m}",
}
"""What a mapping looks like, for who wrote something else."""
_NO_MAPPING = frozenset({"dict_type", "model_type", "model_attributes_type"})


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[TemplateError]:
    """One problem for each thing that is wrong, in the order of the fields."""
    details = error.errors(include_url=False)
    bad_keys = {item["loc"][:-1] for item in details if item["loc"][-1:] == ("[key]",)}
    return [
        _problem(item, model)
        for item in details
        if not (item["loc"][-1:] == ("name",) and item["loc"][:-1] in bad_keys)
    ]


def unknown_key(path: str, key: str, model: type[BaseModel]) -> TemplateError:
    """The error for a key that `model` does not have."""
    known = [field.alias or name for name, field in model.model_fields.items() if not field.exclude]
    hint = _ELSEWHERE.get(key) if key not in known and nearest(key, known) is None else None
    if hint is None and model.__name__ == "Step" and nearest(key, known) is None:
        hint = "what a step does is one of: run, call; the other keys are " + ", ".join(known[2:])
    hint = hint or did_you_mean(key, known) or "known: " + ", ".join(known)
    return TemplateError(f"unknown key {key!r:.80}", path=path, code=UNKNOWN_KEY, hint=hint)


def _problem(item: ErrorDetails, model: type[BaseModel]) -> TemplateError:
    loc = item["loc"]
    code = item["type"]
    if loc[-1:] == ("[key]",):
        loc, code = loc[:-1], BAD_KEY
    path = ".".join(str(part) for part in loc) or None
    if item["type"] == "extra_forbidden":
        return unknown_key(path or "", str(loc[-1]), _model_at(loc[:-1], model) or model)
    template = _SENTENCES.get(item["type"])
    if template is None:
        return TemplateError(item["msg"], path=path, code=code)
    hint = _SHAPES.get(str(loc[-1])) if loc and item["type"] in _NO_MAPPING else None
    if item["type"] == "literal_error":
        hint = did_you_mean(item["input"], [part.strip("' ") for part in str(item["ctx"]["expected"]).split(",")])
    return TemplateError(template.format(was=_told(item["input"]), **_context(item)), path=path, code=code, hint=hint)


def _context(item: ErrorDetails) -> dict[str, Any]:
    """What pydantic says beside the type; of a mapping that is too long it does not say the length."""
    context = dict(item.get("ctx", {}))
    if context.get("actual_length", 0) is None and isinstance(item["input"], Sized):
        context["actual_length"] = len(item["input"])
    return context


def _told(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"{value!r:.60}"


def _model_at(loc: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel] | None:
    """The model of the mapping at `loc`, found by following the annotations."""
    current: Any = model
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in current.model_fields.items()}
            current = fields.get(str(part))
        else:
            current = next(iter(get_args(current)[1:]), None)
        if type(None) in get_args(current):
            current = next(member for member in get_args(current) if member is not type(None))
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None
