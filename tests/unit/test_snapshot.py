"""Snapshots of long journals: with one and without, a story adds up to the same."""

from __future__ import annotations

from random import Random
from zlib import crc32

from builders import at, created
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import IllegalTransitionError
from hybrid_engine.files import journal, snapshot, views
from hybrid_engine.model import events as e
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.words import Json
from hybrid_engine.rules.transitions import evolve, fold

VALUES: tuple[Json, ...] = (None, 0, 0.1, True, "ä\n\ud800", [1, [None]], {"b": {"a": 1}, "": []})


def a_story(dice: Random, length: int) -> list[e.Event]:
    """A legal story, whatever it tells."""
    first = created(steps=("two", "one"), params={"z": dice.choice(VALUES), "a": 1}, labels={"l": "v"})
    story: list[e.Event] = [first]
    state = fold([(1, at(1), first)])
    assert state is not None
    for n in range(2, 2 + length):
        event = dice.choice(_possible(dice, state, dice.choice(("one", "two", "one.1")), f"s{n}"))
        try:
            evolve(state, event, len(story) + 1, at(len(story) + 1))
        except IllegalTransitionError:
            continue
        story.append(event)
    return story


def _possible(dice: Random, state: WorkflowState, step: str, signal: str) -> list[e.Event]:
    attempt = state.steps[step].attempt if step in state.steps else 0
    error: dict[str, Json] = {"kind": "exit", "message": "m", "value": dice.choice(VALUES)}
    return [
        e.WorkflowStarted(), e.WorkflowPaused("ada", None, signal), e.WorkflowResumed(signal=signal),
        e.CancelRequested("ada", "r", signal), e.WorkflowFailed(error), e.WorkflowReopened(signal=signal),
        e.StepStarted(step, attempt + 1, "boot"), e.StepStarted(step, attempt + 1),
        e.StepProgressed(step, attempt, dice.choice((0.0, 12.5)), "half"),
        e.StepCompleted(step, attempt, dice.choice(VALUES), 0),
        e.StepRetryScheduled(step, attempt, at(9), error, 1, True),
        e.StepFailed(step, attempt, error, 1), e.StepSkipped(step, "upstream", "one"), e.StepCancelled(step, attempt),
        e.StepReopened(step),
    ]  # fmt: skip


@given(st.integers(0, 1 << 32), st.integers(0, 60))
def test_a_story_goes_on_from_a_snapshot_as_if_it_had_been_folded_whole(seed: int, length: int) -> None:
    """Law 1: the same bytes of the view, with and without a snapshot, wherever it was taken."""
    dice = Random(seed)
    story = a_story(dice, length)
    lines = [journal.encode(n, at(n), [event]) for n, event in enumerate(story, 1)]
    data = b"".join(lines)
    entries = [(entry.n, entry.at, entry.event) for entry in journal.parse(data).entries]
    assert len(entries) == len(story)
    cut = dice.randint(1, len(story))
    size = len(b"".join(lines[:cut]))
    before = fold(entries[:cut])
    assert before is not None
    found = snapshot.parse(snapshot.render(before, size, crc32(data[:size])), data)
    assert found is not None
    assert (found.state, found.size, found.last) == (before, size, entries[cut - 1][2])
    rest = journal.parse(data, found.size, found.state.seq)
    assert rest.n == len(story)
    assert rendered(fold(((x.n, x.at, x.event) for x in rest.entries), found.state)) == rendered(fold(entries))


def rendered(state: WorkflowState | None) -> bytes:
    assert state is not None
    return views.render_state(views.state_record(state))


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_bytes_at_all_are_a_snapshot_or_make_the_reader_fail(data: bytes, journal_data: bytes) -> None:
    assert snapshot.parse(data, journal_data) is None
    body = b'{"format":1' + data + b"}"
    assert snapshot.parse(b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body)), journal_data) is None


def test_no_flipped_byte_of_a_snapshot_goes_unnoticed() -> None:
    first = created()
    data = journal.encode(1, at(1), [first])
    state = fold([(1, at(1), first)])
    assert state is not None
    whole = snapshot.render(state, len(data), crc32(data))
    assert snapshot.parse(whole, data) is not None
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        assert snapshot.parse(bytes(changed), data) is None
