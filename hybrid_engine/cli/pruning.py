"""The commands `prune` and `remove`: finished workflows go, by limits, by filters, or by their ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import completion, options
from hybrid_engine.cli.output import can_ask, emit, note, say
from hybrid_engine.cli.selection import confirmed
from hybrid_engine.cli.words import count, size
from hybrid_engine.errors import ConflictError, HybridError, InputError
from hybrid_engine.model.words import FINAL_WORKFLOW

if TYPE_CHECKING:
    from hybrid_engine.files.prune import PruneReport
    from hybrid_engine.sql.index import Index

REFUSED = 1
LIMITS = "--older-than 30d, --keep 1000 or --max-size 10GiB"
BY_INDEX = frozenset({"status", "template"})
"""Filters that pruning does by itself, without a list of workflows."""
Rows = list[dict[str, Any]]


def prune(
    workflows: Annotated[
        list[str] | None,
        typer.Argument(help="Workflow ids, or unique parts of them.", autocompletion=completion.finished),
    ] = None,
    older_than: Annotated[str | None, typer.Option(help="Remove those that ended longer ago, such as 30d.")] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="Keep the N newest, remove the others.")] = None,
    max_size: Annotated[str | None, typer.Option(help="Remove the oldest until the rest fits, such as 10GiB.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all finished workflows.")] = False,
    status: options.Statuses = None,
    template: options.OfTemplate = None,
    label: options.Labels = None,
    since: options.Since = None,
    until: options.Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> int:
    """Remove finished workflows, by age, count, size, filters or id. Unfinished ones are never touched."""
    from hybrid_engine.files.dropbox import stamp_now

    limits = _limits(older_than, keep, max_size)
    filters = options.filters(status, template, label, None, since, until, stamp_now())
    if workflows:
        if limits or filters or everything:
            raise InputError("give ids, or limits and filters, not both")
        return _remove(workflows, dry_run, yes, as_json)
    if not (limits or filters or everything):
        raise InputError(
            f"which workflows may go? say {LIMITS}; --all, filters such as --status, or ids", code="missing"
        )
    if not limits:
        if not (yes or dry_run or can_ask()):
            raise InputError(f"without a limit ({LIMITS}) all that match are removed: confirm it with --yes")
        limits = {"keep": 0}
    for word in filters.get("status") or ():
        if word not in FINAL_WORKFLOW:
            raise InputError(f"{word!r} is not a final status: only finished workflows are removed", path="status")
    limits.update({name: filters[name] for name in BY_INDEX if name in filters})
    return _prune(limits, None if filters.keys() <= BY_INDEX else _rows(filters), dry_run, yes, as_json)


def remove(
    workflows: Annotated[
        list[str], typer.Argument(help="Workflow ids, or unique parts of them.", autocompletion=completion.finished)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> int:
    """Remove single finished workflows."""
    return _remove(workflows, dry_run, yes, as_json)


def _limits(older_than: str | None, keep: int | None, max_size: str | None) -> dict[str, Any]:
    """The limits that were given, as `files.prune` takes them."""
    from hybrid_engine.model.durations import microseconds
    from hybrid_engine.settings import bytes_of

    try:
        age = timedelta(microseconds=microseconds(older_than)) if older_than is not None else None
        most = bytes_of(max_size) if max_size is not None else None
    except ValueError as error:
        raise InputError(str(error)) from None
    found = {"older_than": age, "keep": keep, "max_bytes": most}
    return {name: value for name, value in found.items() if value is not None}


def _rows(filters: dict[str, Any]) -> Rows:
    """The workflows to look at."""
    wanted = filters.get("status") or sorted(FINAL_WORKFLOW)
    return list(options.queries().each(**{**filters, "status": wanted}))


def _remove(workflows: Iterable[str], dry_run: bool, yes: bool, as_json: bool) -> int:
    queries = options.queries()
    rows: Rows = []
    code = 0
    wanted = list(workflows)
    for text in wanted:
        try:
            record = queries.get(text)
            if record["status"] not in FINAL_WORKFLOW:
                raise ConflictError(f"{record['id']} is {record['status']}: cancel it first")
            rows.append(record)
        except HybridError as error:
            if len(wanted) == 1:
                raise
            note(f"hybrid: {error}")
            code = code or error.exit_code
    return (_prune({"keep": 0}, rows, dry_run, yes, as_json) if rows else 0) or code


def _prune(limits: dict[str, Any], rows: Rows | None, dry_run: bool, yes: bool, as_json: bool) -> int:
    if not (dry_run or yes) and can_ask():
        would = _run(limits, rows, dry_run=True)
        if not would.workflows:
            note("there is nothing to remove")
            return 0
        if not confirmed(f"Remove {count(would.workflows, 'workflow')}, {size(would.bytes)}?", yes):
            return REFUSED
    report = _run(limits, rows, dry_run=dry_run)
    _tell(report, as_json)
    return 1 if report.problems else 0


def _run(limits: dict[str, Any], rows: Rows | None, *, dry_run: bool) -> PruneReport:
    from hybrid_engine.files import prune as pruning
    from hybrid_engine.files.home import open_home
    from hybrid_engine.files.lock import holder
    from hybrid_engine.files.records import Records
    from hybrid_engine.sql.index import Index

    layout = options.settings().layout
    open_home(layout)
    with Index(layout.index) as index:
        if index.fresh and holder(layout) is None:
            index.rebuild(Records(layout))
        looked_at: Any = index if rows is None else _Chosen(index, rows)
        return pruning.prune(layout, looked_at, **limits, dry_run=dry_run)


class _Chosen:
    """The index, as `files.prune` asks it, with eyes for some workflows only."""

    def __init__(self, index: Index, rows: Rows) -> None:
        names = ("id", "template", "status", "queued_at", "ended_at")
        self._index = index
        self._rows = [{**{name: row[name] for name in names}, "bytes": None, "n": n} for n, row in enumerate(rows)]
        self.complete = index.complete
        self.rebuild = index.rebuild
        self.delete_many = index.delete_many
        self.set_bytes = index.set_bytes

    def finished_before(
        self,
        moment: str | None = None,
        *,
        status: str | Sequence[str] | None = None,
        template: str | None = None,
        newest_first: bool = False,
        after: tuple[str, int] | None = None,
        limit: int = 500,
    ) -> Rows:
        """As `Index.finished_before`; status and template were filtered before."""
        found = sorted(self._rows, key=_end, reverse=newest_first)
        if moment is not None:
            found = [row for row in found if row["ended_at"] < moment]
        if after is not None:
            found = [row for row in found if (_end(row) < after if newest_first else _end(row) > after)]
        return found[:limit]


def _end(row: dict[str, Any]) -> tuple[str, int]:
    return row["ended_at"], row["n"]


def _tell(report: PruneReport, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        emit(asdict(report))
        return
    for workflow in report.ids:
        say(workflow)
    for workflow, why in report.skipped:
        note(f"kept {workflow}: {why}")
    for problem in report.problems:
        note(f"problem: {problem}")
    verb = "would be removed" if report.dry_run else "removed"
    note(f"{count(report.workflows, 'workflow')} {verb}, {size(report.bytes)}")
