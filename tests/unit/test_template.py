"""What an author may write, what comes of it, and that the frozen form keeps it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import TemplateError
from hybrid_engine.model.durations import LONGEST, duration_text, microseconds
from hybrid_engine.model.template import MAX_STEPS, Template


def authored(**fields: object) -> Template:
    return Template.author({"name": "t", "steps": {"a": {"run": "true"}}, **fields})


def step(**fields: object) -> Template:
    return authored(steps={"a": {"run": "true", **fields}})


def refused(**fields: object) -> dict[str, TemplateError]:
    """The problems of a template, by path."""
    with pytest.raises(TemplateError) as caught:
        authored(**fields)
    return {str(problem.path): problem for problem in caught.value.problems}


# --- durations ----------------------------------------------------------------------------------------------------


@given(st.integers(0, LONGEST))
def test_every_duration_is_read_back_as_it_was_written(length: int) -> None:
    assert microseconds(duration_text(length)) == length


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("10m", 600), ("24h", 86400), ("1d", 86400), ("500ms", 0.5), ("1h30m", 5400), ("1h 30m", 5400),
     ("1.5h", 5400), (90, 90), (0.25, 0.25), ("90", 90), ("0s", 0), ("0.001ms", 1e-6)],
)  # fmt: skip
def test_durations_are_written_as_people_write_them(text: object, seconds: float) -> None:
    assert microseconds(text) == round(seconds * 1_000_000)


@pytest.mark.parametrize(
    "text",
    ["", " ", "s", ".", ".s", "5x", "1m1m", "-5s", -1, "1h-3m", True, None, [], "nan", float("nan"), float("inf"),
     "1e3s", "99999999999d", 10**400, "1..5s", "٣s", "1h" * 100, "5\0s", "5 s s"],
)  # fmt: skip
def test_what_is_not_a_duration_is_refused_with_a_sentence(text: object) -> None:
    with pytest.raises(ValueError, match=r"duration|negative|too long"):
        microseconds(text)


# --- steps --------------------------------------------------------------------------------------------------------


def test_a_step_without_needs_follows_the_one_above_it() -> None:
    run = {"run": "true"}
    template = authored(steps={"a": run, "b": run, "c": {**run, "needs": []}, "d": {**run, "needs": "a"}, "e": run})
    assert {name: s.needs for name, s in template.steps.items()} == {
        "a": (), "b": ("a",), "c": (), "d": ("a",), "e": ("d",),
    }  # fmt: skip


def test_defaults_are_merged_field_by_field_and_a_step_may_say_otherwise() -> None:
    template = authored(
        defaults={"timeout": "10m", "retry": {"attempts": 3, "delay": "5s"}},
        steps={"a": {"run": "x"}, "b": {"run": "x", "retry": {"attempts": 1}, "timeout": None}},
    )
    a, b = template.steps.values()
    assert (a.timeout, a.retry.attempts, a.retry.delay) == (timedelta(minutes=10), 3, timedelta(seconds=5))
    assert (b.timeout, b.retry.attempts, b.retry.delay) == (None, 1, timedelta(seconds=5))


def test_the_environment_holds_text_whatever_yaml_made_of_it() -> None:
    env = step(env={"N": 5, "F": 0.5, "T": True, "E": None, "S": "s"}).steps["a"].env
    assert env == {"N": "5", "F": "0.5", "T": "true", "E": "", "S": "s"}


def test_a_pool_alone_is_short_for_a_limit_of_one() -> None:
    concurrency = step(concurrency="db").steps["a"].concurrency
    assert concurrency is not None
    assert (concurrency.pool, concurrency.limit) == ("db", 1)


def test_a_step_does_exactly_one_thing() -> None:
    assert "neither" in str(refused(steps={"a": {"env": {}}})["steps.a"])
    assert "both" in str(refused(steps={"a": {"run": "x", "call": "m.f"}})["steps.a"])
    assert "env" in str(refused(steps={"a": {"run": "x", "with": {"a": 1}}})["steps.a"])


def test_values_are_never_pasted_into_shell_commands() -> None:
    problem = refused(steps={"a": {"run": "echo ${{ params.x }}"}})["steps.a.run"]
    assert 'env: {VALUE: "${{ … }}"}' in problem.message


@pytest.mark.parametrize("key", ["approval", "foreach", "wait_for"])
def test_a_step_kind_of_another_release_is_told_from_those_there_are(key: str) -> None:
    problem = refused(steps={"a": {"run": "x", key: {}}})[f"steps.a.{key}"]
    assert "run, call" in str(problem.hint)


@pytest.mark.parametrize(
    ("key", "right"),
    [("retries", "retry"), ("need", "needs"), ("timeuot", "timeout"), ("name", "description"), ("cmd", "run")],
)
def test_an_unknown_key_is_told_with_the_right_one(key: str, right: str) -> None:
    problem = refused(steps={"a": {"run": "x", key: 1}})[f"steps.a.{key}"]
    assert problem.code == "unknown_key"
    assert right in str(problem.hint)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": "../etc"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"priority": 10}, "priority"),
        ({"priority": True}, "priority"),
        ({"steps": {}}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": {"a": None}}, "steps.a"),
        ({"steps": {"a b": {"run": "x"}}}, "steps.a b"),
        ({"steps": {"..": {"run": "x"}}}, "steps..."),
        ({"steps": {"a": {"run": ""}}}, "steps.a.run"),
        ({"steps": {"a": {"run": "a\0b"}}}, "steps.a.run"),
        ({"steps": {"a": {"run": "x" * 100_001}}}, "steps.a.run"),
        ({"steps": {"a": {"run": 5}}}, "steps.a.run"),
        ({"steps": {"a": {"call": "os"}}}, "steps.a.call"),
        ({"steps": {"a": {"call": "../x.y"}}}, "steps.a.call"),
        ({"steps": {"a": {"run": "x", "needs": None}}}, "steps.a.needs"),
        ({"steps": {"a": {"run": "x", "needs": [1]}}}, "steps.a.needs.0"),
        ({"steps": {"a": {"run": "x", "env": {"A=B": "x"}}}}, "steps.a.env.A=B"),
        ({"steps": {"a": {"run": "x", "env": {"HYBRID_KEY": "x"}}}}, "steps.a.env.HYBRID_KEY"),
        ({"steps": {"a": {"run": "x", "env": {"A": "\0"}}}}, "steps.a.env.A"),
        ({"steps": {"a": {"run": "x", "timeout": 0}}}, "steps.a.timeout"),
        ({"steps": {"a": {"run": "x", "timeout": "soon"}}}, "steps.a.timeout"),
        ({"steps": {"a": {"run": "x", "if": 5}}}, "steps.a.if"),
        ({"steps": {"a": {"run": "x", "retry": {"attempts": 0}}}}, "steps.a.retry.attempts"),
        ({"steps": {"a": {"run": "x", "retry": {"factor": 0.5}}}}, "steps.a.retry.factor"),
        ({"steps": {"a": {"run": "x", "retry": {"on": []}}}}, "steps.a.retry.on"),
        ({"steps": {"a": {"run": "x", "retry": {"on": [0]}}}}, "steps.a.retry.on.0"),
        ({"steps": {"a": {"run": "x", "retry": 3}}}, "steps.a.retry"),
        ({"steps": {"a": {"run": "x", "concurrency": {"pool": "a/b"}}}}, "steps.a.concurrency.pool"),
        ({"steps": {"a": {"run": "x", "concurrency": {"pool": "a", "limit": 0}}}}, "steps.a.concurrency.limit"),
        ({"params": {"x": {"type": "str"}}}, "params.x.type"),
        ({"params": {"x": {"minimum": 1}}}, "params.x"),
        ({"params": {"x": {"type": "number", "minimum": 2, "maximum": 1}}}, "params.x"),
        ({"params": {"x": {"pattern": "(a"}}}, "params.x.pattern"),
        ({"params": {"x": {"pattern": "(a{1000}){1000}"}}}, "params.x.pattern"),
        ({"params": {"x": {"choices": []}}}, "params.x.choices"),
        ({"params": {"x": {"default": "a", "required": True}}}, "params.x"),
        ({"labels": {"a": 1}}, "labels.a"),
        ({"defaults": {"env": {}}}, "defaults.env"),
    ],
)
def test_what_is_wrong_is_told_at_its_path(fields: dict[str, object], path: str) -> None:
    assert list(refused(**fields)) == [path]


def test_too_many_are_told_with_how_many_there_are() -> None:
    many = {f"s{n}": {"run": "true"} for n in range(MAX_STEPS + 1)}
    assert refused(steps=many)["steps"].message == "must have at most 20000, and has 20001"
    assert refused(labels={f"l{n}": "x" for n in range(65)})["labels"].message == "must have at most 64, and has 65"
    choices = {"p": {"choices": list(range(1001))}}
    assert refused(params=choices)["params.p.choices"].message == "must have at most 1000, and has 1001"


@pytest.mark.parametrize("data", [None, 5, "x", [], {}, {"steps": None}, {1: 2}])
def test_what_is_no_template_at_all_is_refused_too(data: object) -> None:
    with pytest.raises(TemplateError):
        Template.author(data, name="t")


def test_all_problems_are_told_at_once() -> None:
    problems = refused(priority=11, priorty=1, steps={"a": {"run": "x", "retry": {"attempt": 3}}})
    assert list(problems) == ["priority", "steps.a.retry.attempt", "priorty"]


# --- the frozen form ----------------------------------------------------------------------------------------------

RICH: dict[str, object] = {
    "name": "rich",
    "description": "näh → 😀",
    "params": {
        "a": {"type": "number", "default": 0.5, "minimum": 0},
        "b": None,
        "c": {"enum": ["x", 1, True, None], "default": None},
        "d": {"type": "object", "required": False},
    },
    "priority": 3,
    "concurrency": {"pool": "p", "limit": 2},
    "labels": {"team": "blue"},
    "env": {"A": 1},
    "defaults": {"timeout": "90s", "retry": {"attempts": 2, "max_delay": None}},
    "steps": {
        "one": {"call": "m.f", "with": {"x": "${{ params.a }}", "y": [1, {"z": None}]}, "if": True},
        "two": {"run": "echo", "if": "${{ params.a > 1 }}", "retry": {"on": [3, 4], "delay": "1.5ms", "jitter": False}},
        "three": {"run": "echo", "needs": ["one"], "continue_on_error": True, "concurrency": "db", "timeout": None},
    },
}


def test_the_frozen_form_says_the_same_and_freezes_to_the_same_bytes() -> None:
    template = Template.author(RICH)
    thawed = Template.from_frozen(template.to_frozen())
    assert thawed == template
    assert list(thawed.steps) == ["one", "two", "three"]
    assert thawed.to_frozen() == template.to_frozen()
    assert thawed.version == template.version
    assert thawed.steps["two"].name == "two"


def test_another_definition_has_another_version() -> None:
    versions = {step().version, step(timeout="1s").version, step(timeout="2s").version, authored(priority=1).version}
    assert len(versions) == 4
    assert all(len(version) == 12 for version in versions)
    assert step(timeout="60s").version == step(timeout="1m").version == step(timeout=60).version


def test_a_newer_frozen_format_is_refused() -> None:
    with pytest.raises(TemplateError, match="format 2") as caught:
        Template.from_frozen(step().to_frozen().replace(b'"format":1', b'"format":2'))
    assert caught.value.code == "newer_format"


@given(st.data())
def test_damaged_frozen_bytes_are_refused_or_read_never_anything_else(data: st.DataObject) -> None:
    frozen = bytearray(Template.author(RICH).to_frozen())
    at = data.draw(st.integers(0, len(frozen) - 1))
    frozen[at] = data.draw(st.integers(0, 255))
    try:
        Template.from_frozen(bytes(frozen))
    except TemplateError as error:
        assert error.code in ("damaged", "newer_format")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format":1}', b'{"format":"1"}', b"\xff", b"[" * 100_000])
def test_what_is_no_frozen_template_is_refused(data: bytes) -> None:
    with pytest.raises(TemplateError):
        Template.from_frozen(data)
