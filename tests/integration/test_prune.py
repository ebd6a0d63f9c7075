"""Pruning removes what is finished and exceeds a limit, whole or not at all, and never anything else."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from homes import (
    COMPLETED,
    FAILED,
    REOPENED,
    START,
    STARTED,
    a_home,
    a_home_of_format_1,
    a_workflow,
    a_workflow_of_format_1,
    at,
    commit,
    everything,
    freeze,
    log_is_at_rest,
)

from hybrid_engine.errors import ConflictError, HybridError, InputError
from hybrid_engine.files import frozen, prune, queue, records, trash
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.files.log import segments
from hybrid_engine.files.prune import PruneReport
from hybrid_engine.sql.index import Index

NOW = START + timedelta(days=1)
ALL = timedelta(0)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return a_home(tmp_path)


def run(layout: Layout, **limits: Any) -> PruneReport:
    with Index(layout.index) as index:
        return prune.prune(layout, index, now=NOW, **limits)


def left(layout: Layout) -> list[str]:
    """The workflows that are there; the index must say the same."""
    folders = sorted(records.workflow_ids(layout))
    with Index(layout.index) as index:
        assert sorted(row["id"] for row in index.query(limit=1000)) == folders
    return folders


# --- limits


def test_by_age(layout: Layout) -> None:
    for minute in (0, 10, 20):
        a_workflow(layout, f"w{minute}", *COMPLETED, minute=minute)
    report = run(layout, older_than=NOW - START - timedelta(minutes=20))
    assert sorted(report.ids) == ["w0", "w10"] and report.workflows == 2 and report.problems == []
    assert left(layout) == ["w20"]
    assert os.listdir(layout.trash) == []


def test_by_count_the_newest_stay(layout: Layout) -> None:
    for minute in range(5):
        a_workflow(layout, f"w{minute}", *COMPLETED, minute=minute)
    assert run(layout, keep=2).workflows == 3
    assert left(layout) == ["w3", "w4"]
    assert run(layout, keep=0).workflows == 2
    assert left(layout) == []


def test_by_bytes_the_newest_that_fit_stay(layout: Layout) -> None:
    for minute in range(4):
        a_workflow(layout, f"w{minute}", *COMPLETED, minute=minute, size=1_000_000)
    report = run(layout, max_bytes=2_500_000)
    assert left(layout) == ["w2", "w3"]
    assert 2_000_000 < report.bytes < 2_200_000


def test_what_exceeds_any_limit_goes(layout: Layout) -> None:
    for minute in range(6):
        a_workflow(layout, f"w{minute}", *COMPLETED, minute=minute)
    run(layout, keep=4, older_than=NOW - START - timedelta(minutes=3))
    assert left(layout) == ["w3", "w4", "w5"]


def test_filters_say_which_workflows_are_looked_at(layout: Layout) -> None:
    a_workflow(layout, "good", *COMPLETED)
    a_workflow(layout, "bad", *FAILED)
    a_workflow(layout, "other", *FAILED, template="bill")
    run(layout, older_than=ALL, status="failed", template="report")
    assert left(layout) == ["good", "other"]
    run(layout, keep=0, status=["completed", "cancelled"])
    assert left(layout) == ["other"]


def test_a_dry_run_says_what_would_go_and_removes_nothing(layout: Layout) -> None:
    a_workflow(layout, "a", *COMPLETED, size=1_000_000)
    report = run(layout, older_than=ALL, dry_run=True)
    assert (report.ids, report.dry_run) == (["a"], True) and report.bytes > 1_000_000
    assert left(layout) == ["a"]


@pytest.mark.parametrize(
    "limits",
    [{}, {"status": "failed"}, {"keep": -1}, {"max_bytes": -1}, {"older_than": timedelta(-1)},
     {"keep": 1, "status": "running"}],
)  # fmt: skip
def test_limits_that_are_none_are_refused(layout: Layout, limits: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        run(layout, **limits)


def test_an_age_beyond_all_time_removes_nothing(layout: Layout) -> None:
    a_workflow(layout, "a", *COMPLETED)
    assert run(layout, older_than=timedelta(days=900_000)).workflows == 0


# --- what must stay


def test_unfinished_workflows_stay(layout: Layout) -> None:
    a_workflow(layout, "accepted")
    a_workflow(layout, "under-way", *STARTED)
    run(layout, keep=0)
    assert left(layout) == ["accepted", "under-way"]


def test_the_journal_has_the_last_word_not_the_index_or_the_view(layout: Layout) -> None:
    """A workflow that goes on again, while index and state.json still show its first end."""
    a_workflow(layout, "again", *FAILED)
    with Index(layout.index) as index:
        index.rebuild(records.Records(layout))
    first_end = Path(layout.state("again")).read_bytes()
    os.rename(layout.workflow("again"), layout.workflow("away"))
    a_workflow(layout, "again", *REOPENED, queued=False)
    Path(layout.state("again")).write_bytes(first_end)
    os.rename(layout.workflow("away"), os.path.join(layout.home, "away"))
    report = run(layout, older_than=ALL)
    assert report.workflows == 0 and "does not say that it is finished" in report.skipped[0][1]
    assert os.path.exists(layout.journal("again"))


@pytest.mark.parametrize("view", [True, False])
def test_a_finished_workflow_that_is_still_in_the_queue_stays(layout: Layout, view: bool) -> None:
    """Also when no view tells which name it has there."""
    a_workflow(layout, "a", *COMPLETED, queued=True, view=view)
    assert run(layout, older_than=ALL).skipped == [("a", "it is in the queue")]


def test_a_workflow_with_a_waiting_signal_stays(layout: Layout) -> None:
    a_workflow(layout, "a", *FAILED)
    os.mkdir(layout.signals("a"))
    Path(layout.signals("a"), "retry").touch()
    assert run(layout, older_than=ALL).skipped == [("a", "a signal waits in it")]


def test_a_workflow_whose_job_file_still_lies_in_the_inbox_stays(layout: Layout) -> None:
    """Otherwise the file would be taken for a new job."""
    a_workflow(layout, "a", *COMPLETED, source="night.yaml")
    Path(layout.inbox, "night.yaml").touch()
    assert "night.yaml" in run(layout, older_than=ALL).skipped[0][1]
    os.unlink(os.path.join(layout.inbox, "night.yaml"))
    assert run(layout, older_than=ALL).ids == ["a"]


def test_a_workflow_whose_job_file_a_killed_engine_was_about_to_remove_stays(layout: Layout) -> None:
    """The next start puts it back into the inbox."""
    a_workflow(layout, "a", *COMPLETED, source="night.yaml")
    os.makedirs(layout.taken)
    Path(layout.taken, "night.yaml").touch()
    assert "night.yaml" in run(layout, older_than=ALL).skipped[0][1]


@pytest.mark.parametrize("harm", [b"", b"{torn", b"\0" * 100])
def test_a_workflow_with_a_bad_journal_stays(layout: Layout, harm: bytes) -> None:
    a_workflow(layout, "a", *COMPLETED)
    whole = Path(layout.journal("a")).read_bytes()
    Path(layout.journal("a")).write_bytes(harm and whole + harm)
    assert run(layout, older_than=ALL).workflows == 0
    assert left(layout) == ["a"]


def test_a_finished_workflow_without_a_view_can_go(layout: Layout) -> None:
    a_workflow(layout, "a", *COMPLETED, view=False)
    assert run(layout, older_than=ALL).ids == ["a"]


def test_links_are_removed_and_not_followed(layout: Layout, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x" * 5_000_000)
    a_workflow(layout, "a", *COMPLETED, size=10)
    os.symlink(outside, os.path.join(layout.artifacts("a"), "folder"))
    os.symlink(outside / "precious", os.path.join(layout.artifacts("a"), "file"))
    os.mkfifo(os.path.join(layout.artifacts("a"), "pipe"))
    report = run(layout, max_bytes=0)
    assert report.ids == ["a"] and report.bytes < 1_000_000
    assert (outside / "precious").exists() and left(layout) == []


def test_folders_without_rights_go_too(layout: Layout) -> None:
    a_workflow(layout, "a", *COMPLETED, size=10)
    inner = os.path.join(layout.artifacts("a"), "locked")
    os.makedirs(os.path.join(inner, "deeper"))
    os.chmod(inner, 0)
    assert run(layout, older_than=ALL).problems == []
    assert os.listdir(layout.trash) == []


def test_a_row_without_a_folder_is_taken_out(layout: Layout) -> None:
    a_workflow(layout, "a", *COMPLETED)
    with Index(layout.index) as index:
        index.rebuild(records.Records(layout))
    os.rename(layout.workflow("a"), os.path.join(layout.home, "away"))
    assert run(layout, older_than=ALL).workflows == 0
    assert left(layout) == []


def test_a_deleted_index_is_made_again_first(layout: Layout) -> None:
    a_workflow(layout, "a", *COMPLETED)
    run(layout, keep=5)
    os.unlink(layout.index)
    assert run(layout, keep=0).ids == ["a"]


def test_many_are_removed_in_batches(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "BATCH", 3)
    monkeypatch.setattr(prune, "PAGE", 4)
    for minute in range(20):
        a_workflow(layout, f"w{minute}", *COMPLETED, minute=minute)
    assert run(layout, keep=5).workflows == 15
    assert len(left(layout)) == 5


# --- beside an engine


class Meanwhile:
    """Does something right after the first folder was thrown away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, action: Callable[[str], object]) -> None:
        throw = trash.throw

        def throw_and_act(layout: Layout, workflow: str) -> str:
            path = throw(layout, workflow)
            action(path)
            return path

        monkeypatch.setattr(trash, "throw", throw_and_act)


