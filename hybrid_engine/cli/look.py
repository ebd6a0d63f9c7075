"""Commands that look once: list, show, why, queue."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from hybrid_engine.cli import options
from hybrid_engine.cli.output import coloured, emit, moment, note, one_line, say, table, took


def register(app: typer.Typer) -> None:
    app.command("list")(list_workflows)
    for command in (show, why, queue):
        app.command()(command)


def list_workflows(
    status: Annotated[list[str] | None, typer.Option("--status", "-s", help="Only these. May be repeated.")] = None,
    template: Annotated[str | None, typer.Option("--template", "-t", autocompletion=options.complete_template)] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="name=value, or name alone.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those of this user.")] = None,
    key: Annotated[str | None, typer.Option(help="Only those with this key.")] = None,
    since: Annotated[str | None, typer.Option(help="Asked for since: 2h, 1d, or a moment.")] = None,
    until: Annotated[str | None, typer.Option(help="Asked for before: 2h, 1d, or a moment.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000)] = 50,
    after: Annotated[str | None, typer.Option(help="Go on behind this cursor (see --json).")] = None,
    as_json: options.Json = False,
) -> None:
    """List workflows, newest first."""
    from hybrid_engine.files.dropbox import stamp_now

    now = stamp_now()
    pairs = [text.partition("=") for text in label or []]
    rows = options.queries().page(
        status=options.statuses_of(status),
        template=template,
        labels={name: value if sign else None for name, sign, value in pairs} or None,
        user=user,
        key=key,
        since=options.moment_of(since, now) if since else None,
        until=options.moment_of(until, now) if until else None,
        limit=limit,
        after=after,
    )
    if as_json:
        emit(rows)
        return
    for row in rows:
        row["queued"] = moment(row["queued_at"])
        row["took"] = took(row["started_at"], row["ended_at"] or (now if row["status"] == "running" else None))
    columns = {"id": "id", "template": "template", "status": "status", "queued": "queued", "took": "took"}
    if any(row["labels"] for row in rows):
        columns["labels"] = "labels"
    if any(row["error"] for row in rows):
        columns["error"] = "error"
    table(rows, columns)
    if len(rows) == limit:
        note(f"there may be more: --after '{rows[-1]['cursor']}', or a larger --limit")


def show(workflow: options.Workflow, as_json: options.Json = False) -> None:
    """Show all that is known of one workflow."""
    record = options.queries().get(workflow)
    if as_json:
        emit(record)
        return
    say(f"{record['id']}  {coloured(record['status'])}")
    progress = record["progress"]
    facts: dict[str, Any] = {
        "template": f"{record['template']} ({record['version'] or 'not accepted yet'})",
        "progress": f"{progress['percent']} %, {progress['done']} of {progress['total']} steps",
        "asked": f"{moment(record['queued_at'])} by {record['user']} through {record['trigger']}",
        "priority": record["priority"] or None,
        "due": moment(record["due_at"]) if record["due_at"] != record["queued_at"] else None,
        "started": moment(record["started_at"]) if record["started_at"] else None,
        "ended": moment(record["ended_at"]) if record["ended_at"] else None,
        "took": took(record["started_at"], record["ended_at"]) if record["ended_at"] else None,
        "key": record["key"],
        "labels": ", ".join(f"{name}={value}" for name, value in record["labels"].items()) or None,
        "params": json.dumps(record["params"], ensure_ascii=False) if record["params"] else None,
        "error": (record["error"] or {}).get("message"),
    }
    for name, value in facts.items():
        if value is not None:
            say(f"{name + ':':<10}{one_line(str(value))}")
    if record["steps"]:
        say()
        table([_step_row(name, step) for name, step in record["steps"].items()], _STEP_COLUMNS)


_STEP_COLUMNS = {"step": "step", "status": "status", "attempt": "attempt", "took": "took", "said": "output or error"}


def _step_row(name: str, step: dict[str, Any]) -> dict[str, Any]:
    error, progress = step.get("error") or {}, step.get("progress") or {}
    said: str | None = None
    if step["status"] in ("failed", "retrying") and error:
        said = str(error.get("message") or error.get("kind"))
    elif progress and step["status"] == "running":
        said = f"{progress.get('percent', 0):g} % {progress.get('message') or ''}".strip()
    elif step.get("output") is not None:
        said = json.dumps(step["output"], ensure_ascii=False)
    elif step.get("reason"):
        said = str(step["reason"])
    return {
        "step": name,
        "status": step["status"],
        "attempt": step["attempt"] or None,
        "took": took(step.get("started_at"), step.get("ended_at")),
        "said": said if said is None or len(said) <= 120 else said[:117] + "...",
    }


def why(workflow: options.Workflow, as_json: options.Json = False) -> None:
    """Say in one line what a workflow waits for, or how it ended."""
    queries = options.queries()
    found = queries.resolve(workflow)
    reason = one_line(queries.why(found))
    if as_json:
        emit({"id": found, "why": reason})
    else:
        say(reason)


def queue(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000)] = 50,
    as_json: options.Json = False,
) -> None:
    """Show the accepted, unfinished jobs, in the order of work."""
    jobs = options.queries().home.queue_jobs(limit)
    if as_json:
        emit(jobs)
        return
    for place, job in enumerate(jobs, 1):
        job.update(place=place, due=moment(job["due_at"]))
    names = ("place", "priority", "due", "status", "id", "template", "waits_for")
    table(jobs, {name: name.replace("_", " ") for name in names})
