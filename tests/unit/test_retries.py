"""The retry policy: delays grow to their limit, jitter is a function of the attempt, and sums never overflow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.model.template import Retry
from hybrid_engine.rules.retries import delay_before, may_try_again, wait_until

SECOND = timedelta(seconds=1)


def policy(**fields: object) -> Retry:
    return Retry.model_validate({"jitter": False, **fields})


def test_delays_grow_by_their_factor_up_to_their_limit() -> None:
    retry = policy(delay=2, factor=3, max_delay=30)
    assert [delay_before(retry, n, "x") / SECOND for n in range(1, 6)] == [2, 6, 18, 30, 30]


def test_a_delay_longer_than_its_limit_is_cut() -> None:
    assert delay_before(policy(delay=60, max_delay=5), 1, "x") == 5 * SECOND


def test_no_delay_stays_none() -> None:
    assert delay_before(policy(delay=0), 50, "x") == timedelta(0)


def test_without_a_limit_the_longest_delay_is_a_year() -> None:
    assert delay_before(policy(delay=1, factor=1000, max_delay=None), 1000, "x") == timedelta(days=365)


def test_a_limit_of_zero_is_one() -> None:
    assert delay_before(policy(delay=5, max_delay=0), 3, "x") == timedelta(0)


@pytest.mark.parametrize(
    ("planned", "most", "wait"),
    [
        (30, 60, 30), (60, 60, 60), (0, 60, 0),
        (3600, 60, 60),  # the clock was set back by an hour
        (-3600, 60, 0),  # or forward
        (400 * 86_400, None, 365 * 86_400), (3600, None, 3600), (30, 0, 0),
    ],
)  # fmt: skip
def test_a_clock_that_was_set_makes_no_wait_longer_than_the_longest_delay(
    planned: int, most: int | None, wait: int
) -> None:
    now = datetime(2026, 11, 20, 7, 36, tzinfo=UTC)
    assert wait_until(policy(max_delay=most), now + planned * SECOND, now) == wait * SECOND


@given(
    st.integers(0, 36_500 * 86_400), st.floats(1, 1000), st.one_of(st.none(), st.integers(0, 36_500 * 86_400)),
    st.integers(1, 1000), st.text(max_size=20), st.booleans(),
)  # fmt: skip
def test_every_policy_gives_a_delay_within_its_limits(
    delay: int, factor: float, most: int | None, failures: int, seed: str, jitter: bool
) -> None:
    retry = policy(delay=delay, factor=factor, max_delay=most, jitter=jitter)
    plain = delay_before(retry.model_copy(update={"jitter": False}), failures, seed)
    found = delay_before(retry, failures, seed)
    assert timedelta(0) <= plain <= timedelta(days=365)
    assert found == delay_before(retry, failures, seed)
    if jitter:
        assert plain / 2 - timedelta(milliseconds=1) <= found <= plain
    else:
        assert found == plain


def test_jitter_spreads_attempts_over_half_the_delay() -> None:
    retry = policy(delay=100, max_delay=100, jitter=True)
    found = [delay_before(retry, 1, f"w{n}/one/1") / SECOND for n in range(500)]
    assert min(found) < 52
    assert max(found) > 98
    assert len({round(delay, 3) for delay in found}) > 490


@pytest.mark.parametrize(
    ("attempts", "lost", "was_lost", "exit_code", "again"),
    [
        (1, 0, False, 1, True), (2, 0, False, 1, True), (3, 0, False, 1, False), (4, 1, False, 1, False),
        (3, 1, False, 1, True), (1, 0, True, None, True), (9, 1, True, None, True), (9, 2, True, None, False),
        (1, 0, False, 9, False), (1, 0, False, None, False),
    ],
)  # fmt: skip
def test_who_may_try_again(attempts: int, lost: int, was_lost: bool, exit_code: int | None, again: bool) -> None:
    retry = policy(attempts=3, lost=2, on=[1, 2])
    found = may_try_again(retry, attempts=attempts, lost=lost, was_lost=was_lost, exit_code=exit_code)
    assert found is again
