"""The command `retry`: which steps of which workflows run again, or would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import completion, options
from hybrid_engine.cli.asking import ask
from hybrid_engine.cli.output import note
from hybrid_engine.cli.selection import Choice
from hybrid_engine.errors import HybridError

if TYPE_CHECKING:
    from hybrid_engine.engine.commands import Commands
    from hybrid_engine.ports.looking import Record

POSSIBLE = ("failed", "cancelled")
"""The statuses that a filter looks for when it names none. A completed workflow must be asked for by name."""


def retry(
    workflows: Annotated[
        list[str] | None,
        typer.Argument(help="Workflow ids, or unique parts of them.", autocompletion=completion.can_retry),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Run this step and all that depends on it again, beside what failed; also of a completed workflow.",
            autocompletion=completion.steps,
        ),
    ] = None,
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step",
            help="Run only this step again, and what depends on it; also of a completed workflow. May be repeated.",
            autocompletion=completion.steps,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print which steps would run again.")] = False,
    everything: options.All = False,
    status: options.Statuses = None,
    template: options.OfTemplate = None,
    label: options.Labels = None,
    since: options.Since = None,
    until: options.Until = None,
    reason: Annotated[str | None, typer.Option(help="The reason; it is recorded in the journal.")] = None,
    user: options.User = None,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> int:
    """Retry workflows: the steps that failed run again, and all that depends on them."""
    from hybrid_engine.engine.stepchoice import StepChoice

    choice = Choice(workflows, everything, status, template, label, since, until)
    steps = StepChoice(from_, step or ())
    changed = _Changed()

    def act(commands: Commands, workflow: str) -> dict[str, Any]:
        if dry_run:
            record = commands.would_retry(workflow, steps)
            again = {name: found["status"] for name, found in record["steps"].items()}
            row: dict[str, Any] = {"id": record["id"], "dry_run": True, "steps": again}
        else:
            record = commands.retry(workflow, steps, reason)
            row = {"id": record["id"], "asked": "retry"}
        changed.look_at(record)
        return row

    possible = (*POSSIBLE, "completed") if steps and choice.filters.get("status") else POSSIBLE
    code = ask("retry", choice, possible, act, user, yes or dry_run, as_json)
    changed.tell()
    return code


class _Changed:
    """Workflows whose template is not any more what it was when they were accepted: a retry runs the old one."""

    def __init__(self) -> None:
        self._versions: dict[str, str | None] = {}
        self._found: dict[str, list[str]] = {}

    def look_at(self, record: Record) -> None:
        name = record["template"]
        if name not in self._versions:
            self._versions[name] = _current_version(name)
        if self._versions[name] != record["version"]:
            self._found.setdefault(name, []).append(record["id"])

    def tell(self) -> None:
        for name, ids in self._found.items():
            more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
            how = "has changed" if self._versions[name] else "was removed or broken"
            note(f"template {name} {how} since {ids[0]}{more} was accepted: a retry runs the version of that time")


def _current_version(name: str) -> str | None:
    """The version that the template's file makes now; None when there is no such file, or it is not right."""
    from hybrid_engine.files.templates import TemplateStore

    try:
        return TemplateStore(options.settings().layout).load(name).version
    except HybridError:
        return None
