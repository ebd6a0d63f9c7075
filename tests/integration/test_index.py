"""The index: what it answers, and that it is a view that can be deleted, damaged and made again."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from homes import COMPLETED, STARTED, a_home, a_workflow, a_workflow_of_format_1, pages_of

from hybrid_engine.files import journal, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.records import Records
from hybrid_engine.model import events as e
from hybrid_engine.model.job import Job
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.sql.index import Index
from hybrid_engine.sql.listing import read_cursor
from hybrid_engine.sql.rows import ERROR_LENGTH, FIELDS, row_of, row_of_job
from hybrid_engine.sql.schema import IndexUnavailableError


def stamp(number: int) -> str:
    return f"2026-11-20T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000000Z"


def a_record(number: int, status: str = "completed", **more: Any) -> dict[str, Any]:
    state = WorkflowState(
        id=f"w{number}",
        template=more.pop("template", "report"),
        version="v1",
        queued_at=stamp(number),
        due_at=stamp(number),
        status=status,
        seq=more.pop("seq", 1),
        ended_at=stamp(number + 60) if status in ("completed", "failed", "cancelled") else None,
        **more,
    )
    return views.state_record(state)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "index.sqlite")


@pytest.fixture
def index(path: str) -> Iterator[Index]:
    with Index(path) as opened:
        yield opened


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


# --- rows


def test_a_record_its_state_and_its_row_say_the_same() -> None:
    state = WorkflowState(
        id="w", template="t", version="v", queued_at=stamp(1), due_at=stamp(1), labels={"b": "2", "a": "1"}
    )
    state.error = {"kind": "exit", "message": "first line\nsecond"}
    row = row_of(state)
    assert row == row_of(views.state_record(state))
    assert dict(zip(FIELDS, row))["error"] == "first line"
    assert dict(zip(FIELDS, row))["labels"] == '{"a":"1","b":"2"}'


def test_a_job_has_the_row_of_its_first_view() -> None:
    job = Job("w", "t", "v", stamp(1), stamp(2), labels={"team": "ä"}, key="k", priority=3, user="ann", steps=["a"])
    assert row_of_job(job) == row_of(views.queued_record(job))


def test_a_long_or_strange_error_is_cut_to_what_a_table_can_hold(index: Index) -> None:
    index.upsert_many([a_record(1, "failed", error={"kind": "x", "message": "\ud800" + "y" * 1000})])
    assert len(index.query()[0]["error"]) == ERROR_LENGTH


# --- lists


def test_the_newest_come_first_and_pages_go_on_where_the_last_one_ended(index: Index) -> None:
    index.upsert_many(a_record(number) for number in range(120))
    pages = pages_of(lambda after: index.query(limit=50, after=after))
    assert [len(page) for page in pages] == [50, 50, 20]
    assert [name for page in pages for name in page] == [f"w{number}" for number in reversed(range(120))]


def test_pages_neither_skip_nor_repeat_workflows_of_one_moment(index: Index) -> None:
    index.upsert_many({**a_record(number), "queued_at": stamp(0)} for number in range(25))
    pages = pages_of(lambda after: index.query(limit=10, after=after, status=["completed", "failed"]))
    seen = [name for page in pages for name in page]
    assert sorted(seen) == sorted(f"w{number}" for number in range(25))


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"status": "failed"}, [4]),
        ({"status": ["failed", "running"]}, [5, 4]),
        ({"template": "bill"}, [3, 2]),
        ({"template": "bill", "status": "completed"}, [3, 2]),
        ({"user": "ann"}, [5]),
        ({"key": "k1"}, [1]),
        ({"label": "team=red"}, [3, 1]),
        ({"label": "team"}, [5, 3, 1]),
        ({"label": {"team": "red", "night": None}}, [3]),
        ({"label": ["team=red", "night=yes"], "template": "bill"}, [3]),
        ({"label": ["team=red", "night=no"]}, []),
        ({"label": "team", "status": ["running", "failed"]}, [5]),
        ({"since": stamp(3)}, [5, 4, 3]),
        ({"until": stamp(3)}, [2, 1]),
        ({"since": stamp(2), "until": stamp(4), "status": "completed"}, [3, 2]),
        ({"template": "nothing"}, []),
        ({"limit": 2}, [5, 4]),
    ],
)
def test_filters(index: Index, filters: dict[str, Any], found: list[int]) -> None:
    index.upsert_many([
        a_record(1, labels={"team": "red"}, key="k1"),
        a_record(2, template="bill"),
        a_record(3, template="bill", labels={"team": "red", "night": "yes"}),
        a_record(4, "failed"),
        a_record(5, "running", user="ann", labels={"team": "blue"}),
    ])  # fmt: skip
    assert ids(index.query(**filters)) == [f"w{number}" for number in found]


def test_no_list_sorts_or_scans_the_whole_table(index: Index) -> None:
    """Law 9: the cost of a first page must not grow with the number of workflows."""
    plans = []
    index._connection.set_trace_callback(plans.append)
    for filters in ({}, {"status": "failed"}, {"status": ["failed", "completed"]}, {"template": "a"}, {"user": "a"},
                    {"template": "a", "status": "failed"}, {"label": "a=b"}, {"label": "a"}, {"key": "k"}):  # fmt: skip
        index.query(**filters, after="2026~1")
    index.finished_before(stamp(1))
    index._connection.set_trace_callback(None)
    for sql in plans:
        for *_, step in index._connection.execute("EXPLAIN QUERY PLAN " + sql).fetchall():
            unindexed = step.startswith("SCAN") and "USING" not in step and "subquery" not in step.lower()
            assert not unindexed and ("TEMP B-TREE" not in step or "UNION ALL" in sql), (sql, step)


def test_short_ids_are_found_by_an_index_and_without_it(index: Index) -> None:
    index.upsert_many([a_record(100_001), a_record(200_001), a_record(300_002)])
    plans: list[str] = []
    for made_before_the_index in (False, True):
        if made_before_the_index:
            index._connection.execute("DROP INDEX by_ending")
        index._connection.set_trace_callback(plans.append)
        assert index.alike(["100001", "300002", "999999"]) == ["w100001", "w300002"]
        assert index.meant("w200001", 5) == ["w200001"]
        assert index.meant("0001", 5) == ["w100001", "w200001"]
        assert index.meant("w100", 5) == ["w100001"]
        assert index.meant("0000", 5) == ["w100001", "w200001", "w300002"]
        index._connection.set_trace_callback(None)
        if not made_before_the_index:
            for sql in plans[:2]:
                steps = [step for *_, step in index._connection.execute("EXPLAIN QUERY PLAN " + sql).fetchall()]
                assert any("USING INDEX by_ending" in step for step in steps), steps


def test_a_cursor_that_is_none_is_refused(index: Index) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        index.query(after="nonsense")
    assert read_cursor("2026-11-20T00:00:00.000000Z~7") == ("2026-11-20T00:00:00.000000Z", 7)


def test_one_workflow_is_found_by_its_id(index: Index) -> None:
    index.upsert_many([a_record(1, labels={"a": "b"})])
    found = index.get("w1")
    assert found is not None and found["labels"] == {"a": "b"} and found["status"] == "completed"
    assert index.get("w2") is None


def test_finished_workflows_are_listed_by_their_end_page_by_page(index: Index) -> None:
    index.upsert_many([a_record(number) for number in range(5)] + [a_record(9, "running"), a_record(5, "failed")])
    first = index.finished_before(stamp(64), limit=2)
    assert ids(first) == ["w0", "w1"]
    rest = index.finished_before(stamp(64), limit=9, after=(first[-1]["ended_at"], first[-1]["n"]))
    assert ids(rest) == ["w2", "w3"]
    assert ids(index.finished_before(newest_first=True, limit=2)) == ["w5", "w4"]
    assert ids(index.finished_before(status="failed")) == ["w5"]
    assert ids(index.finished_before(template="nothing")) == []


# --- writing


def test_counts_follow_every_change(index: Index) -> None:
    index.upsert_many([a_record(1, "queued", seq=0), a_record(2, "queued", seq=0), a_record(3)])
    index.upsert_many([a_record(1, "completed", seq=5)])
    index.delete_many(["w3", "unknown"])
    counts = index.counts()
    assert (counts["queued"], counts["completed"], counts["running"]) == (1, 1, 0)


def test_an_older_row_never_replaces_a_newer_one(index: Index) -> None:
    index.upsert_many([a_record(1, "completed", seq=9)])
    index.upsert_many([a_record(1, "running", seq=4)])
    found = index.get("w1")
    assert found is not None and found["status"] == "completed"


def test_a_reopened_workflow_is_unfinished_again(index: Index) -> None:
    index.upsert_many([a_record(1, "failed", seq=9)])
    index.set_bytes([("w1", 4096)])
    assert index.finished_before()[0]["bytes"] == 4096
    index.upsert_many([a_record(1, "running", seq=10)])
    assert index.finished_before() == []
    index.upsert_many([a_record(1, "failed", seq=11)])
    assert index.finished_before()[0]["bytes"] is None


def test_an_id_used_again_after_its_workflow_was_pruned_is_a_new_row(index: Index) -> None:
    index.upsert_many([a_record(1, "completed", seq=9, labels={"old": "1"})])
    again = {**a_record(1, "queued", seq=0, labels={"new": "1"}), "queued_at": stamp(500)}
    index.upsert_many([again])
    found = index.get("w1")
    assert found is not None and (found["status"], found["labels"]) == ("queued", {"new": "1"})
    assert index.query(label="old") == [] and index.counts()["completed"] == 0
    index.upsert_many([a_record(1, "completed", seq=9)])
    assert ids(index.query(status="queued")) == ["w1"]


def test_labels_go_with_their_workflow(index: Index) -> None:
    index.upsert_many([a_record(1, labels={"a": "1"}), a_record(2, labels={"a": "1"})])
    index.delete_many(["w1"])
    assert ids(index.query(label="a=1")) == ["w2"]


def test_any_number_of_rows_is_written_in_one_transaction(index: Index) -> None:
    rows = [row_of(a_record(number)) for number in range(600)]
    with pytest.raises(sqlite3.IntegrityError):
        index.write([*rows, (None,) * len(FIELDS)])
    assert sum(index.counts().values()) == 0
    index.write(rows)
    assert index.counts()["completed"] == 600


# --- the file


def test_the_file_is_ours_alone(index: Index, path: str) -> None:
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_reader_never_makes_the_file(path: str) -> None:
    with pytest.raises(IndexUnavailableError, match="no index"):
        Index.open_reader(path)
    assert not os.path.exists(path)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_reader_refuses_what_is_no_index_and_leaves_it_alone(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)
    with pytest.raises(IndexUnavailableError):
        Index.open_reader(path)
    assert Path(path).read_bytes() == content


def test_a_reader_sees_what_a_writer_writes_and_follows_a_new_file(index: Index, path: str) -> None:
    with Index.open_reader(path) as reader:
        index.upsert_many([a_record(1)])
        assert ids(reader.query()) == ["w1"]
        index.discard()
        index.upsert_many([a_record(2)])
        assert ids(reader.query()) == ["w2"]
        os.unlink(path)
        with pytest.raises(IndexUnavailableError):
            reader.query()


def test_a_reader_cannot_write(index: Index, path: str) -> None:
    with Index.open_reader(path) as reader, pytest.raises(IndexUnavailableError, match="readonly"):
        reader.upsert_many([a_record(1)])


def test_a_damaged_file_is_put_aside_and_an_empty_one_made(path: str) -> None:
    Path(path).write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with Index(path) as index:
        assert index.fresh and index.set_aside == path + ".broken"
        assert index.query() == []
    assert Path(path + ".broken").read_bytes().endswith(b"\xff" * 5000)


def test_an_index_of_another_version_is_made_anew(path: str) -> None:
    with Index(path) as index:
        index.upsert_many([a_record(1)])
        index._connection.execute("PRAGMA user_version = 999")
    with pytest.raises(IndexUnavailableError, match="version 999"):
        Index.open_reader(path)
    with Index(path) as index:
        assert index.fresh and index.query() == []


def test_somebody_elses_database_is_put_aside(path: str) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with Index(path) as index:
        assert index.set_aside and index.query() == []


def test_a_write_ahead_log_that_was_left_alone_is_not_played_into_a_new_index(path: str) -> None:
    index = Index(path)
    index.upsert_many([a_record(1)])
    shutil.copy(path + "-wal", path + ".kept")
    index.close()
    os.unlink(path)
    shutil.move(path + ".kept", path + "-wal")
    with Index(path) as index:
        assert index.fresh and index.query() == [] and index.check() is None


def test_damaged_pages_are_told(path: str) -> None:
    with Index(path) as index:
        index.upsert_many(a_record(number) for number in range(2000))
        index._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\x55" * 4096 * 10)
    with Index(path) as index:
        assert index.check()


def test_only_a_stop_in_order_leaves_a_clean_index(path: str) -> None:
    with Index(path) as index:
        assert not index.begin_session("boot", 1)
        index.set_complete(True)
        index.end_session()
    with Index(path) as index:
        assert index.begin_session("boot", 2)
    with Index(path) as index:
        assert not index.begin_session("boot", 3)


# --- in line with the folders


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return a_home(tmp_path)


def test_a_deleted_index_comes_back_from_the_folders(layout: Layout) -> None:
    a_workflow(layout, "with-view", *COMPLETED)
    a_workflow(layout, "without-view", *COMPLETED, view=False)
    a_workflow(layout, "under-way", *STARTED)
    a_workflow(layout, "only-accepted")
    a_workflow(layout, "accepted-without-view", view=False)
    a_workflow_of_format_1(layout, "of-format-1")
    os.unlink(layout.state("of-format-1"))
    os.makedirs(layout.workflow("empty"))
    Path(layout.workflows, "a file").touch()
    heard: list[int] = []
    with Index(layout.index) as index:
        index.rebuild(Records(layout), heard.append)
        assert index.complete
        found = {row["id"]: row["status"] for row in index.query()}
    assert found == {
        "with-view": "completed", "without-view": "completed", "under-way": "running", "only-accepted": "queued",
        "accepted-without-view": "queued", "of-format-1": "queued",
    }  # fmt: skip
    assert heard


def test_after_an_unclean_stop_rows_are_mended_where_they_are_wrong(layout: Layout) -> None:
    for name in ("missing", "behind"):
        a_workflow(layout, name, *COMPLETED)
    a_workflow(layout, "in-queue", *STARTED)
    with Index(layout.index) as index:
        for name in ("behind", "gone", "in-queue"):
            index.upsert_many([{**a_record(1, "queued", seq=0), "id": name}])
        steps = list(index.reconcile(Records(layout)))
        found = {row["id"]: row["status"] for row in index.query()}
        assert found == {"missing": "completed", "behind": "completed", "in-queue": "queued"}
        assert index.complete and steps


def test_a_walk_that_was_broken_off_leaves_an_index_that_knows_it_is_not_complete(layout: Layout) -> None:
    a_workflow(layout, "one", *COMPLETED)
    with Index(layout.index) as index:
        index.set_complete(True)
        walk = index.reconcile(Records(layout))
        next(walk)
        assert not index.complete


def test_unreadable_records_do_not_stop_a_rebuild(layout: Layout) -> None:
    for name, content in (("list", b"[]"), ("deep", b"[" * 100_000), ("other", b'{"id": "x", "status": "completed"}'),
                          ("poor", b'{"id": "poor", "status": "completed"}'), ("binary", b"\xff\0")):  # fmt: skip
        os.makedirs(layout.workflow(name))
        Path(layout.state(name)).write_bytes(content)
    os.makedirs(layout.workflow("damaged"))
    good = journal.encode(1, stamp(1), [e.WorkflowCreated("damaged", "t", "v", stamp(1), stamp(1))])
    Path(layout.journal("damaged")).write_bytes(good + good)
    a_workflow(layout, "sound", *COMPLETED)
    with Index(layout.index) as index:
        index.rebuild(Records(layout))
        assert "sound" in ids(index.query())
