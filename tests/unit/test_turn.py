"""A turn: what mail means, as events and effects. No commit, no disk: the run is looked at after each turn."""

from __future__ import annotations

from typing import Any

import pytest
from builders import START, a_job, a_template, at

from hybrid_engine.engine import turn
from hybrid_engine.engine.run import Run, Woken
from hybrid_engine.model import events as e
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.effects import StopAttempt, WakeStep
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.signals import Signal
from hybrid_engine.rules.decisions import Plan
from hybrid_engine.rules.transitions import evolve


def a_run(steps: Any = ("one",), params: dict[str, Any] | None = None, **fields: Any) -> Run:
    """A run whose job was accepted and whose first event waits to be committed."""
    template = a_template(steps, **fields)
    job = a_job("w1", template, params=params or {})
    event = turn.created_event(job)
    run = Run(job, Entry.of(job), Plan(template), evolve(None, event, 1, at(0)))
    run.at = at(0)
    run.events.append(event)
    return run


def begun(*arguments: Any, **options: Any) -> Run:
    run = a_run(*arguments, **options)
    turn.begin(run)
    return run


def started(run: Run, step: str) -> Attempt:
    assert turn.may_start(run, step)
    assert turn.start_step(run, step, 5.0, "boot1")
    attempt = run.effects[-1]
    assert isinstance(attempt, Attempt)
    return attempt


def ended(run: Run, step: str, kind: str = "completed", **fields: Any) -> None:
    number = run.state.steps[step].attempt
    turn.handle(run, Outcome("w1", step, number, kind, **fields), START)  # type: ignore[arg-type]


def types(run: Run) -> list[str]:
    return [event.TYPE for event in run.events]


def test_the_first_event_tells_all_that_the_job_asked_for() -> None:
    job = a_job(
        "w1", params={"x": 1}, labels={"l": "v"}, key="k", user="ada", source="a.json", trigger="cli", priority=3
    )
    event = turn.created_event(job)
    for name in ("template", "version", "params", "labels", "key", "user", "source", "trigger", "priority", "steps"):
        assert getattr(event, name) == getattr(job, name), name


def test_events_are_numbered_on_and_folded_in_at_once() -> None:
    run = begun(["a", "b"])
    attempt = started(run, "a")
    assert types(run) == ["workflow_created", "workflow_started", "step_started"]
    assert (run.state.seq, run.state.steps["a"].status) == (3, "running")
    assert (attempt.key, attempt.idempotency_key, attempt.started_at) == ("w1/a/1", "w1/a", at(0))


def test_an_attempt_has_no_expression_left_in_it() -> None:
    run = begun(
        {"a": {"run": "x", "env": {"P": "${{ params.p }}", "D": "${{ params.d }}", "N": "${{ params.n }}", "L": "x"}}},
        params={"p": "a b", "d": {"k": [1]}, "n": None}, env={"L": "y", "T": "${{ workflow.id }}"},
    )  # fmt: skip
    assert started(run, "a").env == {"P": "a b", "D": '{"k":[1]}', "N": "", "L": "x", "T": "w1"}


def test_a_value_that_cannot_be_computed_fails_the_step_and_gives_its_slot_back() -> None:
    run = begun({"a": {"env": {"X": "${{ params.nothing }}"}}, "b": None})
    assert not turn.start_step(run, "a", 5.0, None)
    assert types(run)[2:] == ["step_failed", "step_skipped", "workflow_failed"]
    assert not run.effects


def test_a_value_with_a_nul_character_fails_its_step_and_says_where_it_stands() -> None:
    """No environment can hold it; a shell would see the rest of it cut off, or nothing start at all."""
    run = begun({"a": {"env": {"X": "${{ params.p }}"}}}, params={"p": "a\0b"})
    assert not turn.start_step(run, "a", 5.0, None)
    assert "env.X: a value with a NUL character" in (run.state.steps["a"].error or {})["message"]


def test_an_ended_attempt_frees_its_slot_and_makes_the_next_ready() -> None:
    run = begun(["a", "b"])
    started(run, "a")
    ended(run, "a", output={"x": 1})
    assert (run.freed, run.ended, run.ready) == (1, ["a"], {"b"})


def test_a_failed_attempt_is_woken_at_its_time() -> None:
    run = begun({"a": {"retry": {"attempts": 2, "delay": 10, "jitter": False}}})
    started(run, "a")
    run.effects.clear()
    ended(run, "a", "failed")
    assert run.effects == [WakeStep("a", at(10))]
    turn.handle(run, Woken("a", at(5)), START)
    assert not run.ready
    turn.handle(run, Woken("a", at(10)), START)
    assert run.ready == {"a"}


