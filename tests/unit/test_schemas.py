"""The JSON Schemas accept what the program accepts, refuse the common mistakes, and have a text for every field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from hybrid_engine.errors import InputError
from hybrid_engine.model.job import REQUEST_FIELDS
from hybrid_engine.model.template import Template
from hybrid_engine.rules.requests import check_request
from hybrid_engine.rules.schemas import job_schema, template_schema

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted([*ROOT.glob("templates/*.yaml"), *ROOT.glob("examples/*/templates/*.yaml")])
TEMPLATE, JOB = Draft202012Validator(template_schema()), Draft202012Validator(job_schema())


def template(**fields: Any) -> dict[str, Any]:
    return {"steps": {"one": {"run": "true", **fields}}}


@pytest.mark.parametrize("schema", [template_schema(), job_schema()], ids=["template", "job"])
def test_a_schema_is_one_of_draft_2020_12_and_is_json(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(json.loads(json.dumps(schema)))
    assert schema["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_template_of_the_repository_fits(path: Path) -> None:
    TEMPLATE.validate(YAML(typ="safe", pure=True).load(path.read_text()))


@pytest.mark.parametrize(
    "data",
    [
        template(needs="zero", timeout=30, **{"if": True}),
        template(timeout="1h30m", concurrency="door", env={"A": 1, "B": None, "C": True}),
        template(retry={"attempts": 3, "delay": ".5", "max_delay": None, "on": [1]}, concurrency={"pool": "a"}),
        {"params": {"a": None, "b": {"enum": [1]}, "c": {"choices": ["x"]}}, "steps": {"1-a": {"call": "a.b.c"}}},
        {"concurrency": "door", "labels": {"a": "b"}, "defaults": {"timeout": "1d"}, **template()},
    ],
)
def test_what_the_program_accepts_the_schema_accepts(data: dict[str, Any]) -> None:
    if "needs" not in data["steps"].get("one", {}):
        Template.author(data, "x")
    TEMPLATE.validate(data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"steps": {}},
        {"steps": {"one": {}}},
        template(call="a.b"),
        template(rum="x"),
        template(retry=3),
        template(timeout="soon"),
        template(env={"HYBRID_X": "1"}),
        template(continue_on_error="yes"),
        {"steps": {"a b": {"run": "true"}}},
        {"step": {}, **template()},
        {"params": {"a": {"type": "int"}}, **template()},
    ],
)
def test_what_the_program_refuses_in_one_field_the_schema_refuses(data: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Template.author(data, "x")
    assert not TEMPLATE.is_valid(data)


@pytest.mark.parametrize(
    ("job", "right"),
    [
        ({"template": "a"}, True),
        ({"template": "a", "delay": "10m", "priority": 9, "labels": {"a": "b"}, "params": None}, True),
        ({"params": {}}, False),
        ({"template": "a", "priority": 10}, False),
        ({"template": "a", "labels": {"a": 1}}, False),
        ({"template": "a", "prams": {}}, False),
        ({"template": "a", "delay": 1, "at": "2026-11-20T07:36:00Z"}, False),
    ],
)
def test_the_schema_of_jobs_says_what_the_check_says(job: dict[str, Any], right: bool) -> None:
    assert JOB.is_valid(job) == right
    if right:
        check_request(job)
    else:
        with pytest.raises(InputError):
            check_request(job)


def test_every_field_has_a_text_and_every_field_of_a_job_is_there() -> None:
    schema = template_schema()
    for part in (schema, *schema["$defs"].values(), job_schema()):
        assert [name for name, field in part["properties"].items() if not field.get("description")] == []
    assert list(job_schema()["properties"]) == list(REQUEST_FIELDS)
