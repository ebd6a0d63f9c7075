"""Parameters: what is taken, what is refused, and that everything wrong is told at once."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import JobError
from hybrid_engine.model.template import Template
from hybrid_engine.rules.params import check_params

OPTIONAL = {"required": False}

numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
values = {
    "string": st.text(),
    "integer": st.integers(-(10**30), 10**30),
    "number": numbers,
    "boolean": st.booleans(),
    "array": st.lists(st.integers() | st.text(), max_size=3),
    "object": st.dictionaries(st.text(), st.none() | st.booleans(), max_size=3),
}
typed = st.sampled_from(sorted(values)).flatmap(lambda kind: st.tuples(st.just(kind), values[kind]))


def problems(specs: dict[str, dict[str, Any]], given_: object, **options: bool) -> dict[str, JobError]:
    with pytest.raises(JobError) as caught:
        check_params(specs, given_, **options)
    return {str(problem.path): problem for problem in caught.value.problems or (caught.value,)}


@given(typed)
def test_a_value_of_the_right_type_comes_back_unchanged(pair: tuple[str, Any]) -> None:
    kind, value = pair
    assert check_params({"p": {"type": kind}}, {"p": value}) == {"p": value}


@given(typed)
def test_a_value_survives_the_command_line(pair: tuple[str, Any]) -> None:
    kind, value = pair
    if kind == "string":
        try:
            value.encode()
        except UnicodeEncodeError:
            return
    text = value if kind == "string" else json.dumps(value)
    assert check_params({"p": {"type": kind}}, {"p": text}, coerce=True) == {"p": value}


@given(st.recursive(st.none() | st.booleans() | numbers | st.text(), lambda inner: st.lists(inner, max_size=2)), typed)
def test_what_is_refused_is_refused_with_a_job_error_and_nothing_else(value: object, pair: tuple[str, Any]) -> None:
    spec = {"type": pair[0], "choices": [pair[1]], "required": False}
    try:
        assert check_params({"p": spec}, {"p": value}, coerce=True)["p"] in (pair[1], None)
    except JobError as error:
        assert error.path == "params.p"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", True), ("integer", 1.0), ("integer", "1"), ("integer", None), ("integer", 10**100),
        ("number", False), ("number", float("nan")), ("number", float("inf")), ("number", "1"),
        ("number", -(10**100)),
        ("boolean", 1), ("boolean", "true"), ("string", 5), ("string", None), ("array", {}), ("array", "[]"),
        ("object", []),
    ],
)  # fmt: skip
def test_types_are_not_guessed(kind: str, value: object) -> None:
    assert list(problems({"p": {"type": kind}}, {"p": value})) == ["params.p"]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "-5", -5), ("integer", " 7 ", 7), ("number", "5", 5), ("number", "0.5", 0.5),
        ("number", "1e3", 1000.0),
        ("boolean", "yes", True), ("boolean", "OFF", False), ("array", "[1]", [1]), ("object", '{"a":1}', {"a": 1}),
        ("string", "5", "5"), ("string", "", ""),
    ],
)  # fmt: skip
def test_text_from_a_command_line_is_read_as_what_is_wanted(kind: str, text: str, value: object) -> None:
    assert check_params({"p": {"type": kind}}, {"p": text}, coerce=True) == {"p": value}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", "1_000"), ("integer", "٣"), ("integer", "1.0"), ("integer", ""), ("integer", "9" * 101),
        ("number", "nan"),
        ("number", "inf"), ("number", "1_0"), ("number", "1e999"), ("boolean", "maybe"), ("array", "[1"),
        ("array", "{}"),
        ("object", "[NaN]"), ("object", "[" * 100_000), ("object", '{"a": 1e999}'), ("array", '["\\ud800"]'),
        ("array", "[" * 900 + "]" * 900), ("array", "[" * 70 + "]" * 70),
    ],
)  # fmt: skip
def test_text_that_cannot_be_read_is_refused(kind: str, text: str) -> None:
    assert list(problems({"p": {"type": kind}}, {"p": text}, coerce=True)) == ["params.p"]


def test_defaults_fill_in_and_the_order_is_the_templates() -> None:
    specs = {"b": {"default": "x", "required": False}, "a": {}, "c": OPTIONAL}
    params = check_params(specs, {"a": "1"})
    assert list(params.items()) == [("b", "x"), ("a", "1"), ("c", None)]


def test_null_is_for_optional_parameters_without_a_default() -> None:
    assert check_params({"p": OPTIONAL}, {"p": None}) == {"p": None}
    assert problems({"p": {"default": "x", "required": False}}, {"p": None})
    assert problems({"p": {}}, {"p": None})


@pytest.mark.parametrize(
    ("spec", "good", "bad"),
    [
        ({"type": "number", "minimum": 0, "maximum": 1}, [0, 1, 0.5], [-0.1, 1.1, 10**50]),
        ({"type": "string", "min_length": 1, "max_length": 2}, ["a", "ab"], ["", "abc"]),
        ({"type": "array", "max_length": 1}, [[], [1]], [[1, 2]]),
        ({"type": "string", "pattern": "^a+$"}, ["a", "aa"], ["", "b", "ab", "a\n", "a" * 100_001]),
        ({"type": "string", "pattern": "b"}, ["abc"], ["xyz"]),
        ({"type": "string", "choices": ["red", "green"]}, ["red"], ["blue", "", "Red"]),
        ({"type": "integer", "choices": [1, 2]}, [1], [3, True]),
    ],
)
def test_limits_hold(spec: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert check_params({"p": spec}, {"p": value}) == {"p": value}
    for value in bad:
        assert problems({"p": spec}, {"p": value})


def test_a_pattern_that_makes_other_engines_hang_takes_no_time() -> None:
    started = time.perf_counter()
    assert problems({"p": {"pattern": "^(a+)+$"}}, {"p": "a" * 50_000 + "!"})
    assert time.perf_counter() - started < 1


def test_all_problems_are_told_with_the_nearest_right_name() -> None:
    specs = {
        "threshold": {"type": "number", "maximum": 1},
        "colour": {"choices": ["red"]},
        "source": {"description": "a file"},
    }
    found = problems(specs, {"treshold": 0.5, "threshold": 7, "colour": "rad"})
    assert list(found) == ["params.treshold", "params.threshold", "params.colour", "params.source"]
    assert found["params.treshold"].hint == "did you mean 'threshold'?"
    assert "did you mean 'red'?" in found["params.colour"].message
    assert (found["params.source"].code, found["params.source"].hint) == ("missing", "a file")


@pytest.mark.parametrize("given_", [None, [], "x", 5])
def test_params_that_are_no_mapping_are_refused(given_: object) -> None:
    assert list(problems({}, given_)) == ["params"]


def test_the_specs_of_a_frozen_template_are_understood() -> None:
    params = {
        "plain": None,
        "defaulted": {"type": "number", "default": 2},
        "null_default": {"type": "object", "default": None},
        "optional": {"type": "integer", "required": False},
    }
    template = Template.author({"name": "t", "params": params, "steps": {"a": {"run": "x"}}})
    specs = json.loads(template.to_frozen())["params"]
    assert check_params(specs, {"plain": "x"}) == {
        "plain": "x", "defaulted": 2, "null_default": None, "optional": None,
    }  # fmt: skip
    assert list(problems(specs, {})) == ["params.plain"]
