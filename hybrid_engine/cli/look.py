"""Commands that look once at one workflow, or at the queue: show, why, queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import options
from hybrid_engine.cli.output import emit, facts, note, one_line, say, say_styled, status_word
from hybrid_engine.cli.tables import lines, table
from hybrid_engine.cli.words import ago, count, moment, size, took
from hybrid_engine.model.words import FINAL_WORKFLOW

if TYPE_CHECKING:
    from hybrid_engine.engine.queries import Queries

ASKED = {"cancelled": "cancel_requested", "paused": "workflow_paused"}
"""The statuses that somebody asked for, and by which event."""
LONGEST = 120
"""Characters of an output or an error in the table of steps."""


def show(workflow: options.Workflow, as_json: options.Json = False) -> None:
    """Show everything about one workflow."""
    from hybrid_engine.files.dropbox import stamp_now

    queries = options.queries()
    record = queries.get(workflow)
    if as_json:
        emit(record)
        return
    now = stamp_now()
    say_styled((record["id"], "bold"), ("  ", ""), status_word(record["status"]))
    facts(_facts(record, queries, now))
    if record["steps"]:
        say()
        table([_step_row(name, step, now) for name, step in record["steps"].items()], _STEP_COLUMNS)


def _facts(record: dict[str, Any], queries: Queries, now: str) -> dict[str, Any]:
    started, ended = record["started_at"], record["ended_at"]
    return {
        "template": f"{record['template']} ({record['version'] or 'not accepted yet'})",
        "progress": progress(record),
        "enqueued": f"{moment(record['queued_at'])} by {record['user']}, trigger {record['trigger']}",
        "priority": record["priority"] or None,
        "due": f"{moment(record['due_at'])}, {ago(record['due_at'], now)}" if _is_delayed(record) else None,
        "started": moment(started) if started else None,
        "ended": moment(ended) if ended else None,
        "took": took(started, ended) if started and ended else None,
        "runs for": took(started, now) if started and record["status"] == "running" else None,
        **_asked(record, queries),
        "key": record["key"],
        "labels": ", ".join(f"{name}={value}" for name, value in record["labels"].items()) or None,
        "params": json.dumps(record["params"], ensure_ascii=False) if record["params"] else None,
        "error": (record["error"] or {}).get("message"),
    }


def _is_delayed(record: dict[str, Any]) -> bool:
    return record["due_at"] is not None and record["due_at"] != record["queued_at"]


def progress(record: dict[str, Any]) -> str:
    """What is done of a workflow. One that ended early is not "100 %": it tells what was completed."""
    found = record["progress"]
    if record["status"] in FINAL_WORKFLOW:
        statuses = [step["status"] for step in record["steps"].values()]
        told = [f"{statuses.count(word)} {word}" for word in ("failed", "cancelled", "skipped") if word in statuses]
        return ", ".join([f"{statuses.count('completed')} of {count(found['total'], 'step')} completed", *told])
    return f"{found['percent']} %, {found['done']} of {count(found['total'], 'step')}"


def _asked(record: dict[str, Any], queries: Queries) -> dict[str, str]:
    """Who asked for what the workflow is now, and why."""
    event = ASKED.get(record["status"]) or ("cancel_requested" if record.get("cancel_requested_at") else None)
    found = queries.last_request(record["id"], event) if event else None
    if found is None:
        return {}
    because = f": {found['reason']}" if found["reason"] else ""
    name = "paused" if event == "workflow_paused" else "cancelled"
    return {name: f"{moment(found['at'])} by {found['by'] or 'somebody'}{because}"}


_STEP_COLUMNS = {"step": "step", "status": "status", "attempt": "attempt", "took": "took", "said": "output or error"}


def _step_row(name: str, step: dict[str, Any], now: str) -> dict[str, Any]:
    running = step["status"] == "running"
    said = _said(step)
    return {
        "step": name,
        "status": step["status"],
        "attempt": step["attempt"] or None,
        "took": took(step.get("started_at"), now if running else step.get("ended_at")),
        "said": said if said is None or len(said) <= LONGEST else said[: LONGEST - 1] + "…",
    }


def _said(step: dict[str, Any]) -> str | None:
    error, progress = step.get("error") or {}, step.get("progress") or {}
    if step["status"] in ("failed", "retrying") and error:
        return str(error.get("message") or error.get("kind"))
    if progress and step["status"] == "running":
        return f"{progress.get('percent', 0):g} % {progress.get('message') or ''}".strip()
    if step.get("output") is not None:
        return json.dumps(step["output"], ensure_ascii=False)
    if step.get("output_ref"):
        return f"{size(step['output_ref']['bytes'])} in {step['output_ref']['path']}"
    return str(step["reason"]) if step.get("reason") else None


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
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Show at most N; 0 for all.")] = 50,
    wide: Annotated[bool, typer.Option("--wide", help="Show full ids and timestamps; truncate nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show the unfinished jobs in the order in which they run."""
    from hybrid_engine.files.dropbox import stamp_now

    queries, now = options.queries(), stamp_now()
    jobs = queries.home.queue_jobs(limit + 1 if limit else None)
    more = 0 < limit < len(jobs)
    jobs = jobs[: limit or None]
    if as_json:
        emit(jobs)
    else:
        short = {} if wide else queries.short_ids(job["id"] for job in jobs)
        for place, job in enumerate(jobs, 1):
            due = moment(job["due_at"]) if wide else ago(job["due_at"], now)
            job.update(place=place, due=due, id=short.get(job["id"], job["id"]))
        names = ("place", "priority", "due", "status", "id", "template", "waits_for")
        cut = () if wide else ("waits_for", "template", "id")
        lines(jobs, {name: name.replace("_", " ") for name in names}, cut=cut)
    if more:
        note(f"only the first {limit} are shown, there are more: --limit 0 shows all")
