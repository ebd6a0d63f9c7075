"""Linting: what only the whole template shows."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest

from hybrid_engine.model.template import Template
from hybrid_engine.rules.linting import Problem, lint

RUN = {"run": "true"}


class Known(NamedTuple):
    """A function's signature."""

    params: tuple[str, ...]
    required: tuple[str, ...] = ()
    open: bool = False


FUNCTIONS = {"quality.profile": Known(("path", "limit"), ("path",)), "quality.any": Known((), (), True)}


def found(functions: dict[str, Known] | None = None, **fields: object) -> dict[str, Problem]:
    template = Template.author({"name": "t", "steps": {"a": RUN}, **fields})
    return {problem.path: problem for problem in lint(template, functions)}


def of_steps(functions: dict[str, Known] | None = None, **steps: object) -> dict[str, Problem]:
    return found(functions, params={"source": None}, steps=steps)


def test_a_good_template_has_no_findings() -> None:
    assert not of_steps(
        FUNCTIONS,
        profile={"call": "quality.profile", "with": {"path": "${{ params.source }}"}},
        clean={"if": "steps.profile.output.score < 0.9", "env": {"ID": "${{ workflow.id }}"}, **RUN},
        publish={"env": {"S": "${{ default(steps.profile.output.score, 0) }}"}, **RUN},
    )


@pytest.mark.parametrize(
    ("expression", "code", "hint"),
    [
        ("params.sorce", "unknown_param", "did you mean 'source'?"),
        ("steps.frist.output", "unknown_step", "did you mean 'first'?"),
        ("steps.the.output", "unknown_step", "write steps['the-other']"),
        ("steps.last.output", "not_before", "add needs: last"),
        ("steps.me.output", "not_before", "None"),
        ("steps.first.score", "unknown_name", "write steps.first.output.score"),
        ("steps.first.outputs.x", "unknown_name", "did you mean 'output'?"),
        ("workflow.uesr", "unknown_name", "did you mean 'user'?"),
        ("env.X", "unknown_name", "known: params, steps, workflow"),
        ("lenn(1)", "unknown_function", "did you mean 'len'?"),
        ("1 +", "syntax", "None"),
    ],
)
def test_an_expression_that_cannot_work_is_an_error(expression: str, code: str, hint: str) -> None:
    wrapped = "${{ " + expression + " }}"
    problems = of_steps(**{
        "first": RUN, "the-other": RUN, "me": {"call": "m.f", "with": {"x": [wrapped]}, "env": {"Y": wrapped},
        "if": wrapped}, "last": RUN,
    })  # fmt: skip
    assert {path.removesuffix(".0") for path in problems} == {"steps.me.with.x", "steps.me.env.Y", "steps.me.if"}
    assert {(problem.severity, problem.code, str(problem.hint)) for problem in problems.values()} == {
        ("error", code, hint)
    }


def test_the_env_of_the_template_knows_no_steps() -> None:
    assert found(env={"X": "${{ steps.a.output }}"})["env.X"].code == "not_before"
    assert not found(params={"p": None}, env={"X": "${{ params.p }}"})


@pytest.mark.parametrize("expression", ["steps", "[steps]", "json(steps)", "steps[params.which].output", "keys(steps)"])
def test_the_env_of_the_template_knows_no_steps_by_any_way(expression: str) -> None:
    problem = found(params={"which": None}, env={"X": "${{ " + expression + " }}"})["env.X"]
    assert (problem.severity, problem.code) == ("error", "not_before")


def test_all_steps_at_once_are_told_because_some_need_not_be_over() -> None:
    problems = of_steps(
        a={"env": {"X": "${{ [steps] }}", "Y": "${{ steps[params.source].output[params.source] }}"}, **RUN}
    )
    assert [(path, problem.severity) for path, problem in problems.items()] == [("steps.a.env.X", "warning")]


def test_a_computed_field_is_not_checked_by_name() -> None:
    assert not of_steps(a=RUN, b={"env": {"X": "${{ steps.a[params.source] }} ${{ workflow[params.source] }}"}, **RUN})


def test_a_label_is_not_evaluated() -> None:
    problem = found(labels={"team": "blue", "id": "x-${{ workflow.id }}"})["labels.id"]
    assert (problem.severity, problem.code) == ("error", "not_an_expression")
    assert "labels are plain text" in problem.message


def test_a_default_is_not_evaluated() -> None:
    problems = found(params={"p": {"default": "${{ workflow.id }}"}, "q": {"default": "$x"}})
    assert [(path, problem.severity) for path, problem in problems.items()] == [("params.p.default", "warning")]


def test_needs_are_checked() -> None:
    assert of_steps(a={"needs": "b", **RUN}, b={"needs": "a", **RUN})["steps.a.needs"].code == "cycle"
    assert of_steps(a={"needs": ["x"], **RUN})["steps.a.needs"].code == "unknown_step"


def test_calls_are_checked_against_the_catalogue() -> None:
    problems = of_steps(
        FUNCTIONS,
        a={"call": "quality.profle"},
        b={"call": "quality.profile", "with": {"pth": 1}},
        c={"call": "quality.any", "with": {"anything": 1}},
    )
    assert problems["steps.a.call"].hint == "did you mean 'quality.profile'?"
    assert problems["steps.b.with.pth"].hint == "did you mean 'path'?"
    assert "path" in problems["steps.b.with"].message
    assert len(problems) == 3
    assert not of_steps(a={"call": "quality.profle"})


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"type": "number", "default": "x"}, "params.p.default"),
        ({"type": "number", "default": 2, "maximum": 1}, "params.p.default"),
        ({"type": "string", "default": "c", "choices": ["a", "b"]}, "params.p.default"),
        ({"type": "integer", "choices": [1, "2"]}, "params.p.choices.1"),
        ({"default": 5}, "params.p.default"),
    ],
)
def test_defaults_and_choices_are_what_the_parameter_wants(spec: dict[str, object], path: str) -> None:
    assert list(found(params={"p": spec})) == [path]


def test_a_pool_has_one_limit() -> None:
    problem = of_steps(
        a={"concurrency": {"pool": "db", "limit": 2}, **RUN},
        b={"concurrency": "db", **RUN},
        c={"concurrency": "other", **RUN},
    )
    assert [(path, p.code) for path, p in problem.items()] == [("steps.b.concurrency.limit", "pool_limit")]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"retry": {"delay": "5m", "attempts": 2}}, "steps.a.retry.max_delay"),
        ({"retry": {"on": [1]}}, "steps.a.retry.on"),
        ({"if": False}, "steps.a.if"),
    ],
)
def test_what_makes_no_sense_is_a_warning(fields: dict[str, object], path: str) -> None:
    problems = of_steps(a={**RUN, **fields})
    assert [(p.path, p.severity) for p in problems.values()] == [(path, "warning")]


def test_errors_come_before_warnings() -> None:
    template = Template.author(
        {"name": "t", "steps": {"a": {"if": False, **RUN}, "b": {"env": {"X": "${{ y }}"}, **RUN}}}
    )
    assert [problem.severity for problem in lint(template)] == ["error", "warning"]


def test_ten_thousand_steps_that_look_far_back_are_checked_quickly() -> None:
    steps = {f"s{i}": {"env": {"X": f"${{{{ steps.s{i // 2}.output }}}}"} if i else {}, **RUN} for i in range(10_000)}
    template = Template.author({"name": "t", "steps": steps})
    started = time.perf_counter()
    assert not lint(template)
    assert time.perf_counter() - started < 10
