"""Who names whom in expressions: for each step, the others whose `if`, `with` or `env` looks at it."""

from __future__ import annotations

from collections.abc import Iterator

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model.template import Step, Template
from hybrid_engine.rules.expression_syntax import COMPUTED
from hybrid_engine.rules.expressions import compile_condition, references
from hybrid_engine.rules.graph import Ancestry


class Readers:
    """`named` has, for each step that is named, the steps that name it, in the order of the template. `of_any` are
    those that look up a step by a name which only the evaluation knows, or all steps at once."""

    __slots__ = ("_ancestry", "named", "of_any")

    def __init__(self, template: Template) -> None:
        self.named: dict[str, list[str]] = {}
        self.of_any: list[str] = []
        self._ancestry = Ancestry(template.steps)
        for reader, step in template.steps.items():
            looked_up = set(_steps_in(template, step))
            if COMPUTED in looked_up:
                self.of_any.append(reader)
            for name in looked_up - {COMPUTED}:
                self.named.setdefault(name, []).append(reader)

    def of(self, name: str) -> Iterator[str]:
        """The steps that name this one, or may have.

        A step behind the reader has never ended when the reader begins, so a computed name cannot have meant it.
        """
        yield from self.named.get(name, ())
        for reader in self.of_any:
            if reader != name and not self._ancestry.is_before(reader, name):
                yield reader


def _steps_in(template: Template, step: Step) -> Iterator[str]:
    """The steps that a step's expressions name; COMPUTED for one that the expression alone does not tell."""
    found: set[str] = set()
    for value in (template.env, step.env, step.with_):
        try:
            found |= references(value)
        except ExpressionError:
            continue  # the step fails whenever it is begun: there is no result that could be out of date
    if step.if_ is not None:
        try:
            found |= compile_condition(step.if_).references
        except ExpressionError:
            pass
    for reference in found:
        root, _, rest = reference.partition(".")
        if root == "steps":
            yield rest.partition(".")[0] or COMPUTED
