"""`${{ … }}`: values computed from params, outputs of earlier steps and the workflow itself.

A value that is one whole `${{ }}` keeps its type; otherwise the results become part of the text. Results are data and
are never parsed again. The evaluator is simpleeval with everything taken away that is not listed here: names come
from dictionaries only, no attribute of a Python object can be reached, and every result is bounded.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from simpleeval import SimpleEval

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model.nearest import did_you_mean
from hybrid_engine.model.words import Json
from hybrid_engine.rules.expression_functions import FUNCTIONS, as_text, same, truth
from hybrid_engine.rules.expression_syntax import CONSTANTS, Program, parse, split
from hybrid_engine.rules.expression_values import MAX_ALL, MAX_ITEMS, MAX_TEXT, bounded, check_size, plain, too_large
from hybrid_engine.rules.params import told

Names = Mapping[str, Any]
_CACHED = 10_000
"""Texts up to this length are compiled once; longer ones are rare and would fill the cache."""


class MissingError(ExpressionError):
    """A name leads nowhere. `default(…)` catches this and nothing else."""


class Compiled:
    """A value with its expressions parsed. `references` are the dotted names it looks up, for linting."""

    __slots__ = ("references", "value")

    def __init__(self, value: Json) -> None:
        self.value = value
        self.references = frozenset(_all_references(value, ""))

    def evaluate(self, names: Names) -> Json:
        return evaluate(self.value, names)


class CompiledCondition:
    """A condition with its expression parsed."""

    __slots__ = ("_condition", "references")

    def __init__(self, condition: str | bool) -> None:
        self._condition = condition
        self.references = _condition(condition).references if isinstance(condition, str) else frozenset()

    def evaluate(self, names: Names) -> bool:
        return evaluate_condition(self._condition, names)


def compile_value(value: Json) -> Compiled:
    """Parse every expression in a value. Raises ExpressionError; its path is that inside of the value, if any."""
    return Compiled(value)


def compile_condition(condition: str | bool) -> CompiledCondition:
    """Parse a condition, with or without `${{ }}`. Raises ExpressionError."""
    return CompiledCondition(condition)


def references(value: Json) -> set[str]:
    """The dotted names that the expressions in a value look up, as `steps.profile.output.score`."""
    return set(compile_value(value).references)


def evaluate(value: Json, names: Names) -> Json:
    """The value with every expression in it replaced by its result, as plain JSON. Raises ExpressionError only."""
    try:
        result = _evaluated(value, names)
        if isinstance(result, dict | list):
            check_size(result, MAX_ALL)
        return result
    except ExpressionError:
        raise
    except Exception as error:
        raise _unforeseen(error) from None


def _evaluated(value: Json, names: Names) -> Json:
    if isinstance(value, str):
        return _text(value, names) if "${{" in value else value
    if isinstance(value, Mapping):
        return {key: _inside(item, names, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_inside(item, names, str(index)) for index, item in enumerate(value)]
    return value


def evaluate_condition(condition: str | bool | None, names: Names) -> bool:
    """Does the condition hold? None is no condition. Raises ExpressionError when it is neither true nor false."""
    if condition is None or isinstance(condition, bool):
        return condition is not False
    return truth(_run(_condition(condition), names))


def _condition(text: str) -> Program:
    """The program of a condition. Text around `${{ }}` would always be true, so it is refused."""
    if "${{" not in text:
        return parse(text.strip())
    parts = _parts(text.strip())
    if len(parts) == 1 and isinstance(parts[0], Program):
        return parts[0]
    raise ExpressionError("a condition is one expression", code="syntax", hint="write all of it inside one ${{ }}")


def _inside(value: Json, names: Names, key: str) -> Json:
    try:
        return _evaluated(value, names)
    except ExpressionError as error:
        error.path = f"{key}.{error.path}" if error.path else str(key)
        raise


def _text(text: str, names: Names) -> Json:
    parts = _parts(text)
    if len(parts) == 1 and isinstance(parts[0], Program):
        return _run(parts[0], names)
    result = ""
    for part in parts:
        result += as_text(_run(part, names)) if isinstance(part, Program) else part
        if len(result) > MAX_TEXT:
            raise too_large(f"a text of more than {MAX_TEXT} characters")
    return result


def _parts(text: str) -> tuple[str | Program, ...]:
    return _cached_parts(text) if len(text) <= _CACHED else tuple(split(text))


@lru_cache(maxsize=4096)
def _cached_parts(text: str) -> tuple[str | Program, ...]:
    return tuple(split(text))


def _all_references(value: Json, path: str) -> Iterator[str]:
    if isinstance(value, str):
        try:
            for part in _parts(value) if "${{" in value else ():
                if isinstance(part, Program):
                    yield from part.references
        except ExpressionError as error:
            raise type(error)(error.message, path=path or None, code=error.code, hint=error.hint) from None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _all_references(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _all_references(item, f"{path}.{index}" if path else str(index))


def _run(program: Program, names: Names) -> Json:
    """The program's value as plain JSON. Raises ExpressionError, whatever the evaluation raises."""
    try:
        return plain(_Evaluator(names)._eval(program.tree))
    except ExpressionError as error:
        if f"`{program.text:.60}`" not in error.message:
            error.message = f"{error.message}, in `{program.text:.60}`"
        raise
    except Exception as error:
        raise _unforeseen(error, f" in `{program.text:.60}`") from None


