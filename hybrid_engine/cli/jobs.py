"""Commands that ask for something: enqueue, and cancel, pause, resume, retry.

A plain `enqueue` is done by `cli.fast`, without this module; what it gives up on ends here and is done the same way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import options
from hybrid_engine.cli.output import emit, note, say

if TYPE_CHECKING:
    from hybrid_engine.settings import Settings


def register(app: typer.Typer) -> None:
    app.command()(enqueue)
    for verb, about in (
        ("cancel", "End workflows: what runs of them is stopped, with all its processes."),
        ("pause", "Start nothing more of workflows; what runs of them goes on to its end."),
        ("resume", "Let paused workflows go on."),
        ("retry", "Let failed or cancelled workflows go on from the steps that failed."),
    ):
        app.command(verb, help=about)(_command(verb))


def enqueue(
    template: options.Template,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="name=value, or name:=JSON. May be repeated.")
    ] = None,
    params_file: Annotated[str | None, typer.Option(help="Params in a YAML or JSON file; -p comes on top.")] = None,
    priority: Annotated[int | None, typer.Option(help="0 to 9; 9 is the most urgent.")] = None,
    delay: Annotated[str | None, typer.Option(help="Start no sooner than after this long, such as 10m.")] = None,
    at: Annotated[str | None, typer.Option(help="Start no sooner than at this moment, RFC 3339.")] = None,
    key: Annotated[str | None, typer.Option(help="The same key gives the same workflow, also after its end.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="name=value. May be repeated.")] = None,
    user: Annotated[str | None, typer.Option(help="Who asks; else HYBRID_USER.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; exits as `hybrid wait` does.")] = False,
    timeout: Annotated[float | None, typer.Option(help="With --wait: seconds to wait.")] = None,
    as_json: options.Json = False,
) -> int:
    """Ask for a workflow; prints its id, alone."""
    from hybrid_engine.cli.arguments import labels_of, params_of
    from hybrid_engine.files import submission

    settings = options.settings()
    raw: dict[str, Any] = {"template": template, "priority": priority, "delay": delay, "at": at, "key": key}
    raw["params"] = {**(_params_of_file(params_file) if params_file else {}), **params_of(param or [])}
    raw["labels"] = labels_of(label or [])
    raw = {name: value for name, value in raw.items() if value not in (None, {})}
    frozen, version = frozen_template(settings, template)
    request, job = submission.prepare(
        raw, frozen, version, trigger="cli", user=user if user is not None else settings.user, coerce=True
    )
    accepted = submission.submit(settings.layout, request, job)
    if as_json and not wait:
        emit({"id": job.id, "accepted": accepted, "version": version})
    elif not as_json:
        say(job.id)
    if not wait:
        return 0
    from hybrid_engine.cli.follow import wait_for

    sys.stdout.flush()
    return wait_for([job.id], timeout, as_json, quiet=True)


def frozen_template(settings: Settings, name: str) -> tuple[dict[str, Any], str]:
    """The template to use now, frozen; while its file is broken the last good version, and a note that says so."""
    from hybrid_engine.files.place import check_is_home
    from hybrid_engine.files.templates import TemplateStore
    from hybrid_engine.model.jsontext import decode

    check_is_home(settings.layout)
    store = TemplateStore(settings.layout)
    template = store.current(name)
    if name in store.problems:
        note(f"warning: {store.problems[name]}; the last good version ({template.version}) is used")
    return decode(template.to_frozen()), template.version


def _params_of_file(path: str) -> dict[str, Any]:
    from hybrid_engine.errors import JobError
    from hybrid_engine.files.jobfile import MAX_FILE
    from hybrid_engine.files.strict import parse_document, read_plain_file

    data, _ = read_plain_file(path, MAX_FILE, links=None, error=JobError)
    found, _ = parse_document(data, path, file=path, error=JobError)
    if not isinstance(found, dict):
        raise JobError("must be a mapping of names to values", file=path)
    return found


def _command(verb: str) -> Callable[..., int]:
    def command(
        workflow: options.Workflows,
        reason: Annotated[str | None, typer.Option(help="Why; it stands in the journal.")] = None,
        user: Annotated[str | None, typer.Option(help="Who asks; else HYBRID_USER.")] = None,
        as_json: options.Json = False,
    ) -> int:
        return ask(verb, workflow, reason, user, as_json)

    return command


def ask(verb: str, workflows: list[str], reason: str | None, user: str | None, as_json: bool) -> int:
    """Ask for `verb` for each workflow; one that is refused does not keep the others from it."""
    from hybrid_engine.errors import HybridError
    from hybrid_engine.opening import open_commands

    settings = options.settings()
    queries = options.queries(settings)
    commands = open_commands(settings, queries, user)
    rows: list[dict[str, Any]] = []
    code = 0
    for workflow in workflows:
        try:
            rows.append({"id": commands.ask(verb, workflow, reason), "asked": verb})
            if not as_json:
                say(f"{rows[-1]['id']} {verb} asked")
        except HybridError as error:
            if len(workflows) == 1:
                raise
            rows.append({"id": workflow, "error": str(error)})
            note(f"hybrid: {error}")
            code = code or error.exit_code
    if as_json:
        emit(rows)
    if queries.home.engine() is None:
        note("no daemon runs: it is done when one does")
    return code
