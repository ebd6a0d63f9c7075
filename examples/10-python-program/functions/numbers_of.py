"""A function for the example of `Client`."""

from __future__ import annotations

from hybrid_engine import function


@function
def square(number: int) -> dict[str, int]:
    """The square of a number."""
    if number < 0:
        raise ValueError("this one is only for numbers from 0")
    return {"square": number * number}