def test_a_retry_in_the_same_instant_wins(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    job = a_workflow(layout, "a", *FAILED)
    Meanwhile(monkeypatch, lambda path: os.link(os.path.join(path, "journal.jsonl"), layout.queued(queue.name_of(job))))
    assert run(layout, older_than=ALL).skipped == [("a", "somebody asked for it to go on")]
    assert left(layout) == ["a"] and os.listdir(layout.trash) == []


def test_a_signal_in_the_same_instant_wins(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    a_workflow(layout, "a", *FAILED)

    def signal(path: str) -> None:
        os.mkdir(os.path.join(path, "signals"))
        Path(path, "signals", "retry").touch()

    Meanwhile(monkeypatch, signal)
    assert run(layout, older_than=ALL).workflows == 0
    assert left(layout) == ["a"]


def test_a_new_workflow_of_the_same_key_is_another_life(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    a_workflow(layout, "a", *COMPLETED)
    Meanwhile(monkeypatch, lambda path: a_workflow(layout, "a", minute=600))
    assert run(layout, older_than=ALL).ids == ["a"]
    assert list(records.workflow_ids(layout)) == ["a"]
    assert queue.read_job(layout.journal("a")).queued_at == at(600)
    assert os.listdir(layout.trash) == []


class Engine:
    """Somebody who holds the lock, and makes checkpoints when asked and able to."""

    def __init__(self, layout: Layout, monkeypatch: pytest.MonkeyPatch, *, able: bool = True) -> None:
        self.layout = layout
        self.able = able
        self.now = 0.0
        self.lock = BriefLock(layout)
        assert self.lock.__enter__()
        monkeypatch.setattr(prune, "time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """The time in which it works."""
        self.now += seconds
        if self.able and os.path.exists(self.layout.checkpoint_bell):
            os.unlink(self.layout.checkpoint_bell)
            for number in segments.numbers(self.layout.log):
                os.unlink(segments.path_of(self.layout.log, number))


@pytest.fixture
def engine(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    found = Engine(layout, monkeypatch)
    yield found
    found.lock.__exit__()


def test_without_an_engine_the_log_is_emptied_before_anything_goes(layout: Layout) -> None:
    """Otherwise the next start would make what was removed again."""
    a_workflow(layout, "a", *STARTED)
    commit(layout, "a", *COMPLETED, after=3)
    with Index(layout.index) as index:
        index.rebuild(records.Records(layout))
    assert run(layout, keep=5).problems == []
    assert log_is_at_rest(layout)
    assert records.final_status(layout, "a") == "completed"
    os.unlink(layout.index)
    assert run(layout, older_than=ALL).ids == ["a"]
    assert left(layout) == []


def test_an_engine_is_asked_for_a_checkpoint_first(layout: Layout, engine: Engine) -> None:
    a_workflow(layout, "a", *COMPLETED)
    commit(layout, "a", *COMPLETED)
    assert run(layout, older_than=ALL).ids == ["a"]
    assert left(layout) == [] and os.listdir(layout.tmp) == []


def test_what_the_log_still_holds_stays_when_no_checkpoint_can_be_made(layout: Layout, engine: Engine) -> None:
    engine.able = False
    for name in ("a", "b"):
        a_workflow(layout, name, *COMPLETED)
    commit(layout, "a", *COMPLETED)
    report = run(layout, older_than=ALL)
    assert report.ids == ["b"] and "checkpoint" in report.skipped[0][1]
    assert left(layout) == ["a"] and os.listdir(layout.tmp) == []


def test_what_ends_while_others_are_removed_waits_for_its_checkpoint(
    layout: Layout, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the index already, and the log names it only since the prune began."""
    engine.able = False
    monkeypatch.setattr(prune, "BATCH", 1)
    for minute in range(3):
        a_workflow(layout, f"w{minute}", *COMPLETED, minute=minute)
    Meanwhile(monkeypatch, lambda path: commit(layout, "w2", *COMPLETED, minute=2))
    assert run(layout, older_than=ALL).ids == ["w0", "w1"]
    assert left(layout) == ["w2"]


def test_a_retry_that_was_answered_wins_although_only_the_log_knows_of_it(
    layout: Layout, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_workflow(layout, "a", *FAILED)
    Meanwhile(monkeypatch, lambda path: commit(layout, "a", *REOPENED, after=len(FAILED) + 1))
    assert run(layout, older_than=ALL).skipped == [("a", "somebody asked for it to go on")]
    assert left(layout) == ["a"] and os.listdir(layout.trash) == []


def test_a_new_workflow_of_the_same_key_is_not_mistaken_for_a_retry(
    layout: Layout, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is not made yet: the old one must not come to stand in its place."""
    a_workflow(layout, "a", *FAILED)
    Meanwhile(monkeypatch, lambda path: commit(layout, "a", minute=600))
    assert run(layout, older_than=ALL).ids == ["a"]
    assert left(layout) == [] and os.listdir(layout.trash) == []


def test_workflows_of_format_1_go_too(layout: Layout) -> None:
    a_home_of_format_1(layout)
    a_workflow_of_format_1(layout, "done", *COMPLETED)
    a_workflow_of_format_1(layout, "waiting")
    assert run(layout, older_than=ALL).problems == []
    assert left(layout) == ["waiting"] and os.listdir(layout.trash) == []


def test_a_dry_run_leaves_the_log_alone(layout: Layout) -> None:
    a_workflow(layout, "a", *COMPLETED)
    commit(layout, "a", *COMPLETED)
    before = everything(layout)
    run(layout, older_than=ALL, dry_run=True)
    assert everything(layout) == before


def test_only_one_prunes_at_a_time(layout: Layout) -> None:
    fd = os.open(layout.trash, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(ConflictError):
        run(layout, older_than=ALL)
    os.close(fd)
    run(layout, older_than=ALL)


# --- killed, or failing


class KilledError(BaseException):
    """Stands for the end of the process: no handler below may make anything of it."""


class Killer:
    """Counts the calls that change the disk, and ends everything at the given one."""

    CALLS = ("replace", "rename", "unlink", "rmdir", "fsync", "mkdir", "chmod", "link")

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at_call: int) -> None:
        self.count = 0
        self.at_call = at_call
        for name in self.CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        monkeypatch.setattr(Index, "write", self._counted(Index.write))

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            self.count += 1
            if self.count >= self.at_call:
                raise KilledError
            return call(*args, **more)

        return counted


def a_busy_home(path: Path) -> Layout:
    layout = a_home(path)
    for minute in range(3):
        a_workflow(layout, f"done{minute}", *COMPLETED, minute=minute, size=100)
    a_workflow(layout, "open", *STARTED)
    a_workflow(layout, "kept", *COMPLETED, minute=100)
    with Index(layout.index) as index:
        index.rebuild(records.Records(layout))
    return layout


def content(layout: Layout, workflow: str) -> dict[str, bytes]:
    folder = Path(layout.workflow(workflow))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_killed_at_any_call_every_workflow_is_whole_or_gone_and_the_next_run_finishes(
    tmp_path: Path,
) -> None:
    calls = killed = 0
    while True:
        calls += 1
        layout = a_busy_home(tmp_path / str(calls))
        before = {name: content(layout, name) for name in records.workflow_ids(layout)}
        with pytest.MonkeyPatch.context() as patch, Index(layout.index) as index:
            Killer(patch, calls)
            try:
                prune.prune(layout, index, keep=1, now=NOW)
            except KilledError:
                killed += 1
            else:
                break
        for name in records.workflow_ids(layout):
            assert content(layout, name) == before[name]
        assert {"open", "kept"} <= set(records.workflow_ids(layout))
        assert run(layout, keep=1).problems == []
        assert left(layout) == ["kept", "open"] and os.listdir(layout.trash) == []
    assert killed > 20


def test_killed_in_the_instant_of_a_retry_the_workflow_comes_back(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_workflow(layout, "a", *FAILED)
    before = content(layout, "a")

    def link_and_die(path: str) -> None:
        os.link(os.path.join(path, "journal.jsonl"), layout.queued(queue.name_of(job)))
        raise KilledError

    with monkeypatch.context() as patch:
        Meanwhile(patch, link_and_die)
        with pytest.raises(KilledError):
            run(layout, older_than=ALL)
    assert run(layout, older_than=ALL).workflows == 0
    assert content(layout, "a") == before and os.listdir(layout.trash) == []


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_an_error_at_any_call_is_told_and_leaves_every_workflow_whole_or_gone(tmp_path: Path, error: int) -> None:
    class Faulty(Killer):
        def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any, **more: Any) -> Any:
                self.count += 1
                if self.count == self.at_call:
                    raise OSError(error, os.strerror(error), "somewhere")
                return call(*args, **more)

            return counted

    calls, happened = 0, True
    while happened:
        calls += 1
        layout = a_busy_home(tmp_path / str(calls))
        before = {name: content(layout, name) for name in records.workflow_ids(layout)}
        with pytest.MonkeyPatch.context() as patch, Index(layout.index) as index:
            faulty = Faulty(patch, calls)
            try:
                prune.prune(layout, index, keep=1, now=NOW)
            except OSError:
                pass
            happened = faulty.count >= calls
        for name in records.workflow_ids(layout):
            assert content(layout, name) == before[name]
        run(layout, keep=1)
        assert left(layout) == ["kept", "open"] and os.listdir(layout.trash) == []
    assert calls > 20


def test_when_the_index_cannot_be_written_the_files_go_and_the_row_goes_later(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_workflow(layout, "a", *COMPLETED, size=100_000)

    def full(self: Index, ids: object) -> None:
        raise HybridError("database or disk is full")

    run(layout, keep=1)
    with monkeypatch.context() as patch:
        patch.setattr(Index, "delete_many", full)
        report = run(layout, older_than=ALL)
    assert report.bytes > 100_000 and "full" in report.problems[0]
    with Index(layout.index) as index:
        assert index.get("a")
    assert len(os.listdir(layout.trash)) == 1
    assert run(layout, older_than=ALL).leftovers == 1
    assert left(layout) == [] and os.listdir(layout.trash) == []


def test_workflows_on_another_file_system_have_a_trash_there(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    a_workflow(layout, "a", *COMPLETED)
    rename = os.replace

    def across(source: str, target: str) -> None:
        if target.startswith(layout.trash):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", across)
        patch.setattr(trash, "remove", lambda path, tell: 0)
        run(layout, older_than=ALL)
    assert len(os.listdir(os.path.join(layout.workflows, ".trash"))) == 1
    assert run(layout, older_than=ALL).leftovers == 1
    assert left(layout) == [] and os.listdir(os.path.join(layout.workflows, ".trash")) == []


# --- frozen definitions


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(frozen.unused, "__defaults__", (0.0,))
    monkeypatch.setattr(frozen.drop_unused, "__defaults__", (0.0,))
    yield


@pytest.mark.usefixtures("no_grace")
def test_definitions_that_nobody_uses_are_dropped(layout: Layout) -> None:
    for version in ("v2", "v3", "v4", "v5"):
        freeze(layout, version)
    a_workflow(layout, "a", *COMPLETED)
    os.link(layout.frozen_template("v2"), os.path.join(layout.workflow("a"), "old.json"))
    job = a_workflow_of_format_1(layout, "b")
    record = {**job.as_record(), "version": "v3"}
    Path(layout.queued(queue.name_of(job))).write_text(json.dumps(record))
    a_workflow(layout, "c", version="v5")
    report = run(layout, keep=5)
    assert report.templates == ["v4"] and frozen.versions(layout) == ["v1", "v2", "v3", "v5"]
    assert run(layout, keep=0).templates == ["v2"]


@pytest.mark.usefixtures("no_grace")
def test_no_definition_is_dropped_while_a_queued_job_cannot_be_read(layout: Layout) -> None:
    freeze(layout, "v2")
    a_workflow(layout, "b")
    Path(layout.queue, os.listdir(layout.queue)[0]).write_bytes(b"nonsense")
    assert run(layout, keep=5).templates == []


def test_a_definition_that_was_just_frozen_stays(layout: Layout) -> None:
    freeze(layout, "v2")
    assert run(layout, keep=5).templates == []
