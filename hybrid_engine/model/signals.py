"""A signal: a request that somebody dropped for a workflow."""

from __future__ import annotations


class Signal:
    """`name` is that of its file; `by` and `reason` are for the journal."""

    __slots__ = ("by", "name", "reason", "verb")

    def __init__(self, verb: str, name: str, by: str | None = None, reason: str | None = None) -> None:
        self.verb = verb
        self.name = name
        self.by = by
        self.reason = reason
