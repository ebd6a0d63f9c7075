"""Long journals: looking at them and going on with them does not take folding all of it, and gives the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast
from zlib import crc32

import pytest
from homes import a_home, a_workflow, commit

from hybrid_engine.errors import JournalError
from hybrid_engine.files import journal, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.reader import FileReader
from hybrid_engine.files.records import folded
from hybrid_engine.files.snapshot import EVERY, Snapshots
from hybrid_engine.files.snapshot import read as read_snapshot
from hybrid_engine.files.store import FileStore
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model import events as e
from hybrid_engine.rules.transitions import evolve, fold

if TYPE_CHECKING:
    from hybrid_engine.files.log.commit_log import FileLog

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


# --- snapshots --------------------------------------------------------------------------------------------------------


class NoLog:
    """A log with nothing in it."""

    def settle(self, workflow: str) -> None:
        pass


def a_store(layout: Layout) -> FileStore:
    return FileStore(layout, TemplateStore(layout), cast("FileLog", NoLog()))


def loaded(layout: Layout) -> tuple[bytes, int]:
    """The view of what the store tells of it, and how many events had to be folded by the engine for that."""
    history = a_store(layout).history("w1")
    assert history is not None
    state = fold(history.entries, history.base)
    assert state is not None
    return views.render_state(views.state_record(state)), len(history.entries)


def add(layout: Layout, first: int, *events: e.Event) -> None:
    with open(layout.journal("w1"), "ab") as file:
        file.write(journal.encode(first, "2026-11-20T09:00:00.000000Z", events))


LONG_ENOUGH = 700
LAST = 2 + 3 * LONG_ENOUGH


@pytest.fixture
def long(layout: Layout) -> Layout:
    """Loaded once by an engine."""
    a_workflow(layout, "w1", *a_long_story(LONG_ENOUGH))
    assert loaded(layout) == (Path(layout.state("w1")).read_bytes(), 0)
    return layout


def test_of_a_long_journal_only_what_is_behind_its_snapshot_is_decoded(long: Layout) -> None:
    decoded: list[int] = []
    parse = journal.parse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "parse", lambda data, start=0, known=0: count(decoded, parse(data, start, known)))
        assert loaded(long)[0] == Path(long.state("w1")).read_bytes()
        add(long, LAST + 1, e.WorkflowPaused("ada"))
        with_snapshot = loaded(long)
    assert sum(decoded) <= 5
    Path(long.snapshot("w1")).unlink()
    assert loaded(long)[0] == with_snapshot[0]


def count(decoded: list[int], reading: journal.Reading) -> journal.Reading:
    decoded.append(len(reading.entries))
    return reading


def test_a_short_journal_gets_no_snapshot(layout: Layout) -> None:
    a_workflow(layout, "w1", *a_long_story(10))
    loaded(layout)
    assert not Path(layout.snapshot("w1")).exists()


@pytest.mark.parametrize("wrong", ["cut", "changed", "of another program", "a folder", "empty"])
def test_a_snapshot_that_is_not_whole_is_ignored(long: Layout, wrong: str) -> None:
    path = Path(long.snapshot("w1"))
    data = path.read_bytes()
    path.unlink()
    if wrong == "a folder":
        path.mkdir()
    elif wrong == "of another program":
        body = data[:-19].replace(b'"by":"', b'"by":"9') + b"}"
        path.write_bytes(b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body)))
    else:
        changed = data.replace(b'"running"', b'"retried"')
        path.write_bytes({"cut": data[:-30], "changed": changed, "empty": b""}[wrong])
    assert loaded(long)[0] == Path(long.state("w1")).read_bytes()


def test_a_snapshot_of_other_bytes_is_ignored_so_damage_in_front_of_it_is_seen(long: Layout) -> None:
    path = Path(long.journal("w1"))
    path.write_bytes(path.read_bytes().replace(b'"n":5', b'"n":6', 1))
    with pytest.raises(JournalError, match="line 5 is bad"):
        loaded(long)


def test_a_snapshot_of_more_than_the_journal_has_is_ignored(long: Layout) -> None:
    path = Path(long.journal("w1"))
    path.write_bytes(path.read_bytes()[: -len(path.read_bytes().splitlines(keepends=True)[-1])])
    state = folded(journal.read(str(path)))
    assert state is not None
    assert loaded(long)[0] == views.render_state(views.state_record(state))


def test_behind_a_snapshot_a_torn_tail_is_cut_and_damage_is_an_error(long: Layout) -> None:
    path = Path(long.journal("w1"))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"n":')
    assert loaded(long)[0] == Path(long.state("w1")).read_bytes()
    assert path.read_bytes() == whole
    line = b'{"n":%d' % (LAST + 1)
    add(long, LAST + 1, e.WorkflowPaused("ada"))
    add(long, LAST + 2, e.WorkflowResumed("ada"))
    path.write_bytes(path.read_bytes().replace(line, line + b"0"))
    with pytest.raises(JournalError, match=f"line {LAST + 1} is bad"):
        loaded(long)


def test_the_last_event_is_known_whether_it_is_folded_already_or_not(long: Layout) -> None:
    history = a_store(long).history("w1")
    assert history is not None and isinstance(history.last, e.StepRetryScheduled)
    add(long, LAST + 1, e.WorkflowPaused("ada"))
    history = a_store(long).history("w1")
    assert history is not None and isinstance(history.last, e.WorkflowPaused)


def test_a_long_journal_that_tells_an_impossible_story_is_an_error(layout: Layout) -> None:
    a_workflow(layout, "w1", *a_long_story(LONG_ENOUGH))
    add(layout, LAST + 1, e.StepCompleted("one", 1))
    with pytest.raises(JournalError, match="impossible story"):
        loaded(layout)


def test_a_snapshot_is_written_as_the_journal_grows(layout: Layout) -> None:
    a_workflow(layout, "w1", e.WorkflowStarted())
    snapshots, state = Snapshots(layout), folded(journal.read(layout.journal("w1")))
    assert state is not None
    written = []
    for attempt in range(1, 2 * LONG_ENOUGH):
        events = [e.StepStarted("one", attempt), e.StepRetryScheduled("one", attempt, "then", {"message": NOTE * 3})]
        add(layout, state.seq + 1, *events)
        for event in events:
            evolve(state, event, state.seq + 1, "2026-11-20T09:00:00.000000Z")
        snapshots.grown(state)
        found = read_snapshot(layout, "w1", Path(layout.journal("w1")).read_bytes())
        if found is not None and found.size not in written:
            written.append(found.size)
            assert found.state == state
    size = Path(layout.journal("w1")).stat().st_size
    assert len(written) == size // EVERY
    Path(layout.snapshot("w1")).unlink()
    add(layout, state.seq + 1, e.StepStarted("one", 2 * LONG_ENOUGH))
    Snapshots(layout).grown(state)  # the journal is ahead of this state
    assert not Path(layout.snapshot("w1")).exists()
