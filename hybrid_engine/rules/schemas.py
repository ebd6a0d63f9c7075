"""JSON Schemas (draft 2020-12) of what people write, for editors: templates from the models, jobs from the checks.

A schema accepts whatever the program accepts; what takes more than one field to see (cycles, expressions) it does not
say. The short forms that `Template.author` knows are added here.
"""

from __future__ import annotations

from typing import Any

from hybrid_engine.model.fields import DURATION_SCHEMA, NAME_SCHEMA
from hybrid_engine.model.ids import MAX_USER
from hybrid_engine.model.job import FORMAT, REQUEST_FIELDS
from hybrid_engine.model.template import author_schema
from hybrid_engine.rules.requests import MAX_KEY, MAX_LABEL, MAX_LABELS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ABOUT = {
    "Template": {
        "name": "The template's name. Must be the file's name; may be left out.",
        "description": "A text for people.",
        "params": "Name to specification of a parameter.",
        "priority": "Priority of its jobs, when they do not give one: 0 to 9, 9 is the most urgent.",
        "concurrency": "A pool for whole workflows: a name, or {pool, limit}.",
        "labels": "Names and texts, put on each workflow.",
        "env": "Environment variables of all steps. Expressions see params and workflow.",
        "steps": "Name to step, in order; a step without `needs` follows the one above it.",
        "defaults": "`timeout` and `retry` of steps that leave them out.",
    },
    "Step": {
        "run": "A shell command. Values reach it by `env`, never by ${{ }}.",
        "call": "A Python function in functions/: module.function.",
        "with": "Arguments of the function; values may be ${{ expressions }}.",
        "env": "Environment variables; values may be ${{ expressions }}.",
        "needs": "Steps that must have ended before; a name or a list of names, [] for none.",
        "if": "An expression; the step is skipped when it is false.",
        "retry": "When a failed attempt is followed by another.",
        "timeout": "An attempt that takes longer is ended and has failed.",
        "continue_on_error": "Whether the workflow continues when this step has failed.",
        "concurrency": "A pool for this step: a name, or {pool, limit}.",
        "description": "A text for people.",
    },
    "Retry": {
        "attempts": "How many attempts there are, the first one included.",
        "delay": "The time before the second attempt.",
        "factor": "Each delay is so many times the one before.",
        "max_delay": "No delay is longer.",
        "jitter": "Whether delays vary at random.",
        "on": "Only after these exit codes; else after every failure.",
        "lost": "How often an attempt may be repeated that was lost with the engine or the machine.",
    },
    "Concurrency": {"pool": "The name of the pool.", "limit": "How many may be in it at once."},
    "Defaults": {"timeout": "The timeout of steps.", "retry": "The retry of steps, filled in field by field."},
    "ParamSpec": {
        "type": "The type of the value.",
        "default": "The value when a job gives none.",
        "required": "Whether a job must give it; it must, unless there is a default.",
        "minimum": "The least number.",
        "maximum": "The greatest number.",
        "min_length": "The least length of a string or an array.",
        "max_length": "The greatest length of a string or an array.",
        "pattern": "A regular expression that is searched for in the text.",
        "choices": "The values that are allowed.",
        "description": "A text for people; part of the error when the value is wrong.",
    },
}


def template_schema() -> dict[str, Any]:
    """The schema of `templates/*.yaml`."""
    found: dict[str, Any] = _plain(author_schema())
    definitions = found.pop("$defs")
    definitions["Template"] = found
    for name, about in _ABOUT.items():
        for field, text in about.items():
            definitions[name]["properties"][field] = {**definitions[name]["properties"][field], "description": text}
    _add_short_forms(definitions)
    del definitions["Template"]
    return {"$schema": DIALECT, "title": "Hybrid Engine template", **found, "$defs": definitions}


def _add_short_forms(definitions: dict[str, Any]) -> None:
    """What `Template.author` and the models read in more than one form."""
    template, step, param = (definitions[name] for name in ("Template", "Step", "ParamSpec"))
    template["required"] = ["steps"]
    del template["description"], step["properties"]["name"]
    step["required"] = []
    step["oneOf"] = [{"required": ["run"]}, {"required": ["call"]}]
    names = step["properties"]["needs"]
    step["properties"]["needs"] = {
        "description": names.pop("description"),
        "anyOf": [NAME_SCHEMA, names],
    }
    for owner in (template, step):
        owner["properties"]["concurrency"]["anyOf"].insert(0, NAME_SCHEMA)
    param["type"] = ["object", "null"]
    param["properties"]["enum"] = param["properties"]["choices"]


def _plain(value: Any) -> Any:
    """Pydantic's schema without its titles and its words about classes; keys outside of a pattern are refused."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if key == "properties" or key == "$defs":
            found[key] = {name: _plain(field) for name, field in inner.items()}
        elif not ((key == "title" and isinstance(inner, str)) or (key == "default" and inner in (None, {}, []))):
            found[key] = inner if key == "default" else _plain(inner)
    if "patternProperties" in found:
        found["additionalProperties"] = False
    return found


def job_schema() -> dict[str, Any]:
    """The schema of job files."""
    name = NAME_SCHEMA
    properties: dict[str, dict[str, Any]] = {
        "template": {**name, "description": "The name of a template."},
        "params": {"type": "object", "description": "Values for the template's parameters."},
        "priority": {"type": "integer", "minimum": 0, "maximum": 9, "description": "9 is the most urgent."},
        "delay": {**DURATION_SCHEMA, "description": "Start so long after acceptance, or later. Such as 10m."},
        "at": {"type": "string", "description": "Start at this moment or later, such as 2026-11-20T07:36:00Z."},
        "key": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_KEY,
            "description": "Idempotency key: the same key gives the same workflow.",
        },
        "labels": {
            "type": "object",
            "propertyNames": name,
            "additionalProperties": {"type": "string", "maxLength": MAX_LABEL},
            "maxProperties": MAX_LABELS,
            "description": "Names and texts, to find the workflow by.",
        },
        "user": {**name, "maxLength": MAX_USER, "description": "The user who asks."},
        "id": {"type": "string", "description": "Written by programs; leave it out."},
        "format": {"type": "integer", "minimum": 1, "maximum": FORMAT, "description": "Written by programs."},
        "trigger": {"type": "string", "description": "Written by programs; leave it out."},
    }
    for field in properties.keys() - {"template", "format"}:
        properties[field]["type"] = [*_listed(properties[field]["type"]), "null"]
    return {
        "$schema": DIALECT,
        "title": "Hybrid Engine job",
        "type": "object",
        "properties": {field: properties[field] for field in REQUEST_FIELDS},
        "required": ["template"],
        "additionalProperties": False,
        "not": {"required": ["delay", "at"]},
    }


def _listed(types: str | list[str]) -> list[str]:
    return [types] if isinstance(types, str) else types
