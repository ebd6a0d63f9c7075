"""Frames of the commit log: whatever a disk makes of a segment, what is read back was written, whole, and in order."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hybrid_engine.files.log import frames

LINES = st.lists(st.sampled_from([b"w1 -", b'w2 {"n":1}', b"=0000000000000001", b"w \0\0", b"w1 =x"]), min_size=1)
PAYLOADS = st.one_of(
    LINES.map(lambda lines: b"\n".join(lines) + b"\n"), st.binary(max_size=60).map(lambda data: b"w " + data + b"\n")
)


def a_segment(payloads: list[bytes], first: int = 7) -> tuple[bytes, list[int]]:
    """A segment with a header and a frame for each payload, and where each of them ends."""
    parts = [frames.header(first, 3, 2, 99)]
    parts += [frames.encode(number, payload) for number, payload in enumerate(payloads, first + 1)]
    ends = [sum(map(len, parts[: count + 1])) for count in range(len(parts))]
    return b"".join(parts), ends


def read(data: bytes) -> list[tuple[int, bytes]]:
    return [(frame.number, frame.payload) for frame in frames.scan(data).frames]


@given(st.lists(PAYLOADS, max_size=6))
def test_what_was_written_is_read_back(payloads: list[bytes]) -> None:
    data, ends = a_segment(payloads)
    scan = frames.scan(data)
    assert scan.header is not None
    assert (scan.header.segment, scan.header.previous, scan.header.previous_end) == (3, 2, 99)
    assert [(frame.number, frame.payload) for frame in scan.frames[1:]] == list(enumerate(payloads, 8))
    assert [frame.end for frame in scan.frames] == ends
    assert (scan.end, scan.bad) == (len(data), [])


def test_lines_name_their_workflow_and_end_with_a_newline_but_for_removals() -> None:
    (frame,) = frames.scan(frames.encode(1, b'w1 {"n": 1}\nw2 -\nw1 {"n": 2}\n')).frames
    assert list(frame.lines()) == [("w1", b'{"n": 1}\n'), ("w2", frames.REMOVED), ("w1", b'{"n": 2}\n')]


@given(st.lists(PAYLOADS, max_size=4), st.data())
def test_every_prefix_of_a_segment_gives_a_prefix_of_its_frames(payloads: list[bytes], data: st.DataObject) -> None:
    whole, ends = a_segment(payloads)
    cut = data.draw(st.integers(0, len(whole)))
    scan = frames.scan(whole[:cut])
    kept = sum(end <= cut for end in ends)
    assert [(frame.number, frame.payload) for frame in scan.frames] == read(whole)[:kept]
    assert scan.end == (ends[kept - 1] if kept else 0)
    assert scan.bad in ([], [(scan.end, cut)])
    assert bool(scan.bad) == (scan.end < cut)


@given(st.lists(PAYLOADS, min_size=1, max_size=4), st.data())
def test_one_wrong_byte_takes_the_frame_it_is_in_and_no_other(payloads: list[bytes], data: st.DataObject) -> None:
    whole, ends = a_segment(payloads)
    place = data.draw(st.integers(0, len(whole) - 1))
    wrong = bytearray(whole)
    wrong[place] ^= data.draw(st.integers(1, 255))
    hit = sum(end <= place for end in ends)
    others = read(whole)
    del others[hit]
    scan = frames.scan(bytes(wrong))
    if len(scan.frames) == len(ends):
        assert read(bytes(wrong)) == read(whole)  # the same said otherwise: a checksum in capital letters
        return
    assert read(bytes(wrong)) == others
    assert scan.bad == [(ends[hit - 1] if hit else 0, ends[hit])]
    assert (scan.header is None) == (hit == 0)


def test_no_bit_of_a_frame_can_be_turned_to_make_another_frame() -> None:
    whole, ends = a_segment([b'w1 {"n":1}\n', b"w2 -\n"])
    for place in range(ends[0], ends[1]):
        for bit in range(8):
            wrong = bytearray(whole)
            wrong[place] ^= 1 << bit
            assert read(bytes(wrong)) in (read(whole), [read(whole)[0], read(whole)[2]]), (place, bit)


@given(st.lists(PAYLOADS, max_size=3), st.integers(0, 5_000))
def test_zeros_behind_the_last_frame_are_reserved_space_and_nothing_else(payloads: list[bytes], zeros: int) -> None:
    data, ends = a_segment(payloads)
    scan = frames.scan(data + b"\0" * zeros)
    assert (len(scan.frames), scan.end, scan.bad) == (len(ends), len(data), [])
    torn = frames.scan(data + frames.encode(99, b"w1 -\n")[:-2] + b"\0" * zeros)
    assert (len(torn.frames), torn.end) == (len(ends), len(data))
    assert [start for start, _ in torn.bad] == [len(data)]


def test_zeros_alone_are_an_empty_segment() -> None:
    for size in (0, 1, 36, 100_000):
        scan = frames.scan(b"\0" * size)
        assert (scan.frames, scan.header, scan.end, scan.bad) == ([], None, 0, [])


@given(st.lists(st.one_of(PAYLOADS.map(lambda payload: frames.encode(5, payload)), st.binary(max_size=80)), max_size=5))
@example([b"="])
@example([b"=" * 200])
@example([b"=0000000000000001 ffffffff 00000000\nw1 -\n"])
@example([b"=0000000000000001 00000000 00000000\n"])
def test_whatever_the_bytes_are_nothing_is_raised_and_all_of_them_are_accounted_for(parts: list[bytes]) -> None:
    data = b"".join(parts)
    scan = frames.scan(data)
    covered = [(frame.start, frame.end) for frame in scan.frames] + scan.bad
    at = 0
    for start, end in sorted(covered):
        assert not data[at:start].strip(b"\0"), "bytes that nobody speaks of"
        assert at <= start < end
        at = end
    assert not data[at:].strip(b"\0")


def forged(number: bytes, size: bytes, payload: bytes) -> bytes:
    """A frame with a right checksum whose head this program would not write."""
    head = number + b" " + size
    return b"=%b %08x\n%b" % (head, crc32(payload, crc32(head, frames.SEED)), payload)


@pytest.mark.parametrize(
    "data",
    [
        frames.encode(1, b"#\n"),
        frames.encode(1, b"#one 2 3 4\n"),
        frames.encode(1, b"#1 2 3\n"),
    ],
    ids=["empty", "a word", "too few"],
)
def test_a_header_that_cannot_be_understood_is_no_header_and_raises_nothing(data: bytes) -> None:
    assert frames.scan(data).header is None


def test_a_header_of_a_later_format_may_say_more() -> None:
    scan = frames.scan(frames.encode(1, b"#9 2 3 4 and more\n"))
    assert len(scan.frames) == 1
    assert scan.header is None or (scan.header.previous, scan.header.previous_end) == (3, 4)


@pytest.mark.parametrize("size", [b"-0000028", b"-0000001", b"ffffffff", b"00000000", b"0000000g"])
def test_a_length_that_cannot_be_is_no_frame(size: bytes) -> None:
    data = forged(b"%016d" % 1, size, b"w1 -\n")
    scan = frames.scan(b"=" * 40 + data)
    assert (scan.frames, scan.bad) == ([], [(0, len(data) + 40)])


def test_a_large_segment_with_damage_is_read_quickly() -> None:
    """Each `=` behind damage might begin a frame: none may be looked at with the rest of the segment copied."""
    data, _ = a_segment([b"w1 " + b"=" * 1_000 + b"\n"] * 300)
    scan = frames.scan(data[40:])
    assert len(scan.frames) == 300
