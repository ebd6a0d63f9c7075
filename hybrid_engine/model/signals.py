"""A signal: a request that somebody dropped for a workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from hybrid_engine.errors import JobError
from hybrid_engine.model.ids import is_name

MAX_TEXT = 500
"""Characters that are kept of what is only there to be read."""


class Signal:
    """`name` is that of its file; `by` and `reason` are for the journal. `from_step` and `steps` say from where, or
    which steps, a retry runs again."""

    __slots__ = ("by", "from_step", "name", "reason", "steps", "verb")

    def __init__(
        self,
        verb: str,
        name: str,
        by: str | None = None,
        reason: str | None = None,
        from_step: str | None = None,
        steps: tuple[str, ...] = (),
    ) -> None:
        self.verb = verb
        self.name = name
        self.by = by
        self.reason = reason
        self.from_step = from_step
        self.steps = steps

    @classmethod
    def of(cls, verb: str, name: str, content: Mapping[str, Any]) -> Self:
        """The signal that a file's content makes.

        Raises JobError for steps that cannot be ones: to leave them out would run more again than was asked for.
        """
        steps = _names(content, "step")
        first = _names(content, "from")
        if len(first) > 1 or (first and steps):
            raise JobError("a retry goes from one step, or has a list of steps", path="from", code="wrong_value")
        by, reason = _text(content.get("by")), _text(content.get("reason"))
        return cls(verb, name, by, reason, first[0] if first else None, steps)

    @property
    def has_choice(self) -> bool:
        """Does it say which steps run again?"""
        return self.from_step is not None or bool(self.steps)


def _text(value: object) -> str | None:
    return value[:MAX_TEXT] if isinstance(value, str) and value else None


def _names(content: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """The steps in a field: names with commas between them."""
    value = content.get(field)
    if value is None or value == "":
        return ()
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else [""]
    if not all(map(is_name, names)):
        raise JobError("must be names of steps, with commas between them", path=field, code="wrong_value")
    return tuple(dict.fromkeys(names))
