"""Durations as people write them: "30s", "10m", "24h", "1d", "500ms", "1h30m", or a number of seconds.

Counted in whole microseconds, so that text and `timedelta` round-trip exactly. Light: no `re`, no `datetime`.
"""

from __future__ import annotations

MILLISECOND = 1_000
SECOND = 1_000_000
UNITS = {"d": 86_400 * SECOND, "h": 3_600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": MILLISECOND}
LONGEST = 36_500 * UNITS["d"]

_DIGITS = frozenset("0123456789")
_HOW = 'write it like "30s", "10m", "24h", "1h30m", or a number of seconds'


def microseconds(value: object) -> int:
    """The length of a duration in microseconds. Raises ValueError with a sentence for a person."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r:.60} is not a duration: {_HOW}")
    if isinstance(value, str):
        length = _of_text(value)
    elif value != value:
        raise ValueError(f"{value!r} is not a duration: {_HOW}")
    else:
        # Compared before it is converted: a huge integer has no float, and infinity no integer.
        length = LONGEST + 1 if value > LONGEST else -1 if value < 0 else round(value * SECOND)
    if length < 0:
        raise ValueError(f"{value!r:.60} is negative; a duration is not")
    if length > LONGEST:
        raise ValueError(f"{value!r:.60} is too long: at most 36500d")
    return length


def _of_text(text: str) -> int:
    rest = text.strip()
    if not rest or len(rest) > 60:
        raise ValueError(f"{text!r:.60} is not a duration: {_HOW}")
    if _DIGITS.issuperset(rest.replace(".", "", 1)) and rest != ".":
        return round(float(rest) * SECOND)
    length, used = 0, set()
    while rest:
        number = rest[: _run(rest, _DIGITS | {"."})]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("dhms"))]
        rest = rest[len(unit) :].lstrip(" ")
        if unit not in UNITS or unit in used or number.count(".") > 1 or number.strip(".") == "":
            raise ValueError(f"{text!r:.60} is not a duration: {_HOW}")
        used.add(unit)
        length += int(number) * UNITS[unit] if "." not in number else round(float(number) * UNITS[unit])
    return length


def _run(text: str, letters: frozenset[str]) -> int:
    """How many characters at the head of `text` are among `letters`."""
    for index, letter in enumerate(text):
        if letter not in letters:
            return index
    return len(text)


def duration_text(length: int) -> str:
    """The shortest text that `microseconds` reads back as `length`."""
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, length = divmod(length, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if length:
        whole, rest = divmod(length, MILLISECOND)
        parts.append(f"{whole}.{rest:03d}".rstrip("0") + "ms" if rest else f"{whole}ms")
    return "".join(parts) or "0s"


def spoken(length: int) -> str:
    """A length for people, in at most two units: "0.4 s", "12 s", "3 min 4 s", "2 h 5 min", "3 d 4 h"."""
    if length < 10 * SECOND:
        tenths = length // (SECOND // 10)
        return f"{tenths // 10}.{tenths % 10} s"
    for unit, part, names in _SPOKEN:
        if length >= UNITS[unit]:
            whole, rest = length // UNITS[unit], length % UNITS[unit] // UNITS[part]
            return f"{whole} {names[0]} {rest} {names[1]}" if rest else f"{whole} {names[0]}"
    return f"{length // SECOND} s"


_SPOKEN = (("d", "h", ("d", "h")), ("h", "m", ("h", "min")), ("m", "s", ("min", "s")))
