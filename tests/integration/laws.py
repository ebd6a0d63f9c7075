"""Laws that hold for every story that a journal tells."""

from __future__ import annotations

from collections.abc import Iterable

from hybrid_engine.model import events as e
from hybrid_engine.model.template import Step, Template
from hybrid_engine.rules.expressions import compile_condition, references

ENDS = (e.StepCompleted, e.StepFailed, e.StepSkipped, e.StepCancelled)


def looked_at(step: Step) -> set[str]:
    """The steps that this one needs or names."""
    found = references(step.env) | references(step.with_)
    if step.if_ is not None:
        found |= compile_condition(step.if_).references
    return {*step.needs, *(name.split(".")[1] for name in found if name.startswith("steps."))}


def no_result_is_older_than_what_it_was_made_from(template: Template, story: Iterable[e.Event]) -> None:
    """Whenever the steps that run again are open, what a step needs or names ended before the step began, or was
    skipped by its condition. Each event is told by its place in the story."""
    sources = {name: looked_at(step) for name, step in template.steps.items()}
    began: dict[str, int] = {}
    ended: dict[str, int] = {}
    made: dict[str, int] = {}
    for place, event in enumerate(story):
        if isinstance(event, e.StepStarted):
            began[event.step] = place
        elif isinstance(event, e.StepReopened):
            ended.pop(event.step, None)
            made.pop(event.step, None)
        elif isinstance(event, ENDS):
            ended[event.step] = place
            if isinstance(event, e.StepCompleted):
                made[event.step] = began[event.step]
            elif isinstance(event, e.StepSkipped) and event.reason == "condition":
                made[event.step] = place
        if not isinstance(event, e.WorkflowReopened | e.StepReopened):
            late = [(name, s) for name, at in made.items() for s in sources[name] if ended.get(s, at + 1) > at]
            assert not late, f"older than what they were made from, at event {place + 1}: {late}"
