"""One list of workflows out of two: rows of the index, and records of what it does not have yet. Newest first.

The index filters by itself; `_filter` does the same for records. Nothing here opens anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from typing import Any

from hybrid_engine.model.stamps import Stamp
from hybrid_engine.ports.looking import Record, Row, Rows

ROW = (
    "id", "template", "version", "status", "priority", "user", "trigger", "key", "queued_at", "due_at", "started_at",
    "ended_at", "error", "labels",
)  # fmt: skip
PAGE = 1_000
"""Rows that are asked of the index at a time, when all are wanted."""


def listed(
    rows: Rows | None, late: Sequence[Record], filters: Mapping[str, Any], after: str | None, page: int
) -> Iterator[Row]:
    """The rows that fit, to the end; a record of `late` stands for the row of the index, which may be older."""
    fits = _filter(after=after, **filters)
    known = {record["id"] for record in late}
    found = sorted(filter(fits, map(_row, late)), key=_age, reverse=True)
    if rows is None:
        yield from found
        return
    told = _pages(rows, page + len(known), after, filters)
    yield from merge(found, (row for row in told if row["id"] not in known), key=_age, reverse=True)


def _pages(rows: Rows, size: int, after: str | None, filters: Mapping[str, Any]) -> Iterator[Row]:
    while True:
        page = rows.query(limit=size, after=after, **filters)
        yield from page
        if len(page) < size:
            return
        after = page[-1]["cursor"]


def _age(row: Row) -> str:
    return str(row["queued_at"])


def _row(record: Record) -> Row:
    row = {name: record.get(name) for name in ROW}
    error = row["error"]
    if isinstance(error, Mapping):
        row["error"] = str(error.get("message") or error.get("kind") or "failed").split("\n", 1)[0][:200]
    row["labels"] = row["labels"] or {}
    row["cursor"] = f"{record['queued_at']}~0"
    return row


def _filter(
    *,
    status: list[str] | None,
    template: str | None,
    label: Mapping[str, str | None] | None,
    user: str | None,
    key: str | None,
    since: Stamp | None,
    until: Stamp | None,
    after: str | None,
) -> Callable[[Row], bool]:
    """The filters of `list`, as the index has them, for rows that are not in it."""
    behind = after.partition("~")[0] if after else None

    def fits(row: Row) -> bool:
        return (
            (status is None or row["status"] in status)
            and (template is None or row["template"] == template)
            and (user is None or row["user"] == user)
            and (key is None or row["key"] == key)
            and (since is None or row["queued_at"] >= since)
            and (until is None or row["queued_at"] < until)
            and (behind is None or row["queued_at"] < behind)
            and all(
                name in row["labels"] and (value is None or row["labels"][name] == value)
                for name, value in (label or {}).items()
            )
        )

    return fits
