"""Which steps somebody wants to run again by a retry, held against what a workflow's record says now.

The engine decides by the same rule; here it is asked from outside, to refuse what cannot be meant and for a dry run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybrid_engine.errors import ConflictError, InputError, NotFoundError
from hybrid_engine.model.jsontext import encode
from hybrid_engine.model.nearest import did_you_mean
from hybrid_engine.model.words import may_reopen
from hybrid_engine.ports.looking import Record


class StepChoice:
    """From one step on, or only some steps, or as by default what ended badly. Raises InputError for both."""

    __slots__ = ("from_", "steps")

    def __init__(self, from_: str | None = None, steps: Sequence[str] = ()) -> None:
        if from_ is not None and steps:
            raise InputError("give the step to go on from, or the steps to run again, not both")
        self.from_ = from_
        self.steps = tuple(dict.fromkeys(steps))

    def __bool__(self) -> bool:
        return self.from_ is not None or bool(self.steps)

    def as_fields(self) -> dict[str, str]:
        """As the fields of a signal."""
        fields = {"from": self.from_ or "", "step": ",".join(self.steps)}
        return {name: value for name, value in fields.items() if value}

    def check(self, record: Record) -> None:
        """Raise ConflictError when the workflow cannot be retried so now, NotFoundError when it has no such step."""
        status, workflow = record["status"], record["id"]
        if not may_reopen(status, chosen=bool(self)):
            more = "; --from STEP and --step STEP run steps of a completed one again" if status == "completed" else ""
            raise ConflictError(f"{workflow} is {status}: only a failed or cancelled workflow can be retried{more}")
        for name in (*self.steps, *([self.from_] if self.from_ is not None else [])):
            if name not in record["steps"]:
                hint = did_you_mean(name, record["steps"])
                raise NotFoundError(f"{workflow} has no step {name!r:.70}" + (f" ({hint})" if hint else ""))

    def running_again(self, record: Record, definition: dict[str, Any]) -> set[str]:
        """The steps that a retry would run again, by the workflow's frozen `definition`.

        Raises ConflictError when a chosen step could not begin, TemplateError when the definition is damaged.
        """
        # Slow to load, and a retry without a choice does not need them.
        from hybrid_engine.model.state import StepState
        from hybrid_engine.model.template import Template
        from hybrid_engine.rules.decisions import Plan
        from hybrid_engine.rules.reopening import kept_back, running_again

        plan = Plan(Template.from_frozen(encode(definition).encode()))
        states = {
            name: StepState(status=step["status"], reason=step.get("reason")) for name, step in record["steps"].items()
        }
        again = running_again(states, plan, self.from_, self.steps)
        found = kept_back(states, plan, self.steps, again)
        if found is not None:
            step, need = found
            raise ConflictError(
                f"step {step} needs {need}, which is {states[need].status}: run {need} again, too (--step {need})"
            )
        return again
