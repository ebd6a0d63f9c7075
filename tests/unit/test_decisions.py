"""`decide`: who may run, who is skipped, how a workflow ends; and that deciding costs what was touched."""

from __future__ import annotations

from typing import Any

import pytest
from builders import a_template, at, created
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.model import events as e
from hybrid_engine.model.effects import Effect, Record, StartStep, StopAttempt, WakeStep
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.template import Template
from hybrid_engine.rules.decisions import (
    Frontier,
    Plan,
    decide,
    decide_all,
    decide_cancel,
    step_stops_others,
)
from hybrid_engine.rules.transitions import evolve, fold


class Case:
    """A workflow of a template, and what is decided about it. Records are folded in, as the engine does it."""

    def __init__(self, steps: Any, *events: e.Event, params: dict[str, Any] | None = None, **fields: Any) -> None:
        self.template: Template = a_template(steps, **fields)
        story = (created(steps=list(self.template.steps), params=params or {}), e.WorkflowStarted(), *events)
        state = fold((n, at(n), event) for n, event in enumerate(story, 1))
        assert state is not None
        self.state: WorkflowState = state
        self.plan = Plan(self.template)
        self.frontier = Frontier(self.plan, state)

    def draw(self, effects: Any) -> list[Effect]:
        drawn = []
        for effect in effects:
            if isinstance(effect, Record):
                self.record(effect.event)
            drawn.append(effect)
        return drawn

    def record(self, event: e.Event) -> None:
        evolve(self.state, event, self.state.seq + 1, at(self.state.seq + 1))

    def after(self, *events: e.StepEvent) -> list[Effect]:
        """What is decided when these happen to steps, one after the other."""
        drawn = []
        for event in events:
            self.record(event)
            if self.state.steps[event.step].is_final:
                drawn += self.draw(decide(self.state, self.frontier, [event.step]))
        return drawn

    def all(self) -> list[Effect]:
        return self.draw(decide_all(self.state, self.frontier))

    @property
    def statuses(self) -> dict[str, str]:
        return {name: step.status for name, step in self.state.steps.items()}


def starts(effects: list[Effect]) -> list[str]:
    return [effect.step for effect in effects if isinstance(effect, StartStep)]


def records(effects: list[Effect]) -> list[e.Event]:
    return [effect.event for effect in effects if isinstance(effect, Record)]


def completed(step: str) -> tuple[e.StepEvent, e.StepEvent]:
    return e.StepStarted(step, 1), e.StepCompleted(step, 1)


def failed(step: str) -> tuple[e.StepEvent, e.StepEvent]:
    return e.StepStarted(step, 1), e.StepFailed(step, 1, {"kind": "exit", "message": "exit code 1"}, 1)


DIAMOND = {"a": {"needs": []}, "b": {"needs": ["a"]}, "c": {"needs": ["a"]}, "d": {"needs": ["b", "c"]}}


def test_what_needs_nothing_starts_first() -> None:
    assert starts(Case(DIAMOND).all()) == ["a"]
    assert starts(Case({"a": {"needs": []}, "b": {"needs": []}}).all()) == ["a", "b"]


def test_a_join_starts_when_the_last_of_its_needs_is_done() -> None:
    case = Case(DIAMOND)
    assert starts(case.after(*completed("a"))) == ["b", "c"]
    assert case.after(*completed("c")) == []
    assert starts(case.after(*completed("b"))) == ["d"]
    assert records(case.after(*completed("d"))) == [e.WorkflowCompleted()]


def test_a_failure_skips_all_behind_it_and_the_rest_goes_on() -> None:
    case = Case({**DIAMOND, "x": {"needs": ["a"]}})
    case.after(*completed("a"))
    effects = case.after(*failed("b"))
    assert records(effects) == [e.StepSkipped("d", "upstream", "b")] or records(effects) == []
    effects = case.after(*completed("c"))
    assert case.statuses == {"a": "completed", "b": "failed", "c": "completed", "d": "skipped", "x": "pending"}
    (end,) = records(case.after(*completed("x")))
    assert isinstance(end, e.WorkflowFailed)
    assert (end.error["step"], end.error["message"]) == ("b", "step b failed: exit code 1")


def test_a_skip_by_failure_goes_down_the_whole_line() -> None:
    case = Case(["a", "b", "c", "d"])
    effects = case.after(*failed("a"))
    assert case.statuses == {"a": "failed", "b": "skipped", "c": "skipped", "d": "skipped"}
    assert isinstance(records(effects)[-1], e.WorkflowFailed)


def test_a_failure_that_may_be_continued_stops_nobody() -> None:
    case = Case({"a": {"continue_on_error": True}, "b": None})
    assert starts(case.after(*failed("a"))) == ["b"]
    assert records(case.after(*completed("b"))) == [e.WorkflowCompleted()]


def test_a_step_skipped_by_its_own_condition_satisfies_those_that_need_it() -> None:
    case = Case({"a": None, "b": {"if": False}, "c": None})
    effects = case.after(*completed("a"))
    assert records(effects) == [e.StepSkipped("b", "condition")]
    assert starts(effects) == ["c"]


def test_conditions_see_params_and_earlier_steps() -> None:
    steps = {"a": None, "b": {"if": "${{ steps.a.output.rows > params.least }}"}}
    for rows, expected in ((7, ["b"]), (1, [])):
        case = Case(steps, params={"least": 3})
        case.record(e.StepStarted("a", 1))
        assert starts(case.after(e.StepCompleted("a", 1, {"rows": rows}))) == expected


