"""Stamps: moments as they stand on disk, RFC 3339 in UTC with microseconds and `Z`, always 27 characters.

Stamps of one length compare as the moments do, so states and events keep them as they are; arithmetic goes through
`datetime`. No clock is read here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

Stamp = str


def stamp(moment: datetime) -> Stamp:
    """`2026-11-20T07:36:00.000123Z` of an aware datetime."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def stamp_of_seconds(seconds: float) -> Stamp:
    """The stamp of a POSIX time."""
    return stamp(datetime.fromtimestamp(seconds, UTC))


def moment(text: Stamp) -> datetime:
    """The aware datetime of a stamp, or of any other RFC 3339 text with an offset. Raises ValueError."""
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: end it with Z or +hh:mm")
    return value.astimezone(UTC)


def seconds_between(start: Stamp, end: Stamp) -> float:
    """Seconds from `start` to `end`; negative when `end` is earlier."""
    return (moment(end) - moment(start)) / timedelta(seconds=1)
