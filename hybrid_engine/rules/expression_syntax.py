"""From the text between `${{` and `}}` to a checked syntax tree: a small, closed part of Python's expressions.

`&&`, `||` and `!` are accepted outside of text in quotes, and names may be words that Python reserves (`steps.import`).
What is not listed in ALLOWED does not exist: no method, no lambda, no comprehension, no f-string, no `**`, no shift.
Keep: length, number of nodes and depth are checked before anything is evaluated.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from keyword import iskeyword
from typing import NamedTuple

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model.nearest import did_you_mean
from hybrid_engine.rules.expression_functions import ARITY

MAX_LENGTH = 2_000
MAX_NODES = 300
MAX_DEPTH = 100
MAX_DIGITS = 100
MAX_PARTS = 200
"""Expressions in one text."""

COMPUTED = "[]"
"""In a reference, in place of what only the evaluation knows: `steps[params.which].output` is `steps.[]`."""

CONSTANTS = {"true": True, "false": False, "null": None}

ALLOWED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Attribute, ast.Subscript, ast.List, ast.Call, ast.IfExp,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod,
    ast.UnaryOp, ast.USub, ast.UAdd, ast.Not, ast.Invert,
    ast.BoolOp, ast.And, ast.Or,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
)  # fmt: skip

_TOLD = {
    ast.Pow: "**", ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "& (write &&)", ast.BitOr: "| (write ||)",
    ast.BitXor: "^", ast.MatMult: "@", ast.Is: "is (write ==)", ast.IsNot: "is not (write !=)", ast.Lambda: "lambda",
    ast.JoinedStr: "an f-string", ast.NamedExpr: ":=", ast.ListComp: "a comprehension", ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension", ast.GeneratorExp: "a comprehension", ast.Slice: "a slice", ast.Starred: "*",
    ast.Tuple: "a tuple (write a list: [a, b])", ast.Dict: "a mapping", ast.Set: "a set",
}  # fmt: skip

_ESCAPE = r"\\(?:[\\'\"abfnrtv0]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})"
_QUOTED = rf"\"(?:[^\"\\]|{_ESCAPE})*+\"|'(?:[^'\\]|{_ESCAPE})*+'"
_PIECE = re.compile(rf"({_QUOTED})|(&&)|(\|\|)|(!(?!=))|\.\s*([A-Za-z_]\w*)|(\s+)|([^\"'\\~#;`$?{{}}])", re.DOTALL)
# Braces are not part of the language, so the first }} outside of quotes ends an expression.
_INNER = re.compile(r"(?:\"(?:[^\"\\]|\\.)*+\"|'(?:[^'\\]|\\.)*+'|(?!\}\})[^\"'])*+", re.DOTALL)


class Program(NamedTuple):
    """A checked expression: its tree, and the dotted names it looks up."""

    text: str
    tree: ast.expr
    references: frozenset[str]


def split(text: str) -> Iterator[str | Program]:
    """The pieces of a text with expressions in it: plain text and programs, in order."""
    position, count = 0, 0
    while (start := text.find("${{", position)) >= 0:
        if start > position:
            yield text[position:start]
        end = _INNER.match(text, start + 3).end()  # type: ignore[union-attr]  # it matches nothing, too
        if text[end : end + 2] != "}}":
            raise ExpressionError("${{ is not closed by }}", code="syntax")
        count += 1
        if count > MAX_PARTS:
            raise ExpressionError(f"more than {MAX_PARTS} expressions in one text", code="too_large")
        yield parse(text[start + 3 : end].strip())
        position = end + 2
    if position < len(text):
        yield text[position:]


@lru_cache(maxsize=4096)
def parse(text: str) -> Program:
    """The program of an expression without its `${{ }}`. Raises ExpressionError."""
    if not text:
        raise ExpressionError("the expression is empty", code="syntax")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression is longer than {MAX_LENGTH} characters", code="too_large")
    try:
        tree = ast.parse(_as_python(text), mode="eval")
    except Exception as error:
        raise _syntax(text, error) from None
    _check(tree)
    return Program(text, tree.body, frozenset(_references(tree.body)))


def dotted(node: ast.expr) -> tuple[list[str], list[ast.expr]] | None:
    """`a.b['c'][0]` as ([a, b, c, 0], []); a computed index ends the path as COMPUTED and is handed back. None for no
    name."""
    path: list[str] = []
    computed: list[ast.expr] = []
    while True:
        if isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Subscript):
            if isinstance(node.slice, ast.Constant):
                path.append(str(node.slice.value))
            else:
                computed.append(node.slice)
                path[:] = [COMPUTED]
            node = node.value
        elif isinstance(node, ast.Name):
            path.append(node.id)
            return path[::-1], computed
        else:
            return None


def _as_python(text: str) -> str:
    """Our spelling in Python's. `!` becomes `~`, which binds as tightly as people expect and is otherwise not ours."""
    python: list[str] = []
    position = 0
    while position < len(text):
        match = _PIECE.match(text, position)
        if match is None:
            raise ExpressionError(f"{text[position]!r} has no place here: {_around(text, position)}", code="syntax")
        quoted, both, either, negation, name, space, other = match.groups()
        if name is not None:
            python.append(f"['{name}']" if iskeyword(name) else f".{name}")
        else:
            python.append(
                quoted or (both and " and ") or (either and " or ") or (negation and "~") or (space and " ") or other
            )
        position = match.end()
    return "".join(python)


