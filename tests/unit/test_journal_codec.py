"""The journal's lines: what is written is read back, and no flip, tear or hole goes unnoticed."""

from __future__ import annotations

import json
from zlib import crc32

import pytest
from builders import at, created
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import JournalError
from hybrid_engine.files.journal import SEED, Reading, encode, parse
from hybrid_engine.model import events as e

BATCHES: list[list[e.Event]] = [
    [created(params={"source": "Ünïcode 😀.csv", "deep": {"a": [1, 2.5, None, True]}}), e.WorkflowStarted()],
    [e.StepStarted("one", 1)],
    [e.StepProgressed("one", 1, 42.0, "half")],
    [e.StepCompleted("one", 1, {"rows": 7, "text": 'a "quoted"\nline'}, 0), e.WorkflowCompleted()],
]
STORY = [event for batch in BATCHES for event in batch]


def written(batches: list[list[e.Event]]) -> list[bytes]:
    """The bytes of each write."""
    writes, n = [], 0
    for batch in batches:
        writes.append(encode(n + 1, at(n), batch))
        n += len(batch)
    return writes


WRITES = written(BATCHES)
WHOLE = b"".join(WRITES)


def events_of(reading: Reading) -> list[e.Event]:
    return [entry.event for entry in reading.entries]


def is_a_beginning(reading: Reading, data: bytes) -> bool:
    """Is what was read the beginning of the story, and is every byte either in it or kept as the tail?"""
    sound = events_of(reading) == STORY[: len(reading.entries)]
    return sound and data[: reading.good] == WHOLE[: reading.good] and data[reading.good :] == reading.tail


def test_what_is_written_is_read_back() -> None:
    reading = parse(WHOLE)
    assert events_of(reading) == STORY
    assert [entry.n for entry in reading.entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.at for entry in reading.entries] == [at(0), at(0), at(2), at(3), at(4), at(4)]
    assert (reading.good, reading.tail, reading.damage) == (len(WHOLE), b"", None)


def test_a_line_is_compact_json_in_the_order_of_the_format() -> None:
    line = WRITES[3].splitlines()[0]
    assert list(json.loads(line)) == ["n", "at", "type", "batch", "step", "attempt", "output", "exit_code", "crc"]
    assert b": " not in line
    assert "batch" not in json.loads(WRITES[1])


def test_fields_at_their_default_are_left_out_and_come_back() -> None:
    assert b"message" not in encode(1, at(0), [e.StepProgressed("one", 1, 5.0)])
    assert events_of(parse(encode(1, at(0), [e.StepSkipped("one", "condition")]))) == [
        e.StepSkipped("one", "condition")
    ]


def test_an_empty_journal_is_empty() -> None:
    assert parse(b"") == Reading()


# --- torn -------------------------------------------------------------------------------------------------------------


def test_a_journal_torn_at_any_byte_is_read_up_to_its_last_whole_line() -> None:
    for cut in range(len(WHOLE)):
        data = WHOLE[:cut]
        reading = parse(data)
        assert is_a_beginning(reading, data), cut
        assert len(reading.entries) == data.count(b"\n"), cut
        assert reading.damage is None, cut
        assert reading.torn == (not data.endswith(b"\n") and bool(data)), cut


@pytest.mark.parametrize("zeros", [1, 7, 4096])
@pytest.mark.parametrize("cut", [0, 5, len(WRITES[0]), len(WHOLE) - 3, len(WHOLE)])
def test_a_tail_of_zeros_is_the_end(cut: int, zeros: int) -> None:
    data = WHOLE[:cut] + b"\0" * zeros
    reading = parse(data)
    assert reading.torn
    assert is_a_beginning(reading, data)


@pytest.mark.parametrize("zeros", [1, 20])
def test_a_write_that_lost_its_beginning_is_torn_and_not_damage(zeros: int) -> None:
    """A power cut may keep the second page of a write and lose the first."""
    data = b"".join(WRITES[:3]) + b"\0" * zeros + WRITES[3][zeros:]
    reading = parse(data)
    assert (len(reading.entries), reading.damage) == (4, None)
    assert reading.torn


def test_a_write_that_lost_its_first_line_whole_is_torn_and_not_damage() -> None:
    first, second = WRITES[3].splitlines(keepends=True)
    assert parse(b"".join(WRITES[:3]) + b"\0" * len(first) + second).torn
    assert parse(b"".join(WRITES[:3]) + second).torn


def test_a_later_write_behind_a_bad_line_is_damage_and_not_torn() -> None:
    for number in range(len(WRITES) - 1):
        hurt = bytearray(WRITES[number])
        hurt[10] ^= 1
        reading = parse(b"".join([*WRITES[:number], bytes(hurt), *WRITES[number + 1 :]]))
        assert reading.damage is not None
        assert not reading.torn


def test_a_missing_a_doubled_and_a_swapped_line_are_damage() -> None:
    lines = WHOLE.splitlines(keepends=True)
    for changed in (
        [*lines[:2], *lines[3:]],
        [*lines[:3], lines[2], *lines[3:]],
        [*lines[:2], lines[3], lines[2], *lines[4:]],
    ):
        reading = parse(b"".join(changed))
        assert reading.damage is not None, changed


# --- flipped ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80, 0xFF])
def test_no_flipped_byte_goes_unnoticed(bit: int) -> None:
    """Each byte in turn: the journal is refused, or cut with the rest kept. Nothing else is ever read out of it."""
    for place in range(len(WHOLE)):
        data = bytearray(WHOLE)
        data[place] ^= bit
        reading = parse(bytes(data))
        assert reading.damage or reading.torn, place
        assert is_a_beginning(reading, bytes(data)), place


@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_the_reader_fail(data: bytes) -> None:
    reading = parse(data)
    assert not reading.entries
    assert reading.tail == data


@given(st.integers(0, len(WHOLE)), st.binary(min_size=1, max_size=60), st.integers(0, 40))
def test_no_bytes_pasted_over_make_the_reader_fail_or_invent(place: int, paste: bytes, over: int) -> None:
    data = WHOLE[:place] + paste + WHOLE[place + over :]
    if data != WHOLE:
        reading = parse(data)
        assert is_a_beginning(reading, data) or data.startswith(WHOLE[: reading.good])
        assert events_of(reading) == STORY[: len(reading.entries)]


# --- newer ------------------------------------------------------------------------------------------------------------


def rewritten(line: bytes, **changes: object) -> bytes:
    """The line with other fields, or without those that are None, under a checksum that holds."""
    record = {**json.loads(line), **changes, "crc": None}
    kept = {name: value for name, value in record.items() if value is not None}
    body = json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode()
    return body[:-1] + b',"crc":"%08x"}\n' % crc32(body, SEED)


def test_an_event_of_a_newer_version_is_refused() -> None:
    line = rewritten(encode(1, at(0), [e.WorkflowStarted()]), type="workflow_teleported")
    with pytest.raises(JournalError, match=r"workflow_teleported.*newer"):
        parse(line)


def test_a_field_of_a_newer_version_is_refused() -> None:
    line = rewritten(encode(1, at(0), [e.WorkflowStarted()]), mood="good")
    with pytest.raises(JournalError, match="does not know"):
        parse(line)


@pytest.mark.parametrize("missing", ["at", "type"])
def test_a_sound_line_without_its_head_is_not_an_event(missing: str) -> None:
    reading = parse(rewritten(encode(1, at(0), [e.WorkflowStarted()]), **{missing: None}))
    assert not reading.entries
    assert reading.tail
