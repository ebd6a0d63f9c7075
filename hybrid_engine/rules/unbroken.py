"""Every problem of a template in one pass: what is sound of one with broken fields is checked as well.

Broken fields are taken out and the rest is linted. Where that could make an error of its own (names and needs that are
gone), nothing more is said than what is certain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_engine.errors import InputError, TemplateError
from hybrid_engine.model.explain import BAD_KEY
from hybrid_engine.model.template import Template
from hybrid_engine.rules.linting import Problem, lint

_BARE = re.compile(r"""[{\[,:]\s*\$\{\{""")


def quote_hint(error: TemplateError, data: bytes) -> str | None:
    """A hint for what is not YAML because an expression stands without quotes inside of `{…}` or `[…]`."""
    if error.code != "syntax" or error.line is None:
        return None
    lines = data.split(b"\n")[: error.line]
    found = _BARE.search(lines[-1].decode("utf-8", "replace")) if lines else None
    return 'an expression inside of {…} or […] needs quotes, quote it: "${{ … }}"' if found else None


def all_problems(data: Any, name: str, error: TemplateError) -> list[Problem]:
    """The problems of `error`, which `Template.author` raised for `data`, and the errors in what is sound of it."""
    broken = error.problems or (error,)
    return [*map(Problem.of, broken), *_of_the_rest(data, name, broken)]


def _of_the_rest(data: Any, name: str, broken: Sequence[InputError]) -> list[Problem]:
    paths = [problem.path.split(".") for problem in broken if problem.path]
    if not isinstance(data, Mapping) or len(paths) < len(broken) or not all(map(_may_go, broken, paths)):
        return []
    rest = _copy(data)
    for path in paths:
        _take_out(rest, path)
    steps = rest.get("steps")
    for step in steps.values() if isinstance(steps, dict) else ():
        if isinstance(step, dict):
            _make_sound(step)
    try:
        template = Template.author(rest, name)
    except TemplateError:
        return []
    touched = tuple(".".join(path) for path in paths)
    return [
        problem
        for problem in lint(template)
        if problem.severity == "error" and not any(_is_inside(problem.path, path) for path in touched)
    ]


def _may_go(problem: InputError, path: list[str]) -> bool:
    """Can this be taken out, without others missing it?"""
    if problem.code == BAD_KEY and path[0] != "env" and not (len(path) > 3 and path[2] == "env"):
        return False  # the name of a step or a parameter
    return path not in (["steps"], ["params"], ["name"]) and path[2:3] != ["needs"]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _take_out(rest: Any, path: list[str]) -> None:
    """Remove the field that a path leads into: of the template, or of one step or parameter."""
    if path[0] not in ("steps", "params"):
        rest.pop(path[0], None)
        return
    part = rest[path[0]]
    if len(path) > 2 and isinstance(part.get(path[1]), dict):
        part[path[1]].pop(path[2], None)
    elif path[0] == "params" or not isinstance(part.get(path[1]), dict):
        part[path[1]] = {}
    else:
        for key in ("run", "call", "with"):  # they do not fit together
            part[path[1]].pop(key, None)


def _make_sound(step: dict[str, Any]) -> None:
    if not (step.get("run") or step.get("call")):
        step["run"] = "true"
    if "call" not in step:
        step.pop("with", None)


def _is_inside(path: str, broken: str) -> bool:
    return path == broken or path.startswith(broken + ".")
