"""The tables and `evolve`: totality, final statuses, and that an event without a place changes nothing."""

from __future__ import annotations

from copy import deepcopy
from itertools import product

import pytest
from builders import a_state, at, created
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import IllegalTransitionError
from hybrid_engine.model import events as e
from hybrid_engine.model.state import StepState, WorkflowState
from hybrid_engine.model.words import FINAL_STEP, FINAL_WORKFLOW, STEP_STATUSES, WORKFLOW_STATUSES
from hybrid_engine.rules.transitions import STEP_TABLE, STEPS_MOVE_IN, WORKFLOW_TABLE, evolve, fold

WORKFLOW_EVENTS: dict[str, e.Event] = {
    event.TYPE: event
    for event in (
        e.WorkflowStarted(),
        e.WorkflowPaused("ada", "pause.1"),
        e.WorkflowResumed("ada", "resume.1"),
        e.CancelRequested("ada", "because", "cancel.1"),
        e.WorkflowCompleted(),
        e.WorkflowFailed({"kind": "step"}),
        e.WorkflowCancelled(),
        e.WorkflowReopened("ada", "retry.1"),
    )
}
STEP_EVENTS: dict[str, e.StepEvent] = {
    event.TYPE: event
    for event in (
        e.StepStarted("one", 3),
        e.StepProgressed("one", 2, 50.0, "half"),
        e.StepCompleted("one", 2, {"rows": 7}, 0),
        e.StepRetryScheduled("one", 2, at(60), {"kind": "exit"}, 1),
        e.StepFailed("one", 2, {"kind": "exit"}, 1),
        e.StepSkipped("one", "condition"),
        e.StepCancelled("one", 2),
        e.StepReopened("one"),
    )
}


def a_state_in(status: str, step: str = "pending") -> WorkflowState:
    """A state of any status with a step of any status, in its second attempt, reachable or not."""
    state = a_state()
    state.status = status
    state.started_at = None if status == "queued" else at(1)
    state.steps["one"] = StepState(status=step, attempt=2)
    state.done = int(step in FINAL_STEP)
    state.active = int(step == "running")
    return state


def test_every_event_is_in_one_of_the_two_lists_here_or_is_the_first_of_a_workflow() -> None:
    assert {*WORKFLOW_EVENTS, *STEP_EVENTS, "workflow_created"} == set(e.EVENT_TYPES)


def test_the_tables_name_only_known_statuses_and_events() -> None:
    assert {status for status, _ in WORKFLOW_TABLE} | set(WORKFLOW_TABLE.values()) <= set(WORKFLOW_STATUSES)
    assert {status for status, _ in STEP_TABLE} | set(STEP_TABLE.values()) <= set(STEP_STATUSES)
    assert {event for _, event in WORKFLOW_TABLE} == set(WORKFLOW_EVENTS)
    assert {event for _, event in STEP_TABLE} == set(STEP_EVENTS)


@pytest.mark.parametrize(("status", "type_"), [*product(WORKFLOW_STATUSES, WORKFLOW_EVENTS)])
def test_a_workflow_event_moves_as_the_table_says_or_is_illegal_and_changes_nothing(status: str, type_: str) -> None:
    state = a_state_in(status)
    before = deepcopy(state)
    expected = WORKFLOW_TABLE.get((status, type_))
    if expected is None:
        with pytest.raises(IllegalTransitionError):
            evolve(state, WORKFLOW_EVENTS[type_], 2, at(2))
        assert state == before
    else:
        evolve(state, WORKFLOW_EVENTS[type_], 2, at(2))
        assert (state.status, state.seq, state.updated_at) == (expected, 2, at(2))


@pytest.mark.parametrize(("status", "step", "type_"), [*product(WORKFLOW_STATUSES, STEP_STATUSES, STEP_EVENTS)])
def test_a_step_event_moves_as_the_table_says_or_is_illegal_and_changes_nothing(
    status: str, step: str, type_: str
) -> None:
    state = a_state_in(status, step)
    before = deepcopy(state)
    moves = status in STEPS_MOVE_IN or (status == "queued" and type_ == "step_cancelled")
    expected = STEP_TABLE.get((step, type_)) if moves else None
    if expected is None:
        with pytest.raises(IllegalTransitionError):
            evolve(state, STEP_EVENTS[type_], 2, at(2))
        assert state == before
    else:
        evolve(state, STEP_EVENTS[type_], 2, at(2))
        assert state.steps["one"].status == expected
        assert state.status == status
        assert state.done == (expected in FINAL_STEP)
        assert state.active == (expected == "running")


@pytest.mark.parametrize("status", sorted(FINAL_WORKFLOW))
def test_a_final_workflow_is_left_only_by_being_reopened(status: str) -> None:
    assert [type_ for found, type_ in WORKFLOW_TABLE if found == status] == ["workflow_reopened"]


