"""Commands that ask the daemon for something: cancel, pause, resume, retry; for one workflow or for many.

No `from __future__ import annotations` here: four commands share their options and differ in what is completed.
"""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from hybrid_engine.cli import completion, options
from hybrid_engine.cli.output import emit, note, say
from hybrid_engine.cli.selection import UNFINISHED, Choice, chosen
from hybrid_engine.errors import HybridError

REFUSED = 1
VERBS: dict[str, tuple[str, tuple[str, ...], Callable[..., Any]]] = {
    "cancel": (
        "Cancel workflows: their running steps are stopped, with all processes.",
        UNFINISHED,
        completion.unfinished,
    ),
    "pause": (
        "Pause workflows: running steps finish, and no others are started.",
        ("queued", "running", "waiting"),
        completion.can_pause,
    ),
    "resume": ("Resume paused workflows.", ("paused",), completion.paused),
    "retry": (
        "Retry failed or cancelled workflows from the steps that failed.",
        ("failed", "cancelled"),
        completion.can_retry,
    ),
}
"""Of each verb: what its help says, the statuses a workflow may have, and what is completed."""


def _command(verb: str) -> Callable[..., int]:
    about, _, offers = VERBS[verb]

    def command(
        workflows: Annotated[
            list[str] | None,
            typer.Argument(help="Workflow ids, or unique parts of them.", autocompletion=offers),
        ] = None,
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
        choice = Choice(workflows, everything, status, template, label, since, until)
        return ask(verb, choice, reason, user, yes, as_json)

    command.__doc__ = about
    return command


cancel, pause, resume, retry = map(_command, VERBS)


def ask(verb: str, choice: Choice, reason: str | None, user: str | None, yes: bool, as_json: bool) -> int:
    """Ask for `verb` for each workflow; one that is refused does not keep the others from it."""
    from hybrid_engine.opening import open_commands

    settings = options.settings()
    queries = options.queries(settings)
    ids = chosen(choice, queries, VERBS[verb][1], verb, yes)
    if ids is None:
        return REFUSED
    commands = open_commands(settings, queries, user)
    rows: list[dict[str, Any]] = []
    code = 0
    for workflow in ids:
        try:
            rows.append({"id": commands.ask(verb, workflow, reason), "asked": verb})
            if not as_json:
                say(f"{rows[-1]['id']} {verb} requested")
        except HybridError as error:
            if len(ids) == 1:
                raise
            rows.append({"id": workflow, "error": str(error)})
            note(f"hybrid: {error}")
            code = code or error.exit_code
    if as_json:
        emit(rows)
    if ids and queries.home.engine() is None:
        note("no daemon is running: this takes effect when one is started")
    return code
