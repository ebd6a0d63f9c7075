"""When to try again, and after how long. Pure: jitter comes from the attempt's own name, not from dice.

Exponential backoff with a cap; jitter takes the delay to between half and all of it ("equal jitter", AWS Architecture
Blog 2015), drawn from a checksum of workflow, step and attempt, so that a replay decides as the first time did.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zlib import crc32

from hybrid_engine.model.template import Retry

LOST_DELAY = timedelta(0)
_LONGEST = timedelta(days=365)


def delay_before(retry: Retry, failures: int, seed: str) -> timedelta:
    """How long to wait after the `failures`-th failed attempt (from 1)."""
    limit = _longest(retry)
    seconds = retry.delay.total_seconds()
    for _ in range(failures - 1):
        if seconds >= limit.total_seconds():
            break
        seconds *= retry.factor
    seconds = min(seconds, limit.total_seconds())
    if retry.jitter:
        seconds *= 0.5 + crc32(seed.encode()) / 2**33
    return timedelta(seconds=seconds)


def wait_until(retry: Retry, retry_at: datetime, now: datetime) -> timedelta:
    """How long to wait from `now` for the attempt that was planned for `retry_at`; zero when that is over.

    The wall clock may have been set back since the plan was made: no wait is longer than the policy's longest delay.
    """
    return max(timedelta(0), min(retry_at - now, _longest(retry)))


def _longest(retry: Retry) -> timedelta:
    return _LONGEST if retry.max_delay is None else min(retry.max_delay, _LONGEST)


def may_try_again(retry: Retry, *, attempts: int, lost: int, was_lost: bool, exit_code: int | None) -> bool:
    """Does the policy allow another attempt after `attempts` of them, `lost` of which nobody saw the end of?

    A lost attempt is run again up to `retry.lost` times and does not use up `retry.attempts`.
    """
    if was_lost:
        return lost < retry.lost
    if retry.on is not None and exit_code not in retry.on:
        return False
    return attempts - lost < retry.attempts
