"""Files that may not be complete yet: since when they have been as they are, and when to look at them again.

No I/O and no clock: the caller says what a file looks like and what time it is.
"""

from __future__ import annotations

from collections.abc import Collection

from hybrid_engine.ports.intake import Mark


class Settling:
    """Times are seconds of a clock that only grows."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watch] = {}

    def __bool__(self) -> bool:
        return bool(self._watched)

    def __contains__(self, name: str) -> bool:
        return name in self._watched

    def must_wait(self, name: str, mark: Mark, seconds: float, now: float) -> bool:
        """Has the file not been seen unchanged for so long? Then it is watched from now on."""
        watch = self._watched.get(name)
        if watch is None or watch.mark != mark:
            watch = self._watched[name] = _Watch(mark, now)
        watch.due = watch.since + seconds
        return now < watch.due

    def changes(self, name: str, mark: Mark, now: float) -> None:
        """Somebody is at it: its time begins anew, and every notice is a reason to look."""
        self._watched[name] = _Watch(mark, now)

    def is_early(self, name: str, mark: Mark, now: float) -> bool:
        """Would a look at it now find what the last one found?"""
        watch = self._watched.get(name)
        return watch is not None and watch.mark == mark and now < watch.due

    def forget(self, name: str) -> None:
        self._watched.pop(name, None)

    def keep_only(self, names: Collection[str]) -> None:
        """The others are no longer there."""
        for name in [name for name in self._watched if name not in names]:
            del self._watched[name]


class _Watch:
    __slots__ = ("due", "mark", "since")

    def __init__(self, mark: Mark, since: float) -> None:
        self.mark = mark
        self.since = since
        self.due = since
