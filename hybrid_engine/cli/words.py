"""Moments, lengths of time and sizes, in words."""

from __future__ import annotations


def moment(stamp: str | None) -> str:
    """A stamp without its fractions."""
    return f"{stamp[:19]}Z" if stamp else "-"


def took(start: str | None, end: str | None) -> str:
    """The time between two stamps: "1.1 s", "3 min 4 s"."""
    if not start or not end:
        return "-"
    from hybrid_engine.model.durations import SECOND, spoken
    from hybrid_engine.model.stamps import seconds_between

    return spoken(max(0, round(seconds_between(start, end) * SECOND)))


def ago(stamp: str | None, now: str) -> str:
    """How far off a moment is, in one unit: "12 s ago", "3 min ago", "in 2 h"."""
    if not stamp:
        return "-"
    from hybrid_engine.model.stamps import seconds_between

    seconds = int(seconds_between(stamp, now))
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= unit:
            told = f"{abs(seconds) // unit} {name}"
            break
    else:
        told = f"{abs(seconds)} s"
    return f"{told} ago" if seconds >= 0 else f"in {told}"


def count(number: int, noun: str) -> str:
    """ "1 workflow", "2 workflows"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def size(count: int) -> str:
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return str(count)
