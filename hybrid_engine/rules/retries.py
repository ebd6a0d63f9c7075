"""When to try again, and after how long. Pure: jitter comes from the attempt's own name, not from dice.

Exponential backoff with a cap; jitter takes the delay to between half and all of it ("equal jitter", AWS Architecture
Blog 2015), drawn from a checksum of workflow, step and attempt, so that a replay decides as the first time did.
"""

from __future__ import annotations

from datetime import timedelta
from zlib import crc32

from hybrid_engine.model.template import Retry

LOST_DELAY = timedelta(0)
_LONGEST = timedelta(days=365)


def delay_before(retry: Retry, failures: int, seed: str) -> timedelta:
    """How long to wait after the `failures`-th failed attempt (from 1)."""
    limit = min(retry.max_delay or _LONGEST, _LONGEST)
    seconds = retry.delay.total_seconds()
    for _ in range(failures - 1):
        if seconds >= limit.total_seconds():
            break
        seconds *= retry.factor
    seconds = min(seconds, limit.total_seconds())
    if retry.jitter:
        seconds *= 0.5 + crc32(seed.encode()) / 2**33
    return timedelta(seconds=seconds)


def may_try_again(retry: Retry, *, attempts: int, lost: int, was_lost: bool, exit_code: int | None) -> bool:
    """Does the policy allow another attempt after `attempts` of them, `lost` of which nobody saw the end of?

    A lost attempt is run again up to `retry.lost` times and does not use up `retry.attempts`.
    """
    if was_lost:
        return lost < retry.lost
    if retry.on is not None and exit_code not in retry.on:
        return False
    return attempts - lost < retry.attempts
