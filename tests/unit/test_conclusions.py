"""`conclude`: every kind of outcome against every state of its step."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from builders import START, a_state, a_template, at
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.model import events as e
from hybrid_engine.model.attempt import Outcome, OutcomeKind
from hybrid_engine.rules.conclusions import conclude

RUNNING = (e.WorkflowStarted(), e.StepStarted("one", 1))


def concluded(outcome: Outcome, *events: e.Event, **step: Any) -> e.Event | None:
    definition = a_template({"one": step}).steps["one"]
    return conclude(a_state(*(events or RUNNING)), definition, outcome, START)


def an_outcome(kind: str = "failed", number: int = 1, **fields: Any) -> Outcome:
    return Outcome("w1", "one", number, kind, **fields)  # type: ignore[arg-type]


def test_a_success_is_one() -> None:
    found = concluded(an_outcome("completed", output={"rows": 7}, exit_code=0))
    assert found == e.StepCompleted("one", 1, {"rows": 7}, 0)


@pytest.mark.parametrize("kind", ["failed", "timeout", "lost"])
def test_without_a_retry_a_failure_is_final(kind: str) -> None:
    found = concluded(an_outcome(kind, error={"kind": kind, "message": "no"}, exit_code=3), retry={"lost": 0})
    assert found == e.StepFailed("one", 1, {"kind": kind, "message": "no"}, 3)


def test_a_failure_without_words_gets_some() -> None:
    found = concluded(an_outcome("timeout"))
    assert isinstance(found, e.StepFailed)
    assert found.error == {"kind": "timeout", "message": "the attempt ended as timeout"}


def test_a_failure_is_followed_by_another_attempt_as_the_policy_says() -> None:
    retry = {"attempts": 3, "delay": 10, "factor": 3, "jitter": False}
    assert concluded(an_outcome(exit_code=1), retry=retry) == e.StepRetryScheduled(
        "one", 1, at(10), {"kind": "failed", "message": "the attempt ended as failed"}, 1, False
    )
    second = (*RUNNING, e.StepRetryScheduled("one", 1, at(10)), e.StepStarted("one", 2))
    found = concluded(an_outcome(number=2), *second, retry=retry)
    assert isinstance(found, e.StepRetryScheduled)
    assert found.retry_at == at(30)
    third = (*second, e.StepRetryScheduled("one", 2, at(30)), e.StepStarted("one", 3))
    assert isinstance(concluded(an_outcome(number=3), *third, retry=retry), e.StepFailed)


def test_a_lost_attempt_is_made_again_at_once_and_uses_up_no_other() -> None:
    found = concluded(an_outcome("lost"), retry={"attempts": 1, "lost": 2})
    assert isinstance(found, e.StepRetryScheduled)
    assert (found.retry_at, found.lost) == (at(0), True)
    lost = (*RUNNING, e.StepRetryScheduled("one", 1, at(0), {}, None, True), e.StepStarted("one", 2))
    assert isinstance(concluded(an_outcome(number=2), *lost, retry={"attempts": 1, "lost": 2}), e.StepFailed)
    assert isinstance(concluded(an_outcome(number=2), *lost, retry={"attempts": 2, "lost": 2}), e.StepRetryScheduled)


def test_a_lost_attempt_does_not_lengthen_the_next_delay() -> None:
    retry = {"attempts": 5, "delay": 10, "factor": 3, "jitter": False, "max_delay": "1h"}
    lost = (
        *RUNNING, e.StepRetryScheduled("one", 1, at(0), {}, None, True), e.StepStarted("one", 2),
        e.StepRetryScheduled("one", 2, at(0), {}, None, True), e.StepStarted("one", 3),
    )  # fmt: skip
    first_failure = concluded(an_outcome(number=3, exit_code=1), *lost, retry=retry)
    assert isinstance(first_failure, e.StepRetryScheduled)
    assert first_failure.retry_at == at(10)
    again = (*lost, first_failure, e.StepStarted("one", 4))
    second_failure = concluded(an_outcome(number=4, exit_code=1), *again, retry=retry)
    assert isinstance(second_failure, e.StepRetryScheduled)
    assert second_failure.retry_at == at(30)


def test_lost_attempts_after_a_retry_by_hand_are_counted_anew() -> None:
    story = (
        *RUNNING, e.StepRetryScheduled("one", 1, at(0), {}, None, True), e.StepStarted("one", 2),
        e.StepFailed("one", 2),
        e.WorkflowFailed(), e.WorkflowReopened(), e.StepReopened("one"), e.StepStarted("one", 3),
    )  # fmt: skip
    retry = {"attempts": 5, "delay": 10, "factor": 3, "jitter": False, "lost": 1}
    failure = concluded(an_outcome(number=3, exit_code=1), *story, retry=retry)
    assert isinstance(failure, e.StepRetryScheduled)
    assert failure.retry_at == at(10)
    assert isinstance(concluded(an_outcome("lost", number=3), *story, retry=retry), e.StepRetryScheduled)


def test_an_attempt_is_lost_only_so_often() -> None:
    events: tuple[e.Event, ...] = RUNNING
    for number in (1, 2):
        found = concluded(an_outcome("lost", number), *events, retry={"lost": 2})
        assert isinstance(found, e.StepRetryScheduled)
        events = (*events, found, e.StepStarted("one", number + 1))
    assert isinstance(concluded(an_outcome("lost", 3), *events, retry={"lost": 2}), e.StepFailed)


def test_only_the_exit_codes_that_the_policy_names_are_tried_again() -> None:
    retry = {"attempts": 3, "on": [75, 111]}
    assert isinstance(concluded(an_outcome(exit_code=75), retry=retry), e.StepRetryScheduled)
    assert isinstance(concluded(an_outcome(exit_code=1), retry=retry), e.StepFailed)
    assert isinstance(concluded(an_outcome("timeout"), retry=retry), e.StepFailed)


@pytest.mark.parametrize("kind", ["failed", "timeout", "lost", "cancelled"])
def test_whatever_does_not_succeed_after_a_cancellation_is_cancelled(kind: str) -> None:
    events = (*RUNNING, e.CancelRequested())
    assert concluded(an_outcome(kind), *events, retry={"attempts": 5}) == e.StepCancelled("one", 1)


def test_a_success_against_a_cancellation_is_still_a_success() -> None:
    assert isinstance(concluded(an_outcome("completed"), *RUNNING, e.CancelRequested()), e.StepCompleted)


def test_attempts_are_counted_anew_after_a_retry_by_hand() -> None:
    again = (
        *RUNNING, e.StepFailed("one", 1), e.WorkflowFailed(), e.WorkflowReopened(), e.StepReopened("one"),
        e.StepStarted("one", 2),
    )  # fmt: skip
    found = concluded(an_outcome(number=2), *again, retry={"attempts": 2, "delay": 10, "jitter": False})
    assert isinstance(found, e.StepRetryScheduled)
    assert found.retry_at == at(10)


ENDS = {
    "pending": (e.WorkflowStarted(),),
    "retrying": (*RUNNING, e.StepRetryScheduled("one", 1, at(9))),
    "completed": (*RUNNING, e.StepCompleted("one", 1)),
    "failed": (*RUNNING, e.StepFailed("one", 1)),
    "cancelled": (*RUNNING, e.StepCancelled("one", 1)),
    "skipped": (e.WorkflowStarted(), e.StepSkipped("one", "condition")),
}


@pytest.mark.parametrize("kind", get_args(OutcomeKind))
@pytest.mark.parametrize("status", ENDS)
def test_a_result_that_comes_when_nothing_runs_changes_nothing(status: str, kind: str) -> None:
    assert concluded(an_outcome(kind), *ENDS[status]) is None


@given(st.sampled_from(get_args(OutcomeKind)), st.integers(-1, 5))
def test_a_result_of_another_attempt_changes_nothing(kind: str, number: int) -> None:
    second = (*RUNNING, e.StepRetryScheduled("one", 1, at(0)), e.StepStarted("one", 2))
    found = concluded(an_outcome(kind, number), *second)
    assert (found is None) == (number != 2)


def test_a_result_of_an_unknown_step_changes_nothing() -> None:
    outcome = Outcome("w1", "two", 1, "completed")
    assert conclude(a_state(*RUNNING), a_template().steps["one"], outcome, START) is None
