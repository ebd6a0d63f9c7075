"""Builders of models for tests: each gives something whole and valid, and takes only what the test is about.

Nothing here touches a disk or a clock; homes are in conftest.py and integration/homes.py, daemons in e2e/daemon.py,
the seams in memory in contracts/memory.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hybrid_engine.model import events as e
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import stamp
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.template import Template
from hybrid_engine.rules.transitions import fold

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    """The stamp of a moment, counted from the start of the tests' time."""
    return stamp(START + timedelta(seconds=seconds))


def a_template(
    steps: Mapping[str, Mapping[str, Any] | None] | Sequence[str] = ("one",), name: str = "report", **fields: Any
) -> Template:
    """A template as an author would write it; a step says `run: "true"` unless it says something else."""
    listed = steps if isinstance(steps, Mapping) else dict.fromkeys(steps)
    written = {
        step: {**({} if "call" in (says or {}) else {"run": "true"}), **(says or {})} for step, says in listed.items()
    }
    return Template.author({"name": name, "steps": written, **fields})


def a_job(workflow: str = "w1", template: Template | None = None, **fields: Any) -> Job:
    """An accepted job of `template`, due at once."""
    template = template or a_template()
    given: dict[str, Any] = {"queued_at": at(0), "steps": list(template.steps), "priority": template.priority}
    given.update(fields)
    given.setdefault("due_at", given["queued_at"])
    return Job(workflow, template.name, template.version, **given)


def created(workflow: str = "w1", steps: Sequence[str] = ("one",), **fields: Any) -> e.WorkflowCreated:
    """The first event of a workflow."""
    given: dict[str, Any] = {"template": "report", "version": "v1", "queued_at": at(0), "due_at": at(0)}
    return e.WorkflowCreated(workflow, steps=list(steps), **{**given, **fields})


def a_state(*events: e.Event, steps: Sequence[str] = ("one",), **fields: Any) -> WorkflowState:
    """The state of a workflow after `events`, one a second."""
    story = (created(steps=steps, **fields), *events)
    state = fold((n, at(n), event) for n, event in enumerate(story, 1))
    assert state is not None
    return state
