"""Every problem in one pass: what is sound beside broken fields is checked, and no error is made up."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_engine.errors import TemplateError
from hybrid_engine.model.template import Template
from hybrid_engine.rules.unbroken import all_problems


def told(data: dict[str, Any]) -> list[str]:
    with pytest.raises(TemplateError) as failed:
        Template.author(data, "x")
    return [problem.path for problem in all_problems(data, "x", failed.value)]


BAD = {"run": "true", "if": "${{ params.nobody }}"}


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"priority": 10}, "priority"),
        ({"prams": {}}, "prams"),
        ({"env": {"HYBRID_X": "1"}}, "env.HYBRID_X"),
        ({"params": {"a": {"type": "int"}}}, "params.a.type"),
        ({"params": {"a": {"minimum": 1}}}, "params.a"),
        ({"params": {"a": 3}}, "params.a"),
    ],
)
def test_errors_in_what_is_sound_are_told_beside_those_of_a_broken_field(part: dict[str, Any], path: str) -> None:
    assert told({**part, "steps": {"one": dict(BAD)}}) == [path, "steps.one.if"]


@pytest.mark.parametrize(
    ("step", "path"),
    [
        ({"run": "true", "timeout": "soon"}, "steps.one.timeout"),
        ({"run": "true", "call": "a.b"}, "steps.one"),
        ("true", "steps.one"),
        ({"call": "nothing"}, "steps.one.call"),
        ({"call": "nothing", "with": {"a": "${{ params.b }}"}}, "steps.one.call"),
    ],
)
def test_a_broken_step_hides_no_error_of_another(step: Any, path: str) -> None:
    assert told({"steps": {"one": step, "two": dict(BAD)}}) == [path, "steps.two.if"]


def test_nothing_is_made_up_where_others_may_miss_what_is_broken() -> None:
    steps = {"one": {"run": "true", "needs": "two"}, "two": {"run": "true", "needs": 5}}  # else `two` needs `one`
    assert told({"steps": steps}) == ["steps.two.needs"]
    assert told({"steps": {"a b": {"run": "true"}, "two": {"run": "true", "needs": "a b"}}})[0].startswith("steps.a b")


def test_a_broken_default_is_not_told_twice() -> None:
    assert told({"params": {"a": {"default": "x", "pattern": "("}}, "steps": {"one": {"run": "true"}}}) == [
        "params.a.pattern"
    ]


def test_what_a_mapping_looks_like_is_told_to_who_wrote_something_else() -> None:
    with pytest.raises(TemplateError, match=r"write retry: \{attempts: 3\}"):
        Template.author({"steps": {"one": {"run": "true", "retry": 3}}}, "x")
