"""Which steps a retry runs again: all whose result could be older than what it was made from, and no others."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_state, a_template
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.model import events as e
from hybrid_engine.model.state import StepState
from hybrid_engine.rules.decisions import Plan
from hybrid_engine.rules.reopening import kept_back, reopening, running_again

STATUSES = ("completed", "failed", "cancelled", "skipped by condition", "skipped upstream")


def a_step(status: str) -> StepState:
    word, _, reason = status.partition(" ")
    return StepState(status=word, reason={"by condition": "condition", "upstream": "upstream: x"}.get(reason))


def again(
    steps: dict[str, Any], *, from_: str | None = None, only: tuple[str, ...] = (), env: Any = None, **others: str
) -> set[str]:
    """What runs again of a workflow whose steps are completed, but for `others`."""
    template = a_template(steps, env=env or {})
    states = {name: a_step(others.get(name, "completed")) for name in template.steps}
    return running_again(states, Plan(template), from_, only)


APART: dict[str, Any] = {"a": {"needs": []}, "b": {"needs": ["a"]}, "c": {"needs": ["b"]}, "x": {"needs": ["a"]}}


def test_what_failed_and_what_it_kept_from_running_runs_again_and_nothing_that_is_unaffected() -> None:
    assert again(APART, b="failed", c="skipped upstream") == {"b", "c"}
    assert again(APART, b="cancelled", c="cancelled") == {"b", "c"}


def test_what_is_completed_behind_a_step_that_runs_again_runs_again_directly_or_over_others() -> None:
    lenient = {**APART, "b": {"needs": ["a"], "continue_on_error": True}, "d": {"needs": ["c"]}, "e": {"needs": ["x"]}}
    assert again(lenient, b="failed", e="failed") == {"b", "c", "d", "e"}


def test_a_step_over_one_that_its_condition_skipped_runs_again_because_files_travel_unseen() -> None:
    lenient = {**APART, "b": {"needs": ["a"], "continue_on_error": True}, "d": {"needs": ["c"]}}
    assert again(lenient, b="failed", c="skipped by condition") == {"b", "c", "d"}


def test_a_step_skipped_by_its_condition_is_asked_again_only_when_what_it_looked_at_may_have_changed() -> None:
    steps = {
        **APART,
        "c": {"needs": ["x"], "if": "steps.b.status == 'completed'"},
        "y": {"needs": ["x"], "if": "false"},
    }
    assert again(steps, b="failed", c="skipped by condition", y="skipped by condition") == {"b", "c"}


@pytest.mark.parametrize(
    "looks",
    [
        {"if": "steps.b.status == 'failed'"}, {"if": "${{ steps['b'].output.rows > 3 }}"},
        {"env": {"ROWS": "so many: ${{ steps.b.output.rows }}"}},
        {"call": "rows.count", "with": {"all": [{"rows": "${{ default(steps.b.output, 0) }}"}]}},
    ],
)  # fmt: skip
def test_a_step_that_names_one_in_an_expression_runs_again(looks: dict[str, Any]) -> None:
    steps = {**APART, "reader": {"needs": ["a"], **looks}, "behind": {"needs": ["reader"]}}
    assert again(steps, b="failed", c="skipped upstream") == {"b", "c", "reader", "behind"}
    assert again(steps, x="failed") == {"x"}


def test_a_name_that_only_the_evaluation_knows_may_be_that_of_any_step_which_is_not_behind() -> None:
    for looks in ("steps[params.which].output", "contains(steps, 'b')"):
        steps = {
            **APART,
            "reader": {"needs": ["a"], "env": {"X": f"${{{{ {looks} }}}}"}},
            "late": {"needs": ["reader"]},
        }
        assert again(steps, x="failed") == {"x", "reader", "late"}
        assert again(steps, late="failed") == {"late"}
        assert again(steps, reader="failed", late="skipped upstream") == {"reader", "late"}


def test_the_environment_of_the_template_is_that_of_each_step() -> None:
    assert again(APART, env={"B": "${{ default(steps.x.output, 0) }}"}, x="failed") == {"a", "b", "c", "x"}


def test_steps_that_name_each_other_run_again_together() -> None:
    steps = {"a": {"needs": [], "if": "steps.b.status != 'failed'"}, "b": {"needs": ["a"]}, "c": {"needs": []}}
    assert again(steps, b="failed") == {"a", "b"}


def test_from_a_step_on_runs_it_and_all_that_depends_on_it_beside_what_failed() -> None:
    assert again(APART, from_="b") == {"b", "c"}
    assert again(APART, from_="b", x="failed") == {"b", "c", "x"}


def test_chosen_steps_run_alone_with_what_depends_on_them() -> None:
    assert again(APART, only=("b",), x="failed") == {"b", "c"}
    assert again(APART, only=("x", "c"), b="failed") == {"x", "c"}


def test_a_chosen_step_that_could_not_begin_is_told_with_what_keeps_it_back() -> None:
    template = a_template({**APART, "x": {"needs": ["a"], "continue_on_error": True}, "y": {"needs": ["x"]}})
    states = {name: a_step("completed") for name in template.steps}
    states |= {"a": a_step("failed"), "b": a_step("skipped upstream"), "x": a_step("failed")}
    plan = Plan(template)
    for chosen, expected in ((("c",), ("c", "b")), (("b",), ("b", "a")), (("a",), None), (("y",), None)):
        found = running_again(states, plan, None, chosen)
        assert kept_back(states, plan, chosen, found) == expected, chosen


def test_only_what_is_not_open_yet_is_opened_so_that_half_a_retry_can_be_made_whole() -> None:
    template = a_template(APART)
    state = a_state(e.WorkflowStarted(), steps=list(APART))
    for name, step in zip(APART, ("completed", "failed", "skipped upstream", "completed"), strict=True):
        state.steps[name] = a_step(step)
    plan = Plan(template)
    assert reopening(state, plan) == [e.StepReopened("b"), e.StepReopened("c")]
    state.steps["b"] = StepState()
    assert reopening(state, plan) == [e.StepReopened("c")]
    state.steps["c"] = StepState()
    assert reopening(state, plan) == []


@st.composite
def workflows(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, str]]:
    names = "abcdefg"[: draw(st.integers(1, 7))]
    steps: dict[str, Any] = {}
    for place, name in enumerate(names):
        before = st.lists(st.sampled_from(names[:place]), unique=True) if place else st.just([])
        steps[name] = {"needs": draw(before), "continue_on_error": draw(st.booleans())}
        named = draw(before)
        if named:
            steps[name]["env"] = {"X": "".join(f"${{{{ steps.{other}.output }}}}" for other in named)}
    return steps, {name: draw(st.sampled_from(STATUSES)) for name in names}


@given(workflows(), st.data())
def test_nothing_is_kept_that_depends_on_what_runs_again_and_nothing_else_runs(found: Any, data: st.DataObject) -> None:
    steps, statuses = found
    names = st.sampled_from(sorted(steps))
    only = tuple(data.draw(st.lists(names, unique=True, max_size=2)))
    from_ = None if only else data.draw(st.none() | names)
    run = again(steps, from_=from_, only=only, **statuses)
    on = {
        name: {*step["needs"], *(n for n in steps if f"steps.{n}." in str(step.get("env")))}
        for name, step in steps.items()
    }
    bad = (
        set() if only else {n for n, status in statuses.items() if status not in ("completed", "skipped by condition")}
    )
    for name in steps:
        is_first = name in bad or name in only or name == from_
        assert (name in run) == (is_first or bool(on[name] & run)), name
