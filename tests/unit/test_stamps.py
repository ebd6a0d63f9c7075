"""Stamps: moments as text of one length, which sorts as the moments do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.model.stamps import moment, seconds_between, stamp, stamp_of_seconds

AWARE = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30),  # noqa: DTZ001 – the zone comes from below
    timezones=st.builds(timezone, st.timedeltas(timedelta(hours=-14), timedelta(hours=14))),
)  # fmt: skip


@given(AWARE)
def test_a_stamp_is_read_back_to_the_microsecond(when: datetime) -> None:
    assert moment(stamp(when)) == when


@given(AWARE, AWARE)
def test_stamps_compare_as_their_moments(one: datetime, other: datetime) -> None:
    assert (stamp(one) < stamp(other)) == (one < other)


@given(AWARE)
def test_a_stamp_has_one_form_and_one_length(when: datetime) -> None:
    text = stamp(when)
    assert (len(text), text[4], text[10], text[19], text[-1]) == (27, "-", "T", ".", "Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T08:36:00+01:00", "2026-11-20T07:36:00.000000Z"),
        ("2026-11-20T07:36:00Z", "2026-11-20T07:36:00.000000Z"),
        ("2026-11-20T07:36:00.5Z", "2026-11-20T07:36:00.500000Z"),
        ("2026-03-29T02:30:00+02:00", "2026-03-29T00:30:00.000000Z"),
        ("2028-02-29T23:59:59.999999-12:00", "2028-03-01T11:59:59.999999Z"),
    ],
)
def test_other_ways_to_write_a_moment_are_read(text: str, expected: str) -> None:
    assert stamp(moment(text)) == expected


@pytest.mark.parametrize("text", ["", "now", "2026-11-20T07:36:00", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        moment(text)


def test_seconds_between_may_be_negative() -> None:
    early, late = stamp(datetime(2026, 1, 1, tzinfo=UTC)), stamp(datetime(2026, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC))
    assert (seconds_between(early, late), seconds_between(late, early)) == (1.5, -1.5)


def test_a_posix_time_becomes_a_stamp() -> None:
    assert stamp_of_seconds(0.25) == "1970-01-01T00:00:00.250000Z"