@pytest.mark.parametrize("status", sorted(FINAL_STEP))
def test_a_final_step_is_left_only_by_being_reopened(status: str) -> None:
    assert [type_ for found, type_ in STEP_TABLE if found == status] == ["step_reopened"]


def test_every_status_that_is_not_final_has_a_way_to_a_final_one() -> None:
    for table, statuses, final in (
        (WORKFLOW_TABLE, WORKFLOW_STATUSES, FINAL_WORKFLOW),
        (STEP_TABLE, STEP_STATUSES, FINAL_STEP),
    ):
        for status in set(statuses) - final:
            assert any(found == status and to in final for (found, _), to in table.items()), status


# --- single facts ---------------------------------------------------------------------------------------------------


def test_the_first_event_creates_and_no_other_does() -> None:
    with pytest.raises(IllegalTransitionError):
        evolve(None, e.WorkflowStarted(), 1, at(0))
    state = evolve(None, created(), 1, at(0))
    before = deepcopy(state)
    with pytest.raises(IllegalTransitionError):
        evolve(state, created(), 2, at(1))
    assert state == before


@pytest.mark.parametrize("event", [e.StepCompleted("one", 1), e.StepStarted("one", 2), e.StepStarted("one", 4)])
def test_an_event_of_another_attempt_than_the_current_one_is_illegal(event: e.StepEvent) -> None:
    state = a_state_in("running", "pending" if isinstance(event, e.StepStarted) else "running")
    before = deepcopy(state)
    with pytest.raises(IllegalTransitionError):
        evolve(state, event, 2, at(2))
    assert state == before


def test_a_paused_workflow_that_had_not_started_is_queued_again_when_resumed() -> None:
    assert a_state(e.WorkflowPaused(), e.WorkflowResumed()).status == "queued"
    assert a_state(e.WorkflowStarted(), e.WorkflowPaused(), e.WorkflowResumed()).status == "running"


def test_a_reopened_step_forgets_how_it_ended_and_counts_its_attempts_on() -> None:
    state = a_state(
        e.WorkflowStarted(),
        e.StepStarted("one", 1),
        e.StepRetryScheduled("one", 1, at(9), {"kind": "lost"}, None, True),
        e.StepStarted("one", 2),
        e.StepFailed("one", 2, {"kind": "exit"}, 3),
        e.WorkflowFailed({"kind": "step"}),
        e.WorkflowReopened(),
        e.StepReopened("one"),
    )
    assert state.steps["one"] == StepState(status="pending", attempt=2, reopened_at_attempt=2)
    assert (state.status, state.error, state.ended_at, state.done) == ("running", None, None, 0)
    evolve(state, e.StepStarted("one", 3), 10, at(10))
    assert state.steps["one"].attempt == 3


def test_only_the_latest_signals_are_remembered() -> None:
    events: list[e.Event] = [e.WorkflowStarted()]
    for number in range(20):
        events += [e.WorkflowPaused(signal=f"pause.{number}"), e.WorkflowResumed(signal=f"resume.{number}")]
    remembered = a_state(*events).signals
    assert len(remembered) == 16
    assert remembered[-1] == "resume.19"


@given(st.data())
def test_no_story_however_wild_changes_a_state_by_an_illegal_event(data: st.DataObject) -> None:
    """Any events in any order: each is folded in as its table says, or refused with the state as it was."""
    state = a_state(steps=("one", "two"))
    alphabet = list(WORKFLOW_EVENTS.values())
    for n in range(2, data.draw(st.integers(2, 30))):
        step = data.draw(st.sampled_from(("one", "two")))
        attempt = state.steps[step].attempt
        steps: list[e.Event] = [
            e.StepStarted(step, attempt + data.draw(st.integers(0, 2))), e.StepProgressed(step, attempt, 1.0),
            e.StepCompleted(step, attempt, n), e.StepRetryScheduled(step, attempt, at(n)), e.StepFailed(step, attempt),
            e.StepSkipped(step, "upstream"), e.StepCancelled(step, attempt), e.StepReopened(step),
        ]  # fmt: skip
        event = data.draw(st.sampled_from(alphabet + steps))
        before = deepcopy(state)
        try:
            evolve(state, event, n, at(n))
        except IllegalTransitionError:
            assert state == before
        else:
            assert state.seq == n
        assert state.done == sum(found.is_final for found in state.steps.values())
        assert state.active == sum(found.status == "running" for found in state.steps.values())


def test_folding_in_two_pieces_is_folding_at_once() -> None:
    story = [created(), e.WorkflowStarted(), e.StepStarted("one", 1), e.StepCompleted("one", 1), e.WorkflowCompleted()]
    entries = [(n, at(n), event) for n, event in enumerate(story, 1)]
    whole = fold(entries)
    for cut in range(len(entries)):
        assert fold(entries[cut:], fold(entries[:cut])) == whole
