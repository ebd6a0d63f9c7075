"""The command `enqueue`.

A plain `enqueue` is done by `cli.fast`, without this module; what it gives up on ends here and is done the same way.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import completion, options
from hybrid_engine.cli.output import emit, facts, note, say
from hybrid_engine.cli.tables import cell

if TYPE_CHECKING:
    from hybrid_engine.model.job import Job
    from hybrid_engine.settings import Settings

REJECTED = 2
PATIENCE = 2.0
"""Seconds for which a running daemon may take a job out of the inbox, before we say that it has not."""
PAUSE = 0.01


def enqueue(
    template: options.Template,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", "-p", help="name=value, or name:=JSON. May be repeated.", autocompletion=completion.params
        ),
    ] = None,
    params_file: Annotated[str | None, typer.Option(help="Params in a YAML or JSON file; -p overrides them.")] = None,
    priority: Annotated[int | None, typer.Option(help="0 to 9; 9 is the most urgent.")] = None,
    delay: Annotated[str | None, typer.Option(help="Start no earlier than after this delay, such as 10m.")] = None,
    at: Annotated[str | None, typer.Option(help="Start no earlier than at this time, RFC 3339.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same key gives the same workflow.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="name=value. May be repeated.")] = None,
    user: options.User = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended; exits as `hybrid wait` does.")] = False,
    timeout: Annotated[float | None, typer.Option(help="With --wait: seconds to wait.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the job and print what would be accepted.")
    ] = False,
    as_json: options.Json = False,
) -> int:
    """Enqueue a workflow; prints its id."""
    from hybrid_engine.cli.arguments import labels_of, params_of
    from hybrid_engine.files import submission

    settings = options.settings()
    raw: dict[str, Any] = {"template": template, "priority": priority, "delay": delay, "at": at, "key": key}
    raw["params"] = {**(_params_of_file(params_file) if params_file else {}), **params_of(param or [])}
    raw["labels"] = labels_of(label or [])
    raw = {name: value for name, value in raw.items() if value not in (None, {})}
    frozen, version = frozen_template(settings, template, keep=not dry_run)
    request, job = submission.prepare(
        raw, frozen, version, trigger="cli", user=user if user is not None else settings.user, coerce=True
    )
    if dry_run:
        return _tell_job(job, as_json)
    known = submission.is_known(settings.layout, job.id)
    submission.submit(settings.layout, request, job)
    if as_json and not wait:
        return _tell_acceptance(settings, job.id, known)
    if not as_json:
        say(job.id)
    if not wait:
        return 0
    from hybrid_engine.cli.waiting import wait_for

    sys.stdout.flush()
    return wait_for([job.id], timeout, as_json, quiet=True)


def _tell_job(job: Job, as_json: bool) -> int:
    """What would be accepted. The id is made when it is."""
    record = {name: value for name, value in job.as_record().items() if name not in ("id", "format")}
    if as_json:
        emit({"accepted": False, "dry_run": True, "job": record})
    else:
        say("would be accepted:")
        facts({name: cell(value) for name, value in record.items()})
    return 0


def _tell_acceptance(settings: Settings, workflow: str, known: bool) -> int:
    """Say as JSON whether the job is in the queue. A running daemon is given a moment to take it out of the inbox."""
    import time

    queries = options.queries(settings)
    deadline = time.monotonic() + PATIENCE
    while (record := queries.home.record(workflow)) is None and queries.home.rejected(workflow) is None:
        if queries.home.engine() is None or time.monotonic() > deadline:
            break
        time.sleep(PAUSE)
    found: dict[str, Any] = {"id": workflow, "accepted": record is not None, "known": known}
    reason = queries.home.rejected(workflow) if record is None else None
    if record is not None:
        found["version"] = record["version"]
    elif reason is not None:
        found["rejected"] = reason
    emit(found)
    return 0 if reason is None else REJECTED


def frozen_template(settings: Settings, name: str, *, keep: bool = True) -> tuple[dict[str, Any], str]:
    """The template to use now, frozen; while its file is broken the last good version, and a note that says so.

    Without `keep` nothing is written.
    """
    from hybrid_engine.files.place import check_is_home
    from hybrid_engine.files.templates import TemplateStore
    from hybrid_engine.model.jsontext import decode

    check_is_home(settings.layout)
    store = TemplateStore(settings.layout)
    template = store.current(name, keep=keep)
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
