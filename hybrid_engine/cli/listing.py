"""The command `list`: which workflows, in which order, how many, and which columns. It says when it leaves some out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import completion, options
from hybrid_engine.cli.output import emit_lines, note
from hybrid_engine.cli.tables import lines
from hybrid_engine.cli.words import ago, moment, took
from hybrid_engine.errors import InputError

if TYPE_CHECKING:
    from hybrid_engine.engine.queries import Queries

Row = dict[str, Any]
Order = Callable[[Iterable[Row]], list[Row]]

PAGE = 1_000
"""Rows that are asked of the index at a time."""

COLUMNS = (
    "id", "template", "version", "status", "priority", "user", "trigger", "key", "queued", "due", "started", "ended",
    "took", "labels", "error",
)  # fmt: skip
USUAL = ("id", "template", "status", "queued", "took")
WIDE = ("id", "template", "status", "user", "queued", "started", "took")
WHEN_GIVEN = ("labels", "error")
"""Columns that are usual when a row has something in them."""
CUT_FIRST = ("error", "labels", "key", "user", "template", "id")
"""Columns that lose when a line is too long."""
MOMENTS = ("queued", "due", "started", "ended")
ORDERS = (*MOMENTS, "took", "priority", "status", "template", "user", "id")
DESCENDING = frozenset((*MOMENTS, "took", "priority"))


def list_workflows(
    status: options.Statuses = None,
    template: options.OfTemplate = None,
    label: options.Labels = None,
    user: Annotated[str | None, typer.Option(help="Only workflows of this user.")] = None,
    key: Annotated[str | None, typer.Option(help="Only the workflows with this key.")] = None,
    since: options.Since = None,
    until: options.Until = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Show at most N; 0 for all.")] = 50,
    after: Annotated[str | None, typer.Option(help="Continue after this cursor (a field of --json).")] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Sort by a column: newest, longest or most urgent first, text alphabetically; -COLUMN reverses.",
            autocompletion=completion.orders,
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="Show these columns, such as id,status,took.", autocompletion=completion.columns
        ),
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Show full ids and timestamps; truncate nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Lines: one workflow a line.")] = False,
) -> None:
    """List workflows, newest first."""
    from hybrid_engine.files.dropbox import stamp_now

    now = stamp_now()
    shown = options.words_of(columns, COLUMNS, "a column")
    order = _order(sort, now)
    queries = options.queries()
    found = options.filters(status, template, label, user, since, until, now)
    if key is not None:
        found["key"] = key
    rows = _Limited(_rows(queries, found, after, order, limit), limit)
    if as_json:
        emit_lines(rows)
    else:
        _print(list(rows), queries, shown, wide, now)
    if rows.more:
        follow = "" if order else f", --after '{rows.cursor}' continues"
        note(f"only the first {limit} are shown, there are more: --limit 0 shows all{follow}")


class _Limited:
    """The first rows, and whether there were more."""

    def __init__(self, rows: Iterator[Row], limit: int) -> None:
        self._rows = rows
        self._limit = limit
        self.more = False
        self.cursor: str | None = None

    def __iter__(self) -> Iterator[Row]:
        for row in islice(self._rows, self._limit or None):
            self.cursor = row["cursor"]
            yield row
        self.more = self._limit > 0 and next(self._rows, None) is not None


def _rows(
    queries: Queries,
    found: dict[str, Any],
    after: str | None,
    order: Order | None,
    limit: int,
) -> Iterator[Row]:
    if order is not None:
        return iter(order(queries.each(**found, after=after)))
    return queries.each(**found, after=after, page=min(limit or PAGE, PAGE) + 1)


def _order(sort: str | None, now: str) -> Order | None:
    """How all rows are put in order; None for the order in which they come."""
    if sort is None or sort == "queued":
        return None
    name = sort.removeprefix("-")
    if name not in ORDERS:
        raise InputError(f"{name!r:.40} is not a column to sort by", hint="one of: " + ", ".join(ORDERS))

    def value(row: Row) -> Any:
        if name == "took":
            return _seconds(row, now)
        found = row[f"{name}_at" if name in MOMENTS else name]
        return found if found is not None else ""

    descending = (name in DESCENDING) != sort.startswith("-")
    return lambda rows: sorted(rows, key=value, reverse=descending)


def _seconds(row: Row, now: str) -> float:
    from hybrid_engine.model.stamps import seconds_between

    return seconds_between(row["started_at"], _end(row, now) or now) if row["started_at"] else -1.0


def _end(row: Row, now: str) -> str | None:
    """The moment up to which a workflow has taken its time."""
    ended: str | None = row["ended_at"]
    return ended or (now if row["status"] == "running" else None)


def _print(rows: list[Row], queries: Queries, shown: list[str] | None, wide: bool, now: str) -> None:
    names = shown or [*(WIDE if wide else USUAL), *(name for name in WHEN_GIVEN if any(row[name] for row in rows))]
    short = {} if wide or "id" not in names else queries.short_ids(row["id"] for row in rows)
    told = [_cells(row, short, wide, now) for row in rows]
    lines(told, {name: name for name in names}, cut=() if wide else CUT_FIRST)


def _cells(row: Row, short: dict[str, str], wide: bool, now: str) -> Row:
    moments = {name: moment(row[f"{name}_at"]) if wide else ago(row[f"{name}_at"], now) for name in MOMENTS}
    return {**row, **moments, "id": short.get(row["id"], row["id"]), "took": took(row["started_at"], _end(row, now))}