def _around(text: str, position: int) -> str:
    return f"…{text[max(0, position - 15) : position + 15]}…"


def _syntax(text: str, error: Exception) -> ExpressionError:
    told = f"{text:.80}" + ("…" if len(text) > 80 else "")
    hint = None
    if re.search(r"(?<![=!<>])=(?!=)", text):
        hint = "write == to compare"
    reason = error.msg if isinstance(error, SyntaxError) else "too complicated"
    return ExpressionError(f"`{told}` is not an expression: {reason}", code="syntax", hint=hint)


def _check(tree: ast.Expression) -> None:
    """Only what is allowed, not too much of it, not too deep."""
    level: list[ast.AST] = [tree]
    count = depth = 0
    while level:
        count += len(level)
        depth += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise ExpressionError("the expression is too complicated", code="too_large")
        for node in level:
            _check_node(node)
        level = [child for node in level for child in _children(node)]


def _children(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        # The name of a called function is checked with the call; `Load` says nothing.
        if not isinstance(child, ast.Load) and not (isinstance(node, ast.Call) and child is node.func):
            yield child


def _check_node(node: ast.AST) -> None:
    if not isinstance(node, ALLOWED):
        raise _not_allowed(_TOLD.get(type(node), type(node).__name__.lower()))
    if isinstance(node, ast.Constant):
        _check_constant(node.value)
    elif isinstance(node, ast.Call):
        _check_call(node)


def _check_constant(value: object) -> None:
    if isinstance(value, str):
        if not value.isprintable() and any(0xD800 <= ord(letter) < 0xE000 for letter in value):
            raise ExpressionError("half of a surrogate pair is not a character", code="syntax")
    elif isinstance(value, float):
        if value - value != 0.0:
            raise ExpressionError("a number that large is infinite", code="not_finite")
    elif isinstance(value, int):
        if abs(value) >= 10**MAX_DIGITS:
            raise ExpressionError(f"a number of more than {MAX_DIGITS} digits", code="too_large")
    elif value is not None:
        raise _not_allowed(f"{value!r:.40}")


def _check_call(node: ast.Call) -> None:
    if not isinstance(node.func, ast.Name):
        raise _not_allowed("a method call")
    name = node.func.id
    if name not in ARITY:
        hint = did_you_mean(name, ARITY) or "known: " + ", ".join(sorted(ARITY))
        raise ExpressionError(f"there is no function {name!r:.80}", code="unknown_function", hint=hint)
    if node.keywords:
        raise _not_allowed("an argument by name")
    least, most = ARITY[name]
    if not least <= len(node.args) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise ExpressionError(f"{name} takes {wanted} arguments, not {len(node.args)}", code="syntax")


def _not_allowed(what: str) -> ExpressionError:
    return ExpressionError(f"{what} is not part of expressions", code="not_allowed")


def _references(tree: ast.expr) -> Iterator[str]:
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Name) and (found := dotted(node)):
            path, computed = found
            if path[0] not in CONSTANTS:
                yield ".".join(path)
            todo.extend(computed)
        else:
            todo.extend(_children(node))
