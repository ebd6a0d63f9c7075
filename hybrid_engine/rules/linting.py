"""What takes more than one field to see: unknown names, expressions that cannot work, settings that fight each other.

`lint` reports errors (the template cannot be used) and warnings (it can, but probably is not what was meant). Without
`functions` nothing is said about what steps call. Places in the file are added by whoever read the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from hybrid_engine.errors import ExpressionError, InputError, TemplateError
from hybrid_engine.model.nearest import did_you_mean, nearest
from hybrid_engine.model.template import Concurrency, Step, Template
from hybrid_engine.rules.expression_syntax import COMPUTED
from hybrid_engine.rules.expressions import compile_condition, compile_value
from hybrid_engine.rules.graph import Ancestry, graph_problems
from hybrid_engine.rules.params import check_value

ROOTS = ("params", "steps", "workflow")
"""The names an expression can see; see rules.context."""
STEP_FIELDS = ("output", "status", "exit_code", "attempt", "error")
WORKFLOW_FIELDS = ("id", "template", "user", "labels", "priority", "queued_at")


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding, at a dotted path; `file`, `line` and `column` when the file is known."""

    severity: Literal["error", "warning"]
    path: str
    message: str
    hint: str | None = None
    code: str = "invalid"
    file: str | None = None
    line: int | None = None
    column: int | None = None

    @classmethod
    def of(cls, error: InputError, path: str | None = None) -> Problem:
        """An error of another module as a finding."""
        path = path or error.path or ""
        return cls("error", path, error.message, error.hint, error.code, error.file, error.line, error.column)

    def at(self, file: str, place: tuple[int, int] | None) -> Problem:
        """The same, in its place."""
        line, column = place or (None, None)
        return replace(self, file=file, line=line, column=column)

    def as_error(self) -> TemplateError:
        return TemplateError(
            self.message,
            path=self.path or None,
            hint=self.hint,
            code=self.code,
            file=self.file,
            line=self.line,
            column=self.column,
        )

    def __str__(self) -> str:
        return str(self.as_error())


class Signature(Protocol):
    """What is known of a function: see files.functions.FunctionInfo."""

    @property
    def params(self) -> tuple[str, ...]: ...
    @property
    def required(self) -> tuple[str, ...]: ...
    @property
    def open(self) -> bool: ...


def lint(template: Template, functions: Mapping[str, Signature] | None = None) -> list[Problem]:
    """All findings, errors first, otherwise in the order of the template."""
    found = [Problem.of(error) for error in graph_problems(template.steps)]
    order = Ancestry(template.steps) if not found else None
    found += _params(template)
    found += _labels(template)
    found += _environment(template)
    for name, step in template.steps.items():
        found += _expressions(template, name, step, order)
        found += _settings(name, step)
        if functions is not None and step.call is not None:
            found += _call(name, step, functions)
    found += _pools(template)
    return sorted(found, key=lambda problem: problem.severity)


def _params(template: Template) -> Iterator[Problem]:
    """Defaults and choices must be what the parameter wants."""
    for name, spec in template.params.items():
        if isinstance(spec.default, str) and "${{" in spec.default:
            yield Problem("warning", f"params.{name}.default", "is taken as it is: ${{ }} is not evaluated here")
        plain = spec.model_dump(mode="json", exclude_defaults=True)
        for index, choice in enumerate(spec.choices or ()):
            try:
                check_value({**plain, "choices": None}, choice)
            except ValueError as error:
                yield Problem("error", f"params.{name}.choices.{index}", str(error), code="bad_choice")
        if spec.default is not None:
            try:
                check_value(plain, spec.default)
            except ValueError as error:
                yield Problem("error", f"params.{name}.default", str(error), code="bad_default")


def _labels(template: Template) -> Iterator[Problem]:
    """Labels are read by those who look for workflows, before any of it runs: there is nothing to evaluate."""
    for name, text in template.labels.items():
        if "${{" in text:
            message = "labels are plain text: ${{ }} is not evaluated here"
            hint = "give what differs from job to job as a label of the job"
            yield Problem("error", f"labels.{name}", message, hint, "not_an_expression")


def _environment(template: Template) -> Iterator[Problem]:
    """The template's own `env` is for all steps, so it can know no step's output."""
    for path in _compiled(template.env, "env"):
        if isinstance(path, Problem):
            yield path
        else:
            yield from _reference(template, path[0], path[1], None)


def _expressions(template: Template, name: str, step: Step, order: Ancestry | None) -> Iterator[Problem]:
    references = [*_compiled(step.with_, f"steps.{name}.with"), *_compiled(step.env, f"steps.{name}.env")]
    if step.if_ is not None:
        try:
            references += [(f"steps.{name}.if", path) for path in compile_condition(step.if_).references]
        except ExpressionError as error:
            yield Problem.of(error, f"steps.{name}.if")
    for found in references:
        if isinstance(found, Problem):
            yield found
        else:
            yield from _reference(template, found[0], found[1], order)


def _compiled(values: Mapping[str, Any], path: str) -> list[Problem | tuple[str, str]]:
    """For each value the references in it as (path of the value, dotted reference), or what is wrong with it."""
    found: list[Problem | tuple[str, str]] = []
    for key, value in values.items():
        try:
            found += [(f"{path}.{key}", reference) for reference in sorted(compile_value(value).references)]
        except ExpressionError as error:
            found.append(Problem.of(error, f"{path}.{key}" + (f".{error.path}" if error.path else "")))
    return found


