"""Commands that ask the daemon for something: cancel, pause, resume; for one workflow or for many.

`retry` is in `retrying`. No `from __future__ import annotations` here: three commands share their options and differ
in what is completed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import completion, options
from hybrid_engine.cli.output import emit, note, say
from hybrid_engine.cli.selection import UNFINISHED, Choice, chosen
from hybrid_engine.errors import HybridError

if TYPE_CHECKING:
    from hybrid_engine.engine.commands import Commands

    Act = Callable[[Commands, str], dict[str, Any]]

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
}
"""Of each verb: what its help says, the statuses a workflow may have, and what is completed."""


def _command(verb: str) -> Callable[..., int]:
    about, possible, offers = VERBS[verb]

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

        def act(commands: "Commands", workflow: str) -> dict[str, Any]:
            return {"id": commands.ask(verb, workflow, reason), "asked": verb}

        return ask(verb, choice, possible, act, user, yes, as_json)

    command.__doc__ = about
    return command


cancel, pause, resume = map(_command, VERBS)


def ask(
    verb: str,
    choice: Choice,
    possible: tuple[str, ...],
    act: "Act",
    user: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Do `act` for each workflow, which gives its row; one that is refused does not keep the others from it."""
    from hybrid_engine.opening import open_commands

    settings = options.settings()
    queries = options.queries(settings)
    ids = chosen(choice, queries, possible, verb, yes)
    if ids is None:
        return REFUSED
    commands = open_commands(settings, queries, user)
    rows: list[dict[str, Any]] = []
    code = 0
    for workflow in ids:
        try:
            rows.append(act(commands, workflow))
            if not as_json:
                _tell(rows[-1])
        except HybridError as error:
            if len(ids) == 1:
                raise
            rows.append({"id": workflow, "error": str(error)})
            note(f"hybrid: {error}")
            code = code or error.exit_code
    if as_json:
        emit(rows)
    if any("asked" in row for row in rows) and queries.home.engine() is None:
        note("no daemon is running: this takes effect when one is started")
    return code


def _tell(row: dict[str, Any]) -> None:
    if "asked" in row:
        say(f"{row['id']} {row['asked']} requested")
        return
    say(f"{row['id']} would run again:")
    for name, status in row["steps"].items():
        say(f"  {name} (now {status})")