def test_what_an_ended_attempt_said_of_its_progress_is_forgotten_and_that_of_others_is_not() -> None:
    run = begun({"a": {"needs": []}, "b": {"needs": []}})
    started(run, "a")
    started(run, "b")
    run.progress = {"a": (50.0, "half"), "b": (10.0, None)}
    ended(run, "a")
    assert run.progress == {"b": (10.0, None)}
    assert "step_progressed" not in types(run)


def test_a_turn_is_its_events_numbered_from_the_first_that_is_not_committed() -> None:
    run = begun(["a", "b"])
    started(run, "a")
    run.at = at(3)
    first, rest = run.turns()
    assert first == ("w1", 1, run.job.queued_at, run.events[:1])  # dated as it was asked for
    assert rest == ("w1", 2, at(3), run.events[1:])
    run.events = []
    assert run.turns() == []
    run.at = at(7)
    ended(run, "a")
    assert run.turns() == [("w1", 4, at(7), run.events)]
    assert types(run) == ["step_completed"]


def test_a_job_is_given_back_by_the_state_that_its_first_event_makes() -> None:
    job = a_job("w1", params={"x": 1}, labels={"l": "v"}, key="k", user="ada", trigger="cli", priority=3, parent="w0")
    state = evolve(None, turn.created_event(job), 1, at(0))
    assert turn.job_of(state).as_record() == job.as_record()


def test_a_cancel_stops_what_runs_and_nothing_starts_any_more() -> None:
    run = begun({"a": {"needs": []}, "b": {"needs": []}})
    started(run, "a")
    run.effects.clear()
    turn.handle(run, Signal("cancel", "cancel.1", "ada", "why"), START)
    assert run.effects == [StopAttempt("a")]
    assert not turn.may_start(run, "b")
    assert run.state.steps["b"].status == "cancelled"
    ended(run, "a", "cancelled")
    assert run.state.status == "cancelled"


@pytest.mark.parametrize("verb", ["pause", "cancel", "resume", "retry", "teleport"])
def test_a_signal_is_noted_for_removal_whatever_comes_of_it(verb: str) -> None:
    run = begun()
    for _ in range(2):
        turn.handle(run, Signal(verb, f"{verb}.1"), START)
    assert set(run.signals) == {f"{verb}.1"}
    assert len(run.events) <= 6


def test_a_pause_takes_back_what_was_ready() -> None:
    run = begun(["a", "b"])
    turn.handle(run, Signal("pause", "pause.1"), START)
    assert not turn.may_start(run, "a")
    turn.handle(run, Signal("resume", "resume.1"), START)
    assert turn.may_start(run, "a")


def test_a_known_attempt_is_enough_to_find_and_to_end_it() -> None:
    run = begun({"a": {"timeout": "10m"}})
    attempt = started(run, "a")
    known = turn.known_attempt(run, "a", 5.0)
    for name in ("key", "script", "function", "timeout", "grace", "started_at", "boot"):
        assert getattr(known, name) == getattr(attempt, name), name


def a_story_of_three() -> Run:
    """A completed workflow of `a`, `b` behind it, and `x` beside them."""
    run = begun({"a": {"needs": []}, "b": {"needs": ["a"]}, "x": {"needs": []}})
    for step in ("a", "b", "x"):
        started(run, step)
        ended(run, step)
    assert run.state.status == "completed"
    run.events.clear()
    return run


def test_a_completed_workflow_is_retried_when_steps_of_it_are_chosen() -> None:
    run = a_story_of_three()
    turn.handle(run, Signal("retry", "retry.1"), START)
    assert run.events == []
    turn.handle(run, Signal("retry", "retry.2", "ada", "new data", from_step="a"), START)
    assert run.events == [
        e.WorkflowReopened("ada", "new data", "retry.2", "a"), e.StepReopened("a"), e.StepReopened("b"),
    ]  # fmt: skip
    assert run.ready == {"a"}


def test_a_choice_of_steps_stands_in_the_journal() -> None:
    run = a_story_of_three()
    turn.handle(run, Signal("retry", "retry.1", steps=("b", "x")), START)
    assert run.events == [
        e.WorkflowReopened(signal="retry.1", steps=["b", "x"]), e.StepReopened("b"), e.StepReopened("x"),
    ]  # fmt: skip


@pytest.mark.parametrize("choice", [{"from_step": "nowhere"}, {"steps": ("a", "nowhere")}])
def test_a_retry_of_a_step_that_is_not_there_does_nothing(choice: Any) -> None:
    run = a_story_of_three()
    turn.handle(run, Signal("retry", "retry.1", **choice), START)
    assert (run.events, run.signals) == ([], ["retry.1"])