def _unforeseen(error: Exception, where: str = "") -> ExpressionError:
    return ExpressionError(f"{str(error)[:200] or type(error).__name__}{where}", code="failed")


def _add(one: Json, other: Json) -> Json:
    if isinstance(one, str) and isinstance(other, str):
        limit = MAX_TEXT
    elif isinstance(one, list) and isinstance(other, list):
        limit = MAX_ITEMS
    else:
        return _add_numbers(one, other)
    if len(one) + len(other) > limit:
        raise too_large("too long")
    return operator.add(one, other)


def _arithmetic(work: Callable[[Any, Any], Any], verb: str, hint: str | None = None) -> Callable[[Json, Json], Json]:
    """An operator for numbers only; true and false are no numbers here."""

    def operate(one: Json, other: Json) -> Json:
        for value in (one, other):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ExpressionError(f"cannot {verb} {told(one)} and {told(other)}", code="wrong_type", hint=hint)
        try:
            return bounded(work(one, other))
        except ZeroDivisionError:
            raise ExpressionError("division by zero", code="failed") from None

    return operate


def _order(work: Callable[[Any, Any], Any]) -> Callable[[Json, Json], bool]:
    def compare(one: Json, other: Json) -> bool:
        if not (isinstance(one, str) and isinstance(other, str)):
            for value in (one, other):
                if isinstance(value, bool) or not isinstance(value, int | float):
                    hint = "it is missing or empty" if value is None else None
                    raise ExpressionError(
                        f"cannot compare {told(one)} with {told(other)}", code="wrong_type", hint=hint
                    )
        return bool(work(one, other))

    return compare


def _sign(work: Callable[[Any], Any]) -> Callable[[Json], Json]:
    def operate(value: Json) -> Json:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ExpressionError(f"{told(value)} is not a number", code="wrong_type")
        return work(value)

    return operate


_add_numbers = _arithmetic(operator.add, "add", "use str() to make text of a number")
_OPERATORS: dict[type, Callable[..., Json]] = {
    ast.Add: _add,
    ast.Sub: _arithmetic(operator.sub, "subtract"),
    ast.Mult: _arithmetic(operator.mul, "multiply"),
    ast.Div: _arithmetic(operator.truediv, "divide"),
    ast.FloorDiv: _arithmetic(operator.floordiv, "divide"),
    ast.Mod: _arithmetic(operator.mod, "take the rest of dividing"),
    ast.Eq: same,
    ast.NotEq: lambda one, other: not same(one, other),
    ast.Lt: _order(operator.lt),
    ast.LtE: _order(operator.le),
    ast.Gt: _order(operator.gt),
    ast.GtE: _order(operator.ge),
    ast.In: lambda item, container: FUNCTIONS["contains"](container, item),
    ast.NotIn: lambda item, container: not FUNCTIONS["contains"](container, item),
    ast.Not: operator.not_,
    ast.Invert: operator.not_,
    ast.USub: _sign(operator.neg),
    ast.UAdd: _sign(operator.pos),
}


