"""Commands about what can be run: templates list, check and show; functions list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import completion, options
from hybrid_engine.cli.output import emit, note, say
from hybrid_engine.cli.tables import table
from hybrid_engine.errors import HybridError, TemplateError

if TYPE_CHECKING:
    from hybrid_engine.files.templates import TemplateStore

WRONG = 2


def list_templates(as_json: options.Json = False) -> None:
    """List templates, and what is wrong with those that cannot be used."""
    from hybrid_engine.files.place import check_is_home
    from hybrid_engine.files.templates import TemplateStore

    layout = options.settings().layout
    check_is_home(layout)
    store = TemplateStore(layout)
    rows: list[dict[str, Any]] = []
    broken: dict[str, str] = {}
    for name in store.names():
        row: dict[str, Any] = {"name": name, "version": None, "steps": None, "params": None, "description": None}
        try:
            found = store.load(name)
            row.update(version=found.version, steps=len(found.steps), params=sorted(found.params), error=None)
            row["description"] = found.description
        except HybridError as error:
            row["error"] = str(error)
            number = len(getattr(error, "problems", ()))
            broken[name] = f"{number} problems: see `hybrid templates check {name}`" if number > 1 else str(error)
        rows.append(row)
    if as_json:
        emit(rows)
        return
    for row in rows:
        row["about"] = f"broken: {broken[row['name']]}" if row["error"] else row["description"]
    table(rows, {"name": "name", "version": "version", "steps": "steps", "params": "params", "about": "description"})
    for stray in store.strays():
        note(f"warning: {stray}")


def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Template names; else all.", autocompletion=completion.templates)
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Check templates and the functions they call. Exits with 2 when there is an error."""
    from hybrid_engine.files.functions import catalogue
    from hybrid_engine.files.place import check_is_home
    from hybrid_engine.files.templates import TemplateStore

    layout = options.settings().layout
    check_is_home(layout)
    store, functions = TemplateStore(layout), catalogue(layout)
    wanted = names or store.names()
    rows: list[dict[str, Any]] = []
    for name in wanted:
        for problem in store.findings(name, functions):
            rows.append({"template": name, **_told(problem)})
    problems = [
        *(problem for problem in functions.problems if not names or _concerns(problem, store, wanted)),
        *([] if names else store.strays()),
    ]
    rows += [{"template": None, "severity": "error", **problem.as_dict()} for problem in problems]
    if as_json:
        emit(rows)
    else:
        for row in rows:
            where = ":".join(str(row[part]) for part in ("file", "line", "column") if row.get(part) is not None)
            path = f"{row['path']}: " if row.get("path") else ""
            hint = f" ({row['hint']})" if row.get("hint") else ""
            say(f"{where}: {row['severity']}: {path}{row['message']}{hint}")
        wrong = {row["template"] for row in rows if row["severity"] == "error"}
        for name in wanted:
            if name not in wrong:
                say(f"{name}: ok")
    return WRONG if any(row["severity"] == "error" for row in rows) else 0


def _concerns(problem: TemplateError, store: TemplateStore, names: list[str]) -> bool:
    """Is a file in `functions/` one that these templates call, or import on the way to what they call?"""
    parts = Path(problem.file or "").with_suffix("").parts[1:]
    module = ".".join(part for part in parts if part != "__init__")
    return any(call.startswith(module + ".") for name in names for call in _calls(store, name))


def _calls(store: TemplateStore, name: str) -> list[str]:
    try:
        return [step.call for step in store.load(name).steps.values() if step.call]
    except HybridError:
        return []  # its problems are told by themselves


def _told(problem: Any) -> dict[str, Any]:
    return {**problem.as_error().as_dict(), "severity": problem.severity}


def show(name: options.Template, as_json: options.Json = False) -> None:
    """Show a template as it is read: params, steps in order, what each needs and does."""
    from hybrid_engine.files.place import check_is_home
    from hybrid_engine.files.templates import TemplateStore
    from hybrid_engine.model.jsontext import decode

    layout = options.settings().layout
    check_is_home(layout)
    template = TemplateStore(layout).load(name)
    if as_json:
        emit({"version": template.version, **decode(template.to_frozen())})
        return
    say(f"{template.name}  {template.version}" + (f"  {template.description}" if template.description else ""))
    if template.params:
        say()
        table(
            [
                {
                    "name": param,
                    "type": spec.type,
                    "default": "(must be given)" if spec.required else spec.default,
                    "about": spec.description,
                }
                for param, spec in template.params.items()
            ],
            {"name": "param", "type": "type", "default": "default", "about": "description"},
        )
    say()
    table(
        [
            {
                "name": step.name,
                "does": f"call {step.call}" if step.call else f"run {(step.run or '').strip().splitlines()[0]:.60}",
                "needs": list(step.needs),
                "if": step.if_,
            }
            for step in template.steps.values()
        ],
        {"name": "step", "does": "does", "needs": "needs", "if": "if"},
    )


def list_functions(as_json: options.Json = False) -> None:
    """List the functions in functions/ that steps can call."""
    from dataclasses import asdict

    from hybrid_engine.files.functions import catalogue
    from hybrid_engine.files.place import check_is_home

    layout = options.settings().layout
    check_is_home(layout)
    found = catalogue(layout)
    rows = [asdict(function) for function in found.values()]
    if as_json:
        emit(rows)
    else:
        for row in rows:
            row["where"] = f"{row['file']}:{row['line']}"
            row["about"] = (row["doc"] or "").strip().split("\n", 1)[0]
        columns = {"name": "function", "params": "arguments", "where": "where", "about": "description"}
        table(rows, columns)
    for problem in found.problems:
        note(f"warning: {problem}")
