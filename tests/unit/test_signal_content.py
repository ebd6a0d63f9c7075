"""What a signal's file may say, and what is refused because it would mean something else than it says."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_engine.errors import JobError
from hybrid_engine.model.signals import Signal


def test_a_signal_says_who_why_and_which_steps() -> None:
    signal = Signal.of("retry", "retry.1", {"by": "ada", "reason": "x" * 900, "step": "a, b,a"})
    assert (signal.by, len(signal.reason or ""), signal.from_step, signal.steps) == ("ada", 500, None, ("a", "b"))
    signal = Signal.of("retry", "retry.1", {"from": "a", "step": None, "by": 7})
    assert (signal.by, signal.from_step, signal.steps, signal.has_choice) == (None, "a", (), True)
    assert not Signal.of("retry", "retry.1", {"from": ""}).has_choice


@pytest.mark.parametrize(
    "content",
    [{"from": 5}, {"step": ["a"]}, {"step": "a b"}, {"step": "a,"}, {"from": "a,b"}, {"from": "a", "step": "b"}],
)
def test_steps_that_cannot_be_ones_are_refused_and_not_left_out(content: Any) -> None:
    with pytest.raises(JobError):
        Signal.of("retry", "retry.1", content)
