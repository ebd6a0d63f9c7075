"""From a step's definition and its workflow's state to an attempt: the last place where expressions exist."""

from __future__ import annotations

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.template import Step, Template
from hybrid_engine.model.words import Json
from hybrid_engine.rules.context import NONE_LOADED, Outputs, names_of
from hybrid_engine.rules.expressions import evaluate


def resolve(
    state: WorkflowState,
    template: Template,
    definition: Step,
    address: str,
    grace: float,
    outputs: Outputs = NONE_LOADED,
) -> Attempt:
    """The next attempt of the step. Raises ExpressionError when a value of it cannot be computed."""
    names = names_of(state, outputs)
    env = {**template.env, **definition.env}
    arguments = evaluate(definition.with_, names) if definition.with_ else {}
    return Attempt(
        workflow=state.id,
        step=address,
        number=state.steps[address].attempt + 1,
        script=definition.run,
        function=definition.call,
        arguments=arguments,
        env={name: _env_text(name, evaluate(value, names)) for name, value in env.items()} if env else {},
        timeout=definition.timeout.total_seconds() if definition.timeout else None,
        grace=grace,
    )


def _env_text(name: str, value: Json) -> str:
    """A value as an environment variable holds it: text as it is, nothing as empty, the rest as compact JSON."""
    from json import dumps

    text = value if isinstance(value, str) else "" if value is None else dumps(value, separators=(",", ":"))
    if "\0" in text:
        raise ExpressionError(f"env.{name}: a value with a NUL character cannot be an environment variable")
    return text
