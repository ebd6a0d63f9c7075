"""The command `wait`, and `enqueue --wait`: a live line while it lasts, a summary at the end, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import completion, options, selection
from hybrid_engine.cli.look import progress
from hybrid_engine.cli.output import complain, console, emit, is_terminal, note, say_styled, status_word
from hybrid_engine.cli.words import count, took
from hybrid_engine.errors import HybridError
from hybrid_engine.model.words import FINAL_WORKFLOW

if TYPE_CHECKING:
    from hybrid_engine.engine.queries import Queries

FAILED, CANCELLED, TIMED_OUT = 10, 11, 12
Workflows = Annotated[
    list[str] | None,
    typer.Argument(help="Workflow ids, or unique parts of them.", autocompletion=completion.unfinished),
]
Timeout = Annotated[float | None, typer.Option(help="Seconds to wait; else without a limit.")]


def wait(
    workflows: Workflows = None,
    everything: options.All = False,
    status: options.Statuses = None,
    template: options.OfTemplate = None,
    label: options.Labels = None,
    since: options.Since = None,
    until: options.Until = None,
    timeout: Timeout = None,
    as_json: options.Json = False,
) -> int:
    """Wait until workflows have ended. Exits with 0 completed, 10 failed, 11 cancelled, 12 timed out."""
    queries = options.queries()
    chosen = selection.Choice(workflows, everything, status, template, label, since, until)
    if chosen.by_filter:
        ids = selection.matching(chosen, queries, selection.UNFINISHED, "wait for")
        note(f"waiting for {count(len(ids), 'workflow')}")
    else:
        ids = [queries.resolve(text) for text in chosen.ids]
    return wait_for(ids, timeout, as_json)


def wait_for(ids: list[str], timeout: float | None, as_json: bool, quiet: bool = False) -> int:
    """Wait, tell how each one ended, and return the exit code: that of the worst end."""
    queries = options.queries()
    with _live(queries, ids, as_json) as watch:
        found = queries.wait(ids, timeout, watch)
    ends = {workflow: found.get(workflow, "timeout") for workflow in dict.fromkeys(ids)}
    if as_json:
        emit([{"id": workflow, "status": end} for workflow, end in ends.items()])
    elif not quiet:
        _summary(queries, ends)
    elif set(ends.values()) != {"completed"}:
        complain(", ".join(f"{workflow} {'timed out' if end == 'timeout' else end}" for workflow, end in ends.items()))
    return exit_code(set(ends.values()))


def exit_code(ends: set[str]) -> int:
    """That of the worst end: a time that was over, then a failure, then a cancellation."""
    if "timeout" in ends:
        return TIMED_OUT
    if ends & {"failed", "rejected"}:
        return FAILED
    return CANCELLED if "cancelled" in ends else 0


def _summary(queries: Queries, ends: dict[str, str]) -> None:
    """One line for each, with details for a person; and for several the sum of all."""
    for workflow, end in ends.items():
        details = _details(queries, workflow, end) if is_terminal() else ""
        say_styled((f"{workflow} ", ""), status_word(end), (details, "dim"))
    if len(ends) > 1:
        words = list(dict.fromkeys(ends.values()))
        told = [f"{list(ends.values()).count(word)} {'timed out' if word == 'timeout' else word}" for word in words]
        note(f"{count(len(ends), 'workflow')}: {', '.join(told)}")


def _details(queries: Queries, workflow: str, end: str) -> str:
    try:
        record = queries.get(workflow)
    except HybridError:
        return ""
    length = f" in {took(record['started_at'], record['ended_at'])}" if end in FINAL_WORKFLOW else ""
    error = (record["error"] or {}).get("message")
    return f"{length}, {progress(record)}" + (f": {error}" if error else "")


# --- the live line


@contextmanager
def _live(queries: Queries, ids: list[str], as_json: bool) -> Iterator[Callable[[list[str]], object] | None]:
    """On a terminal a line on stderr that is brought up to date while we wait, and is gone afterwards."""
    if as_json or not is_terminal(sys.stderr):
        yield None
        return
    from rich.live import Live
    from rich.text import Text

    short = queries.short_ids(ids)
    with Live(Text(""), console=console(sys.stderr), transient=True, auto_refresh=False) as live:
        yield lambda waiting: live.update(
            Text(live_line(queries, waiting, short), overflow="ellipsis", no_wrap=True), refresh=True
        )


def live_line(queries: Queries, waiting: list[str], short: Mapping[str, str]) -> str:
    """What is still waited for, and what the first of it does. `short` has the short form of every id."""
    from hybrid_engine.files.dropbox import stamp_now

    ended = f"{len(short) - len(waiting)} of {len(short)} ended; " if len(short) > 1 else ""
    try:
        record = queries.get(waiting[0])
    except HybridError:
        return f"{ended}waiting for {count(len(waiting), 'workflow')}"  # it is just on its way
    now = stamp_now()
    steps: dict[str, dict[str, Any]] = record["steps"]
    running = [
        f"{name} for {took(step.get('started_at'), now)}" for name, step in steps.items() if step["status"] == "running"
    ]
    told = [f"{ended}{short[waiting[0]]} {record['status']}", progress(record), *running[:3]]
    return ", ".join(told)
