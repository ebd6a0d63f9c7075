"""The thread that writes the index: nothing is lost to it, and no error of the file reaches the engine."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hybrid_engine.files import views
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.sql.index import Index
from hybrid_engine.sql.rows import Row
from hybrid_engine.sql.writer import IndexWriter

STAMP = "2026-11-20T00:00:00.000000Z"


def a_record(name: str, status: str = "completed", seq: int = 1) -> dict[str, Any]:
    return views.state_record(WorkflowState(name, "t", "v", STAMP, STAMP, status=status, seq=seq))


class Folders:
    """Workflows in memory, in the place of those on disk."""

    def __init__(self, **statuses: str) -> None:
        self.statuses = statuses

    def ids(self) -> Iterator[str]:
        return iter(list(self.statuses))

    def exists(self, workflow: str) -> bool:
        return workflow in self.statuses

    def unfinished(self) -> Sequence[str]:
        return ()

    def record(self, workflow: str) -> Mapping[str, Any] | None:
        return a_record(workflow, self.statuses[workflow], 5)


class Ear:
    """Hears what the writer says; `heard` lets a test wait for a word."""

    def __init__(self) -> None:
        self.said: list[str | None] = []
        self._news = threading.Condition()

    def __call__(self, problem: str | None) -> None:
        with self._news:
            self.said.append(problem)
            self._news.notify_all()

    def heard(self, word: str | None) -> bool:
        with self._news:
            return self._news.wait_for(
                lambda: any(text is None if word is None else word in (text or "") for text in self.said), timeout=20
            )


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "index.sqlite")


def a_writer(path: str, *args: Any, **more: Any) -> IndexWriter:
    return IndexWriter(path, *args, window=0.001, pauses=(0.001,), **more)


def statuses(path: str) -> dict[str, str]:
    with Index.open_reader(path) as reader:
        return {row["id"]: row["status"] for row in reader.query(limit=10_000)}


def test_what_is_put_is_in_the_file_after_close(path: str) -> None:
    writer = a_writer(path)
    for number in range(2000):
        writer.put(f"w{number}", a_record(f"w{number}"))
    assert writer.close()
    assert len(statuses(path)) == 2000


def test_a_workflow_that_moves_twice_in_one_window_is_written_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Row] = []
    write = Index.write
    monkeypatch.setattr(Index, "write", lambda self, rows, gone=(): (written.extend(rows), write(self, rows, gone)))
    writer = IndexWriter(path, window=60)
    writer.put("a", a_record("a", "queued", 0))
    writer.put("a", a_record("a", "completed", 4))
    writer.put("b", a_record("b"))
    writer.put("b", None)
    assert writer.close()
    assert [row[0] for row in written] == ["a"]
    assert statuses(path) == {"a": "completed"}


def test_states_are_taken_as_they_are_now(path: str) -> None:
    state = WorkflowState("a", "t", "v", STAMP, STAMP, status="running", seq=2)
    writer = IndexWriter(path, window=60)
    writer.put("a", state)
    state.status = "completed"
    assert writer.close()
    assert statuses(path) == {"a": "running"}


def test_flush_waits_for_what_was_put_before(path: str) -> None:
    writer = IndexWriter(path, window=60)
    writer.put("a", a_record("a"))
    assert writer.flush()
    assert statuses(path) == {"a": "completed"}
    writer.close()


def test_many_threads_may_put_at_once(path: str) -> None:
    writer = a_writer(path)

    def put_some(number: int) -> None:
        for k in range(300):
            writer.put(f"w{number}-{k}", a_record(f"w{number}-{k}"))

    threads = [threading.Thread(target=put_some, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close()
    assert len(statuses(path)) == 1200


def test_a_new_index_is_filled_from_the_folders(path: str) -> None:
    writer = a_writer(path, Folders(**{f"w{number}": "completed" for number in range(100)}))
    assert writer.flush()
    assert len(statuses(path)) == 100
    writer.close()


def test_an_index_that_was_closed_in_order_is_not_walked_again(path: str) -> None:
    a_writer(path, Folders(a="completed")).close()
    writer = a_writer(path, Folders(a="completed"))
    assert writer.flush() and writer.close()
    later = a_writer(path, Folders(a="completed", b="completed"))
    assert later.flush() and later.close()
    assert statuses(path) == {"a": "completed"}


def test_an_index_that_was_not_closed_is_held_against_the_folders(path: str) -> None:
    with Index(path) as index:
        index.begin_session("boot", 1)
        index.upsert_many([a_record("stale", "running"), a_record("gone")])
    writer = a_writer(path, Folders(stale="failed", missing="completed"))
    assert writer.flush() and writer.close()
    assert statuses(path) == {"stale": "failed", "missing": "completed"}


def test_what_the_engine_put_is_not_undone_by_an_older_record_in_the_folders(path: str) -> None:
    writer = a_writer(path, Folders(a="running"))
    writer.put("a", a_record("a", "completed", seq=9))
    assert writer.flush() and writer.close()
    assert statuses(path) == {"a": "completed"}


def test_a_full_disk_delays_rows_and_loses_none(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ear, full, write = Ear(), True, Index.write

    def write_if_there_is_space(self: Index, rows: Sequence[Row], gone: Sequence[str] = ()) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        write(self, rows, gone)

    monkeypatch.setattr(Index, "write", write_if_there_is_space)
    writer = a_writer(path, report=ear)
    writer.put("a", a_record("a"))
    assert ear.heard("full") and "full" in str(writer.problem)
    writer.put("b", a_record("b"))
    full = False
    assert ear.heard(None) and writer.flush() and writer.problem is None
    assert writer.close()
    assert statuses(path) == {"a": "completed", "b": "completed"}


def test_a_disk_that_stays_full_leaves_an_index_that_is_not_clean(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear()
    with Index(path) as index:
        index.set_complete(True)
        index.end_session()
    writer = a_writer(path, report=ear)
    assert writer.flush()

    def write(self: Index, rows: Sequence[Row], gone: Sequence[str] = ()) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Index, "write", write)
    writer.put("a", a_record("a"))
    assert ear.heard("full")
    assert not writer.close()
    monkeypatch.undo()
    later = a_writer(path, Folders(a="completed"))
    assert later.flush() and later.close()
    assert statuses(path) == {"a": "completed"}


def test_a_fault_in_the_middle_of_a_rebuild_starts_it_again(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faults, upsert = [sqlite3.OperationalError("disk I/O error"), OSError("gone"), None], Index.upsert_many

    def upsert_or_fail(self: Index, records: Any) -> None:
        fault = faults.pop(0) if faults else None
        if fault:
            raise fault
        upsert(self, records)

    monkeypatch.setattr(Index, "upsert_many", upsert_or_fail)
    writer = a_writer(path, Folders(**{f"w{number}": "completed" for number in range(100)}))
    assert writer.flush() and writer.close()
    assert len(statuses(path)) == 100


def test_a_deleted_file_comes_back_while_the_engine_runs(path: str) -> None:
    folders = Folders(old="completed")
    writer = a_writer(path, folders)
    assert writer.flush()
    os.unlink(path)
    writer.put("new", a_record("new"))
    folders.statuses["new"] = "completed"
    assert writer.flush() and writer.close()
    assert statuses(path) == {"old": "completed", "new": "completed"}


def test_a_file_that_is_damaged_under_the_writers_hands_is_put_aside_and_filled_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear, write, damaged = Ear(), Index.write, sqlite3.DatabaseError("database disk image is malformed")
    damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    faults = [None, damaged]

    def write_or_fail(self: Index, rows: Sequence[Row], gone: Sequence[str] = ()) -> None:
        fault = faults.pop(0) if faults else None
        if fault:
            raise fault
        write(self, rows, gone)

    folders = Folders(**{f"w{number}": "completed" for number in range(500)})
    writer = a_writer(path, folders, ear)
    assert writer.flush()
    monkeypatch.setattr(Index, "write", write_or_fail)
    for name in ("first", "second"):
        folders.statuses[name] = "running"
        writer.put(name, a_record(name, seq=9))
        assert writer.flush()
    assert ear.heard(".broken") and writer.problem is None
    assert writer.close()
    found = statuses(path)
    assert len(found) == 502 and found["second"] == "completed"
    assert os.path.exists(path + ".broken")


def test_a_damaged_file_at_the_start_is_told_and_replaced(path: str) -> None:
    Path(path).write_bytes(b"nonsense" * 1000)
    ear = Ear()
    writer = a_writer(path, Folders(a="completed"), ear)
    assert writer.flush() and writer.close()
    assert ear.heard(".broken") and writer.problem is None
    assert statuses(path) == {"a": "completed"}


def test_a_row_that_no_table_can_hold_keeps_no_other_out(path: str) -> None:
    ear = Ear()
    writer = IndexWriter(path, report=ear, window=60)
    writer.put("bad", ({}, *[None] * 14))
    writer.put("worse", ("\ud800", 1, *["x"] * 13))
    writer.put("good", a_record("good"))
    assert writer.close()
    assert ear.heard("cannot hold")
    assert statuses(path) == {"good": "completed"}


def test_a_folder_that_is_not_there_is_a_problem_and_not_an_end(tmp_path: Path) -> None:
    ear = Ear()
    writer = a_writer(str(tmp_path / "later" / "index.sqlite"), report=ear)
    writer.put("a", a_record("a"))
    assert ear.heard("")
    (tmp_path / "later").mkdir()
    assert writer.flush() and writer.close()