def _reference(template: Template, path: str, reference: str, order: Ancestry | None) -> Iterator[Problem]:
    """A name in an expression must be there when the expression is evaluated."""
    root, *rest = reference.split(".")
    if root not in ROOTS:
        yield Problem("error", path, f"there is no name {root!r}", did_you_mean(root, ROOTS), "unknown_name")
    elif root == "steps":
        yield from _step_reference(template, path, rest, order)
    elif not rest or rest[0] == COMPUTED:
        return
    elif root == "params" and rest[0] not in template.params:
        hint: str | None = did_you_mean(rest[0], template.params) or "the template has no parameters"
        yield Problem("error", path, f"there is no parameter {rest[0]!r}", hint, "unknown_param")
    elif root == "workflow" and rest[0] not in WORKFLOW_FIELDS:
        hint = did_you_mean(rest[0], WORKFLOW_FIELDS)
        yield Problem("error", path, f"a workflow has no {rest[0]!r}", hint, "unknown_name")


def _step_reference(template: Template, path: str, rest: list[str], order: Ancestry | None) -> Iterator[Problem]:
    name = rest[0] if rest else COMPUTED
    if name == COMPUTED:
        yield from _any_step(path, computed=bool(rest))
        return
    if name not in template.steps:
        yield Problem("error", path, f"there is no step {name!r}", _step_hint(name, template), "unknown_step")
        return
    if path.startswith("env."):
        message = f"the template's env is for all steps, also those before {name!r}"
        yield Problem("error", path, message, "write it in the env of the steps that need it", "not_before")
    elif order is not None and not order.is_before(name, own := path.split(".")[1]):
        if own == name:
            yield Problem("error", path, "a step cannot know its own output", code="not_before")
        else:
            message = f"step {name!r} need not be over by then"
            yield Problem("error", path, message, f"add needs: {name}", "not_before")
    if len(rest) > 1 and rest[1] not in (*STEP_FIELDS, COMPUTED):
        near = "output" if rest[1] in ("result", "outputs") else nearest(rest[1], STEP_FIELDS)
        hint = f"did you mean {near!r}?" if near else f"write steps.{name}.output.{rest[1]}"
        yield Problem("error", path, f"a step has no {rest[1]!r}", hint, "unknown_name")


def _any_step(path: str, *, computed: bool) -> Iterator[Problem]:
    """`steps` as a whole, or with a name that only the evaluation knows."""
    if path.startswith("env."):
        message = "the template's env is for all steps, so it can know none"
        yield Problem("error", path, message, "write it in the env of the steps that need it", "not_before")
    elif not computed:
        message = "steps as a whole has all steps, also those that need not be over by then"
        yield Problem("warning", path, message, "write steps.<name>.output", "not_before")


def _step_hint(name: str, template: Template) -> str | None:
    """`steps.my-step` reads as a subtraction, so the name that is missed is the part before the dash."""
    dashed = next((step for step in template.steps if step.startswith(name + "-")), None)
    return f"write steps['{dashed}']" if dashed else did_you_mean(name, template.steps)


def _settings(name: str, step: Step) -> Iterator[Problem]:
    """Settings that are legal one by one and make no sense together."""
    retry, path = step.retry, f"steps.{name}.retry"
    if retry.max_delay is not None and retry.max_delay < retry.delay:
        yield Problem("warning", f"{path}.max_delay", "is shorter than delay, so every delay is this long")
    if retry.on is not None and retry.attempts == 1:
        yield Problem("warning", f"{path}.on", "has no effect: there is only one attempt", "set attempts")
    if retry.on is not None and step.call is not None:
        yield Problem("warning", f"{path}.on", "is for exit codes, and a function has none")
    if step.if_ is False:
        yield Problem("warning", f"steps.{name}.if", "is false, so the step is always skipped")
    if len(set(step.needs)) != len(step.needs):
        yield Problem("warning", f"steps.{name}.needs", "names a step twice")


def _call(name: str, step: Step, functions: Mapping[str, Signature]) -> Iterator[Problem]:
    path, call = f"steps.{name}", str(step.call)
    signature = functions.get(call)
    if signature is None:
        hint = did_you_mean(call, functions) or "no function is marked with @function in functions/"
        yield Problem("error", f"{path}.call", f"there is no function {call!r}", hint, "unknown_function")
        return
    if signature.open:
        return
    for argument in step.with_:
        if argument not in signature.params:
            hint = did_you_mean(argument, signature.params) or "it takes no arguments"
            yield Problem("error", f"{path}.with.{argument}", f"{call} has no such argument", hint, "unknown_argument")
    missing = [argument for argument in signature.required if argument not in step.with_]
    if missing:
        message = f"{call} also needs {', '.join(missing)}"
        yield Problem("error", f"{path}.with" if step.with_ else f"{path}.call", message, code="missing_argument")


def _pools(template: Template) -> Iterator[Problem]:
    """A pool has one limit."""
    limits: dict[str, int] = {}
    uses: Iterable[tuple[str, Concurrency | None]] = [
        ("concurrency", template.concurrency),
        *((f"steps.{name}.concurrency", step.concurrency) for name, step in template.steps.items()),
    ]
    for path, use in uses:
        if use is not None and limits.setdefault(use.pool, use.limit) != use.limit:
            message = f"pool {use.pool!r} has a limit of {limits[use.pool]} elsewhere, and {use.limit} here"
            yield Problem("error", f"{path}.limit", message, "one pool has one limit", "pool_limit")
