"""`state.json` and `queue-state.json`: JSON, byte-stable, one thing a line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import a_job, a_state, a_template, at, created
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.engine.turn import created_event
from hybrid_engine.files import journal
from hybrid_engine.files.queue import created_line
from hybrid_engine.files.views import (
    queue_entry,
    queue_line,
    queued_record,
    render_progress,
    render_queue,
    render_state,
    state_record,
)
from hybrid_engine.model import events as e
from hybrid_engine.model.waits import FOR_A_DAEMON, FOR_A_SLOT, Wait, sentence
from hybrid_engine.rules.transitions import evolve

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RUNNING = (e.WorkflowStarted(), e.StepStarted("one", 1))


@given(JSON, JSON)
def test_a_state_is_json_and_says_what_is_in_it(params: Any, output: Any) -> None:
    state = a_state(*RUNNING, e.StepCompleted("one", 1, output), params={"p": params})
    data = render_state(state_record(state))
    found = json.loads(data.decode("utf-8"))
    assert found["params"] == {"p": params}
    assert found["steps"]["one"].get("output") == output


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5), st.randoms())
def test_the_same_state_gives_the_same_bytes_however_it_was_put_together(params: dict[str, Any], dice: Any) -> None:
    shuffled = list(params.items())
    dice.shuffle(shuffled)
    one, other = a_state(params=params), a_state(params=dict(shuffled))
    assert render_state(state_record(one)) == render_state(state_record(other))


def test_a_state_has_a_field_a_line_and_a_step_a_line_in_order() -> None:
    lines = render_state(state_record(a_state(steps=("b", "a")))).decode().splitlines()
    names = [line.strip().split('"')[1] for line in lines if line.startswith('  "')]
    assert names == sorted(names)
    steps = [line.strip().split('"')[1] for line in lines if line.startswith('    "')]
    assert steps == ["a", "b"]


def test_a_changed_step_changes_few_lines() -> None:
    state = a_state(e.WorkflowStarted(), steps=[f"s{n}" for n in range(50)])
    before = render_state(state_record(state)).splitlines()
    evolve(state, e.StepStarted("s7", 1), 3, at(9))
    after = render_state(state_record(state)).splitlines()
    changed = [new for old, new in zip(before, after) if old != new]
    assert len(before) == len(after)
    assert len(changed) == 3  # the step, seq and updated_at


def test_a_job_that_has_not_begun_looks_as_its_first_event_would_make_it() -> None:
    template = a_template(["a", "b"])
    job = a_job("w1", template, params={"x": 1}, labels={"l": "v"}, key="k", user="ada", source="a.json", priority=3)
    queued = queued_record(job)
    event = created(
        "w1", ["a", "b"], template="report", version=template.version, params={"x": 1}, labels={"l": "v"}, key="k",
        user="ada", source="a.json", priority=3,
    )  # fmt: skip
    begun = evolve(None, event, 1, at(0))
    assert queued == state_record(begun)
    assert render_state(queued) == render_state(state_record(begun))


@pytest.mark.parametrize(
    ("events", "percent"),
    [
        ((), 0), (RUNNING, 0), ((*RUNNING, e.StepProgressed("one", 1, 50.0)), 25),
        ((*RUNNING, e.StepProgressed("one", 1, 99.9), e.StepCompleted("one", 1)), 50),
        ((*RUNNING, e.StepProgressed("one", 1, 50.0), e.StepRetryScheduled("one", 1, at(9))), 0),
    ],
)  # fmt: skip
def test_the_progress_of_a_workflow_is_that_of_its_steps(events: tuple[e.Event, ...], percent: int) -> None:
    progress = state_record(a_state(*events, steps=("one", "two")))["progress"]
    assert progress["percent"] == percent
    assert progress["total"] == 2


def test_a_queue_has_a_job_a_line_and_is_json() -> None:
    lines = [queue_line(queue_entry(a_job(f"w{n}", labels={"a": 'x"y\n'}), "queued", FOR_A_SLOT)) for n in range(3)]
    data = render_queue({"counts": {"total": 3}, "updated_at": at(0)}, lines)
    found = json.loads(data)
    assert [job["id"] for job in found["jobs"]] == ["w0", "w1", "w2"]
    assert found["format"] == 1
    assert {(job["wait"]["kind"], job["waits_for"]) for job in found["jobs"]} == {("slot", "a free slot")}
    assert sum(line.startswith(b'{"due_at"') for line in data.splitlines()) == 3
    assert json.loads(render_queue({"counts": {}}, []))["jobs"] == []


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        (None, None), (FOR_A_SLOT, "a free slot"), (FOR_A_DAEMON, "a daemon"), (Wait("pool", "db"), "pool db"),
        (Wait("due", until=at(1)), f"due time {at(1)}"), (Wait("retry", until=at(1)), f"retry at {at(1)}"),
        (Wait("person", reason="look"), "a person: look"), (Wait("person"), "a person"),
        (Wait("disk", reason="full"), "the disk: full"),
    ],
)  # fmt: skip
def test_a_line_of_the_queue_says_what_a_job_waits_for_to_people_and_to_programs(wait: Wait | None, told: str) -> None:
    entry = queue_entry(a_job("w1"), "queued", wait, 7)
    assert (entry["waits_for"], sentence(wait), entry["size"]) == (told, told, 7)
    assert entry["wait"] is None if wait is None else Wait(**entry["wait"]) == wait


def test_progress_is_json_with_a_step_a_line_in_order() -> None:
    data = render_progress({"b": (100.0, None), "a": (12.5, 'x"y\n')})
    assert json.loads(data) == {
        "format": 1,
        "steps": {"a": {"percent": 12.5, "message": 'x"y\n'}, "b": {"percent": 100.0, "message": None}},
    }
    assert [line.split(b'"')[1] for line in data.splitlines() if line.startswith(b"    ")] == [b"a", b"b"]


@given(st.text(), st.dictionaries(st.text(max_size=5), JSON, max_size=5), st.sampled_from((None, "k")))
def test_the_first_line_of_a_journal_is_the_same_whoever_writes_it(
    user: str, params: dict[str, Any], key: str | None
) -> None:
    """`hybrid enqueue` makes it without loading what the engine makes it with."""
    job = a_job("w1", user=user, params=params, key=key, labels={"a": "b"} if key else {}, priority=3 if key else 0)
    assert created_line(job, at(7)) == journal.encode(1, at(7), [created_event(job)])
