"""Lengths of time for people. How durations are read and written back is in test_stamps."""

from __future__ import annotations

import pytest

from hybrid_engine.model.durations import SECOND, UNITS, spoken


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (0, "0.0 s"),
        (1_149_999, "1.1 s"),
        (9_999_999, "9.9 s"),
        (10 * SECOND, "10 s"),
        (59_999_999, "59 s"),
        (60 * SECOND, "1 min"),
        (184 * SECOND, "3 min 4 s"),
        (UNITS["h"] - 1, "59 min 59 s"),
        (2 * UNITS["h"] + 5 * UNITS["m"] + 59 * SECOND, "2 h 5 min"),
        (3 * UNITS["d"] + 4 * UNITS["h"], "3 d 4 h"),
        (400 * UNITS["d"], "400 d"),
    ],
)
def test_a_length_is_told_in_at_most_two_units_and_never_rounded_up(length: int, told: str) -> None:
    assert spoken(length) == told
