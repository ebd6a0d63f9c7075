"""Repeated drops: the same name with the same content, while the workflow of the first one is unfinished."""

from __future__ import annotations

from collections.abc import Callable

REMEMBERED = 10_000
"""Of so many unfinished drops name and content are remembered."""


class Repeats:
    """`is_unfinished` says whether a workflow has been accepted, or is being accepted, and has not ended."""

    def __init__(self, is_unfinished: Callable[[str], bool]) -> None:
        self._is_unfinished = is_unfinished
        self._drops: dict[str, tuple[int, str]] = {}

    def first(self, name: str, data: bytes) -> str | None:
        """The unfinished workflow of an earlier drop with this name and content."""
        content, workflow = self._drops.get(name, (0, ""))
        if not workflow:
            return None
        if not self._is_unfinished(workflow):
            del self._drops[name]
            return None
        return workflow if content == hash(data) else None

    def remember(self, name: str, data: bytes, workflow: str) -> None:
        if len(self._drops) >= REMEMBERED:
            self._drops = {key: drop for key, drop in self._drops.items() if self._is_unfinished(drop[1])}
        if len(self._drops) < REMEMBERED:
            self._drops[name] = (hash(data), workflow)
