"""A list out of rows of the index and of records that it does not have: filters, order, pages, cursors."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_engine.engine.listing import listed

FILTERS: dict[str, Any] = dict.fromkeys(("status", "template", "label", "user", "key", "since", "until"))


def record(name: str, **fields: Any) -> dict[str, Any]:
    """What `state.json` says of a workflow; it was enqueued at the second that its name ends with."""
    given = {"status": "queued", "template": "t", "user": "ann", "key": None, "labels": {}, **fields}
    return {"id": name, "queued_at": f"2026-11-20T08:00:0{name[-1]}.000000Z", **given}


def ids(late: list[dict[str, Any]], after: str | None = None, **filters: Any) -> list[str]:
    return [row["id"] for row in listed(None, late, {**FILTERS, **filters}, after, 10)]


LATE = [
    record("w1", key="a", labels={"team": "x", "run": "1"}),
    record("w2", key="b", labels={"team": "x", "run": "2"}, user="bob"),
    record("w3", labels={"team": "y"}, status="failed", template="u"),
]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["w3", "w2", "w1"]),
        ({"key": "a"}, ["w1"]),
        ({"user": "bob"}, ["w2"]),
        ({"template": "u"}, ["w3"]),
        ({"status": ["queued"]}, ["w2", "w1"]),
        ({"label": {"team": None}}, ["w3", "w2", "w1"]),
        ({"label": {"team": "x"}}, ["w2", "w1"]),
        ({"label": {"team": "x", "run": "2"}}, ["w2"]),
        ({"label": {"team": "x", "run": "3"}}, []),
        ({"label": {"nobody": None}}, []),
        ({"since": LATE[1]["queued_at"]}, ["w3", "w2"]),
        ({"until": LATE[1]["queued_at"]}, ["w1"]),
        ({"after": f"{LATE[1]['queued_at']}~7"}, ["w1"]),
    ],
)
def test_records_are_filtered_as_the_index_filters(filters: dict[str, Any], found: list[str]) -> None:
    assert ids(LATE, **filters) == found


class Index:
    """Rows, newest first, as `sql.index` gives them; notes what was asked."""

    def __init__(self, *names: str) -> None:
        self.rows = [{**record(name), "cursor": f"{record(name)['queued_at']}~{name[-1]}"} for name in names]
        self.asked: list[tuple[int, str | None]] = []

    def query(self, *, limit: int, after: str | None, **_: Any) -> list[dict[str, Any]]:
        self.asked.append((limit, after))
        start = 0 if after is None else [row["cursor"] for row in self.rows].index(after) + 1
        return self.rows[start : start + limit]


def test_rows_and_records_are_merged_by_age_and_a_record_stands_for_its_row() -> None:
    late = [record("w2", status="failed"), record("w4")]
    rows = list(listed(Index("w5", "w3", "w2", "w1"), late, FILTERS, None, 2))  # type: ignore[arg-type]
    assert [row["id"] for row in rows] == ["w5", "w4", "w3", "w2", "w1"]
    assert rows[3]["status"] == "failed"


def test_pages_are_asked_of_the_index_only_as_they_are_needed() -> None:
    index = Index("w5", "w4", "w3", "w2", "w1")
    rows = listed(index, [], FILTERS, None, 2)  # type: ignore[arg-type]
    assert [next(rows)["id"] for _ in range(2)] == ["w5", "w4"]
    assert index.asked == [(2, None)]
    assert [row["id"] for row in rows] == ["w3", "w2", "w1"]
    assert len(index.asked) == 3


def test_only_the_first_line_of_an_error_is_told() -> None:
    late = [record("w1", error={"message": "one\ntwo"}), record("w2", error={"kind": "exit"})]
    assert [row["error"] for row in listed(None, late, FILTERS, None, 2)] == ["exit", "one"]