def test_a_condition_that_cannot_be_computed_fails_its_step() -> None:
    case = Case({"a": None, "b": {"if": "${{ steps.a.output.rows > 3 }}"}})
    effects = case.after(*completed("a"))
    first, end = records(effects)
    assert isinstance(first, e.StepFailed)
    assert (first.step, first.attempt, first.error["kind"]) == ("b", 0, "expression")
    assert isinstance(end, e.WorkflowFailed)


def test_nothing_starts_while_paused_but_what_follows_is_recorded() -> None:
    case = Case({"a": None, "b": {"if": False}, "c": None}, *(e.StepStarted("a", 1), e.WorkflowPaused()))
    effects = case.after(e.StepCompleted("a", 1))
    assert starts(effects) == []
    assert records(effects) == [e.StepSkipped("b", "condition")]
    case.record(e.WorkflowResumed())
    assert starts(case.all()) == ["c"]


def test_a_cancellation_stops_what_runs_and_cancels_the_rest() -> None:
    case = Case(DIAMOND, *completed("a"), e.StepStarted("b", 1), e.CancelRequested())
    effects = case.draw(decide_cancel(case.state, case.frontier))
    assert [effect for effect in effects if isinstance(effect, StopAttempt)] == [StopAttempt("b")]
    assert case.statuses == {"a": "completed", "b": "running", "c": "cancelled", "d": "cancelled"}
    assert records(case.after(e.StepCancelled("b", 1))) == [e.WorkflowCancelled()]


def test_a_cancellation_with_nothing_running_ends_at_once() -> None:
    case = Case(DIAMOND, e.CancelRequested())
    assert records(case.draw(decide_cancel(case.state, case.frontier)))[-1] == e.WorkflowCancelled()


def test_a_workflow_whose_last_step_completes_against_its_cancellation_is_cancelled() -> None:
    case = Case(["a"], e.StepStarted("a", 1), e.CancelRequested())
    assert records(case.after(e.StepCompleted("a", 1))) == [e.WorkflowCancelled()]


def test_a_step_that_was_cancelled_without_anybody_asking_is_no_success() -> None:
    case = Case(["a", "b"])
    case.after(e.StepStarted("a", 1), e.StepCancelled("a", 1))
    assert case.state.status == "failed"


def test_waiting_for_a_retry_is_taken_up_again() -> None:
    case = Case(["a"], e.StepStarted("a", 1), e.StepRetryScheduled("a", 1, at(99)))
    assert case.all() == [WakeStep("a", at(99))]


def test_several_failures_are_counted() -> None:
    case = Case({"a": {"needs": []}, "b": {"needs": []}, "c": {"needs": []}})
    case.after(*failed("b"), *failed("c"))
    (end,) = records(case.after(*failed("a")))
    assert isinstance(end, e.WorkflowFailed)
    assert end.error == {"kind": "step", "step": "a", "message": "step a failed: exit code 1 (and 2 more)"}


@pytest.mark.parametrize(
    ("status", "reason", "lenient", "stops"),
    [
        ("completed", None, False, False), ("failed", None, False, True), ("failed", None, True, False),
        ("cancelled", None, False, True), ("skipped", "condition", False, False),
        ("skipped", "upstream: a", False, True),
    ],
)  # fmt: skip
def test_who_stops_those_that_need_him(status: str, reason: str | None, lenient: bool, stops: bool) -> None:
    case = Case({"a": {"continue_on_error": lenient}})
    step = case.state.steps["a"]
    step.status, step.reason = status, reason
    assert step_stops_others(case.template.steps["a"], step) is stops


class Counting(Frontier):
    """A frontier that counts how often an edge is looked at."""

    __slots__ = ("looks",)

    def settle(self, name: str, step: Any) -> list[str]:
        self.looks = getattr(self, "looks", 0) + len(self.plan.dependents[name])
        return super().settle(name, step)


def test_deciding_costs_as_many_looks_as_there_are_edges() -> None:
    names = [f"s{n}" for n in range(400)]
    case = Case({name: {"needs": names[max(0, n - 3) : n]} for n, name in enumerate(names)})
    case.frontier = Counting(case.plan, case.state)
    assert starts(case.all()) == ["s0"]
    for name in names:
        case.after(*completed(name))
    assert case.state.status == "completed"
    assert case.frontier.looks == sum(len(needs) for needs in case.plan.needs.values())


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    names = "abcdefg"[: draw(st.integers(1, 7))]
    return {
        name: {
            "needs": draw(st.lists(st.sampled_from(names[:place]), unique=True)) if place else [],
            "continue_on_error": draw(st.booleans()),
            **({"if": draw(st.booleans())} if draw(st.booleans()) else {}),
        }
        for place, name in enumerate(names)
    }


@given(graphs(), st.data())
def test_a_frontier_kept_up_to_date_is_one_made_afresh(steps: dict[str, Any], data: st.DataObject) -> None:
    """…after every event: so a restart decides as the engine would have gone on to."""
    case = Case(steps)
    ready = set(starts(case.all()))
    while ready:
        name = data.draw(st.sampled_from(sorted(ready)))
        ready.discard(name)
        end = data.draw(st.sampled_from((e.StepCompleted(name, 1), e.StepFailed(name, 1))))
        ready |= set(starts(case.after(e.StepStarted(name, 1), end)))
        fresh = Frontier(case.plan, case.state)
        assert fresh.unmet == case.frontier.unmet
        assert fresh.blocked.keys() == case.frontier.blocked.keys()
    assert case.state.is_final
    assert case.state.done == len(steps)
