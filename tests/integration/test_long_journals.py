"""Long journals: looking at them and going on with them does not take folding all of it, and gives the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from homes import a_home, a_workflow, commit

from hybrid_engine.errors import JournalError
from hybrid_engine.files import journal, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.reader import FileReader
from hybrid_engine.files.records import folded
from hybrid_engine.model import events as e

NOTE = "x" * 100
ROUNDS = 300


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return a_home(tmp_path)


def a_long_story(rounds: int = ROUNDS) -> Iterator[e.Event]:
    """A step that fails, is retried and waits for the next attempt: three events in a round."""
    yield e.WorkflowStarted()
    for attempt in range(1, rounds + 1):
        yield e.StepStarted("one", attempt)
        yield e.StepProgressed("one", attempt, 50, NOTE)
        yield e.StepRetryScheduled("one", attempt, "2026-11-20T09:00:00.000000Z", {"kind": "exit", "message": NOTE})


@pytest.fixture
def folding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How long the journals are that are decoded as a whole."""
    found: list[int] = []
    parse = journal.parse
    monkeypatch.setattr(journal, "parse", lambda data, *rest: (found.append(len(data)), parse(data, *rest))[1])
    return found


def test_the_view_of_a_long_journal_is_its_record_and_nothing_is_folded(layout: Layout, folding: list[int]) -> None:
    a_workflow(layout, "w1", *a_long_story())
    reader = FileReader(layout)
    shown = reader.record("w1")
    assert folding == []
    Path(layout.state("w1")).unlink()
    assert reader.record("w1") == shown
    assert len(folding) == 1


@pytest.mark.parametrize("wrong", ["late", "torn", "of another", "with less", "no object"])
def test_a_view_that_is_not_as_new_and_whole_is_not_believed(layout: Layout, folding: list[int], wrong: str) -> None:
    a_workflow(layout, "w1", *a_long_story())
    reader = FileReader(layout)
    shown = reader.record("w1")
    view = Path(layout.state("w1")).read_bytes()
    damaged = {
        "late": view.replace(b'"seq": 902', b'"seq": 901').replace(b'"status": "running"', b'"status": "paused"'),
        "torn": view[:200],
        "of another": view.replace(b'"id": "w1"', b'"id": "w2"'),
        "with less": view.replace(b'  "signals": [],\n', b""),
        "no object": b"[]",
    }
    assert damaged[wrong] != view
    Path(layout.state("w1")).write_bytes(damaged[wrong])
    assert reader.record("w1") == shown
    assert len(folding) == 1


def test_what_the_log_holds_beyond_a_long_journal_is_shown(layout: Layout, folding: list[int]) -> None:
    story = [*a_long_story(), e.WorkflowPaused("ada")]
    a_workflow(layout, "w1", *story[:-1])
    commit(layout, "w1", *story, after=len(story))
    record = FileReader(layout).record("w1")
    assert record is not None
    assert (record["status"], len(folding)) == ("paused", 1)


@pytest.mark.parametrize("ending", [b"garbage", b"garbage\n"])
def test_a_long_journal_with_a_bad_end_is_read_as_a_whole(layout: Layout, folding: list[int], ending: bytes) -> None:
    a_workflow(layout, "w1", *a_long_story())
    with open(layout.journal("w1"), "ab") as file:
        file.write(ending)
    record = FileReader(layout).record("w1")
    assert record is not None
    assert (record["seq"], len(folding)) == (902, 1)


def test_a_damaged_long_journal_whose_view_is_late_is_an_error(layout: Layout) -> None:
    a_workflow(layout, "w1", *a_long_story(), view=False)
    data = Path(layout.journal("w1")).read_bytes()
    Path(layout.journal("w1")).write_bytes(data.replace(b'"n":5', b'"n":6', 1))
    with pytest.raises(JournalError, match="line 5 is bad"):
        FileReader(layout).record("w1")


def test_steps_of_a_long_journal_come_in_the_order_of_their_template(layout: Layout, folding: list[int]) -> None:
    a_workflow(layout, "w1", *a_long_story())
    path, moment = Path(layout.journal("w1")), "2026-11-20T08:00:00.000000Z"
    first = e.WorkflowCreated("w1", "report", "v1", moment, moment, steps=["one", "b", "a"])
    path.write_bytes(journal.encode(1, moment, [first]) + path.read_bytes().partition(b"\n")[2])
    state = folded(journal.read(str(path)))
    assert state is not None
    Path(layout.state("w1")).write_bytes(views.render_state(views.state_record(state)))
    folding.clear()
    shown = FileReader(layout).record("w1")
    assert shown is not None
    assert (list(shown["steps"]), folding) == (["one", "b", "a"], [])


def test_requests_are_found_in_a_long_journal_without_decoding_the_rest(layout: Layout, folding: list[int]) -> None:
    a_workflow(layout, "w1", *a_long_story(), e.CancelRequested("ada", "enough"))
    found = FileReader(layout).requests("w1")
    assert [(one["type"], one["by"], one["reason"]) for one in found] == [("cancel_requested", "ada", "enough")]
    assert folding == []