class _Evaluator(SimpleEval):  # type: ignore[misc]
    """simpleeval's walk over the tree, with our own idea of names, fields and calls, and no others."""

    def __init__(self, names: Names) -> None:
        # Not the base's: that one makes tables of things we do not have, and fiddles with the global warning filters.
        self.names = names
        self.operators = _OPERATORS
        self.functions = FUNCTIONS
        self.nodes = _NODES

    def __del__(self) -> None:
        """The base's would clear `nodes`, which is shared here."""

    def _eval(self, node: ast.AST) -> Json:
        return _NODES[type(node)](self, node)

    def _name(self, node: ast.Name) -> Json:
        if node.id in CONSTANTS:
            return CONSTANTS[node.id]
        try:
            return self.names[node.id]
        except KeyError:
            hint = did_you_mean(node.id, self.names)
            raise ExpressionError(f"there is no name {node.id!r}", code="unknown_name", hint=hint) from None

    def _attribute(self, node: ast.Attribute) -> Json:
        return _field(self._eval(node.value), node.attr, node)

    def _subscript(self, node: ast.Subscript) -> Json:
        container, key = self._eval(node.value), self._eval(node.slice)
        if isinstance(container, list | str) and isinstance(key, int) and not isinstance(key, bool):
            try:
                return container[key]
            except IndexError:
                raise MissingError(f"`{_told(node.value)}` has no element {key}", code="missing") from None
        return _field(container, key, node)

    def _list(self, node: ast.List) -> Json:
        return [self._eval(item) for item in node.elts]

    def _call(self, node: ast.Call) -> Json:
        name = node.func.id  # type: ignore[attr-defined]  # checked when parsed
        if name == "default":
            return self._default(*node.args)
        arguments = [self._eval(argument) for argument in node.args]
        try:
            return bounded(FUNCTIONS[name](*arguments))
        except ExpressionError as error:
            error.message = f"{name}: {error.message}"
            raise

    def _default(self, wanted: ast.expr, fallback: ast.expr) -> Json:
        try:
            value = self._eval(wanted)
        except MissingError:
            value = None
        return self._eval(fallback) if value is None else value


_NODES: dict[type, Callable[[_Evaluator, Any], Json]] = {
    ast.Constant: lambda _, node: node.value,
    ast.Name: _Evaluator._name,
    ast.Attribute: _Evaluator._attribute,
    ast.Subscript: _Evaluator._subscript,
    ast.List: _Evaluator._list,
    ast.Call: _Evaluator._call,
    ast.UnaryOp: SimpleEval._eval_unaryop,
    ast.BinOp: SimpleEval._eval_binop,
    ast.BoolOp: SimpleEval._eval_boolop,
    ast.Compare: SimpleEval._eval_compare,
    ast.IfExp: SimpleEval._eval_ifexp,
}


def _field(container: Json, key: Json, node: ast.Attribute | ast.Subscript) -> Json:
    """A field of a mapping; of nothing else."""
    if isinstance(container, Mapping):
        try:
            return container[key]
        except (KeyError, TypeError):
            dashed = next((k for k in container if isinstance(key, str) and k.startswith(key + "-")), None)
            hint = f"write {_told(node.value)}['{dashed}']" if dashed else did_you_mean(key, container)
            raise MissingError(f"`{_told(node.value)}` has no {key!r:.60}", code="missing", hint=hint) from None
    if container is None:
        raise MissingError(
            f"`{_told(node.value)}` is null, so it has no {key!r:.60}",
            code="missing",
            hint="default(…, value) gives a value for what is missing",
        )
    raise ExpressionError(f"`{_told(node.value)}` is {told(container)}, and has no {key!r:.60}", code="wrong_type")


def _told(node: ast.expr) -> str:
    return f"{ast.unparse(node).replace('~', '!'):.60}"
