"""Looking at a home, with an engine at work and without: get, page, why, logs, wait, and asking by commands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from homes import (
    COMPLETED,
    FAILED,
    REOPENED,
    STARTED,
    VERSION,
    a_home,
    a_workflow,
    a_workflow_of_format_1,
    at,
    commit,
    pages_of,
)

from hybrid_engine.engine.commands import Commands, refuse_what_cannot_be_meant
from hybrid_engine.engine.queries import Queries
from hybrid_engine.errors import ConflictError, HomeError, InputError, JobError, JournalError, NotFoundError
from hybrid_engine.files import dropbox, lock, queue, queueview, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.files.log import single
from hybrid_engine.files.reader import FileReader
from hybrid_engine.files.records import Records
from hybrid_engine.model import events as e
from hybrid_engine.model.job import Job
from hybrid_engine.model.waits import DUE, FOR_A_SLOT, POOL, RETRY, Wait
from hybrid_engine.opening import open_rows
from hybrid_engine.sql.index import Index

NOW = at(60)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return a_home(tmp_path)


class Clock:
    """Time that passes only while somebody sleeps; `then` is what happens meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self.then: Iterator[Callable[[], object]] = iter(())

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)
        next(self.then, lambda: None)()


def queries(layout: Layout, clock: Clock | None = None) -> Queries:
    clock = clock or Clock()
    return Queries(FileReader(layout), lambda: open_rows(layout), lambda: NOW, clock.monotonic, clock.sleep)


def indexed(layout: Layout, *, clean: bool = True) -> None:
    with Index(layout.index) as index:
        index.begin_session("boot", 1)
        index.rebuild(Records(layout))
        if clean:
            index.end_session()


@pytest.fixture
def engine(layout: Layout) -> Iterator[Callable[..., None]]:
    """Hold the lock as an engine does; call it to write the queue's view of what it does."""
    held = BriefLock(layout)
    assert held.__enter__()
    Path(layout.home_lock).write_text(json.dumps({"pid": os.getpid(), "host": "here", "started_at": at(0)}))

    def show(*jobs: tuple[Any, str, Wait | None], **engine: Any) -> None:
        lines = [views.queue_line(views.queue_entry(job, status, waits_for)) for job, status, waits_for in jobs]
        about = {"pid": os.getpid(), "slots": 1, "running": [], "problems": [], "pools": {}, **engine}
        data = queueview.render(
            lines, queueview.count(lines), updated_at=NOW, mtime_ns=queueview.queue_mtime(layout), engine=about
        )
        Path(layout.queue_state).write_bytes(data)

    yield show
    held.__exit__()


def frozen(layout: Layout, **definition: Any) -> None:
    """The template of all workflows made after this."""
    Path(layout.frozen_template(VERSION)).write_text(json.dumps({"format": 1, "name": "report", **definition}))


# --- one workflow


def test_get_folds_the_journal_and_needs_no_view(layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED, view=False)
    record = queries(layout).get("w1")
    assert (record["status"], record["steps"]["one"]["status"], record["seq"]) == ("completed", "completed", 5)


def test_get_is_not_fooled_by_a_late_view(layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED)
    state = Path(layout.state("w1")).read_text()
    Path(layout.state("w1")).write_text(state.replace('"completed"', '"running"'))
    assert queries(layout).get("w1")["status"] == "completed"


def test_get_of_a_job_that_has_done_nothing_comes_from_its_first_event(layout: Layout) -> None:
    a_workflow(layout, "w1", view=False)
    assert queries(layout).get("w1")["status"] == "queued"


def test_get_of_a_job_of_format_1_that_has_done_nothing_comes_from_its_job_file(layout: Layout) -> None:
    a_workflow_of_format_1(layout, "w1")
    os.unlink(layout.state("w1"))
    assert queries(layout).get("w1")["status"] == "queued"


def test_get_sees_what_is_committed_and_not_yet_in_its_folder(layout: Layout) -> None:
    """Whoever was answered finds what was answered, also after the engine was killed."""
    commit(layout, "only-in-the-log", *STARTED)
    a_workflow(layout, "behind", *STARTED)
    commit(layout, "behind", *COMPLETED, after=3)
    a_workflow(layout, "in-both", *COMPLETED)
    commit(layout, "in-both", *STARTED)
    found = {name: queries(layout).get(name) for name in ("only-in-the-log", "behind", "in-both")}
    assert {name: (record["status"], record["seq"]) for name, record in found.items()} == {
        "only-in-the-log": ("running", 3), "behind": ("completed", 5), "in-both": ("completed", 5),
    }  # fmt: skip


def test_how_far_a_running_step_is_stands_in_a_view_of_its_own(layout: Layout) -> None:
    a_workflow(layout, "w1", *STARTED)
    a_workflow(layout, "w2", *COMPLETED)
    for name in ("w1", "w2"):
        Path(layout.progress(name)).write_bytes(views.render_progress({"one": (40.0, "half"), "gone": (1.0, None)}))
    assert queries(layout).get("w1")["steps"]["one"]["progress"] == {"percent": 40.0, "message": "half"}
    assert "progress" not in queries(layout).get("w2")["steps"]["one"]
    for harm in (b"", b"[]", b'{"steps": {"one": 3}}', b'{"steps": []}', b'{"steps": {"one": {"percent": 1}}}'):
        Path(layout.progress("w1")).write_bytes(harm)
        assert queries(layout).get("w1")["status"] == "running"


def test_get_of_a_job_in_the_inbox_says_that_it_is_not_accepted(layout: Layout) -> None:
    dropbox.drop(layout, {"id": "w1", "template": "report", "params": {"a": 1}, "priority": 3})
    dropbox.drop_many(layout, [{"id": "w2", "template": "report"}, {"id": "w3", "template": "report"}])
    for name in ("w1", "w2", "w3"):
        record = queries(layout).get(name)
        assert (record["status"], record["accepted"], record["template"]) == ("queued", False, "report")
    assert queries(layout).get("w1")["params"] == {"a": 1}


def test_an_id_may_be_told_by_its_beginning_or_its_end(layout: Layout) -> None:
    a_workflow(layout, "user-ann-20261120T080000000000Z-abc123")
    a_workflow(layout, "user-ann-20261120T080001000000Z-def456")
    found = queries(layout)
    assert found.resolve("def456").endswith("def456")
    assert found.resolve("user-ann-20261120T080000") == "user-ann-20261120T080000000000Z-abc123"
    with pytest.raises(InputError, match="several"):
        found.resolve("user-ann")
    for text in ("456", "nothing", "../x", "", "a b"):
        with pytest.raises(NotFoundError):
            found.resolve(text)


def several(layout: Layout, monkeypatch: pytest.MonkeyPatch, *, index: bool) -> Queries:
    """Ids of which two end alike, and one has in its middle what another ends with."""
    for number, name in enumerate(("user-ann-1-abc123", "user-bob-1-abc123", "user-abc123-2-fed456", "w4-fed457")):
        a_workflow(layout, name, *COMPLETED, minute=number)
    if index:
        indexed(layout)
        monkeypatch.setattr(FileReader, "ids", lambda _: pytest.fail("the folders were walked"))
    return queries(layout)


@pytest.mark.parametrize("index", [True, False])
def test_a_part_of_an_id_means_an_ending_before_a_beginning_before_an_inside(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, index: bool
) -> None:
    found = several(layout, monkeypatch, index=index)
    assert found.resolve("d456") == "user-abc123-2-fed456"
    assert found.resolve("user-bob") == "user-bob-1-abc123"
    assert found.resolve("bob-1") == "user-bob-1-abc123"
    with pytest.raises(InputError) as failed:
        found.resolve("abc123")
    assert str(failed.value).splitlines()[1:] == ["  user-ann-1-abc123", "  user-bob-1-abc123"]


def test_a_short_id_is_as_long_as_it_must_be_and_leads_back(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    every = ["user-ann-1-abc123", "user-bob-1-abc123", "user-abc123-2-fed456", "w4-fed457"]
    for index in (False, True):
        found = several(layout, monkeypatch, index=index)
        short = found.short_ids(every)
        assert list(short.values()) == ["n-1-abc123", "b-1-abc123", "fed456", "fed457"]
        assert [found.resolve(text) for text in short.values()] == every


def test_a_damaged_index_does_not_keep_ids_from_being_found(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    a_workflow(layout, "user-ann-1-abc123", *COMPLETED)
    indexed(layout)

    def fail(*_: object) -> None:
        raise HomeError("the index cannot be read")

    monkeypatch.setattr(Index, "meant", fail)
    monkeypatch.setattr(Index, "alike", fail)
    assert queries(layout).resolve("abc123") == "user-ann-1-abc123"
    assert queries(layout).short_ids(["user-ann-1-abc123"]) == {"user-ann-1-abc123": "abc123"}


def test_a_part_of_an_id_is_looked_for_among_what_was_accepted_since_the_engine_ended(layout: Layout) -> None:
    a_workflow(layout, "user-ann-1-abc123", *COMPLETED)
    indexed(layout)
    a_workflow(layout, "user-ann-2-abc123", minute=1)
    with pytest.raises(InputError, match="several"):
        queries(layout).resolve("abc123")
    assert queries(layout).resolve("2-abc123") == "user-ann-2-abc123"


def test_a_rejected_job_is_told_with_its_reason(layout: Layout) -> None:
    Path(layout.rejected, "w1.json").write_text('{"id":"w1","template":"gone"}')
    Path(layout.rejected, "w1.json.reason.json").write_text('{"reason": "there is no template gone"}')
    with pytest.raises(JobError, match="no template gone"):
        queries(layout).get("w1")
    assert queries(layout).wait(["w1"]) == {"w1": "rejected"}


def test_a_damaged_journal_is_an_error_and_not_an_empty_story(layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED)
    path = Path(layout.journal("w1"))
    path.write_bytes(path.read_bytes().replace(b"step_started", b"step_staXted"))
    with pytest.raises(JournalError, match=r"damage|bad"):
        queries(layout).get("w1")


# --- many


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def test_a_page_is_right_without_engine_and_without_index(layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED, minute=1)
    a_workflow(layout, "w2", *FAILED, minute=2)
    a_workflow(layout, "w3", minute=3)
    rows = queries(layout).page()
    assert ids(rows) == ["w3", "w2", "w1"]
    assert [row["status"] for row in rows] == ["queued", "failed", "completed"]
    assert not os.path.exists(layout.index)


def test_a_job_accepted_after_the_engine_ended_is_on_the_page(layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED, minute=1)
    indexed(layout)
    a_workflow(layout, "w2", minute=2)
    assert ids(queries(layout).page()) == ["w2", "w1"]
    assert ids(queries(layout).page(status=["queued"])) == ["w2"]


def test_what_a_killed_engine_had_no_time_to_index_is_on_the_page(layout: Layout) -> None:
    a_workflow(layout, "w1", *STARTED, minute=1)
    indexed(layout, clean=False)
    a_workflow(layout, "w1", *COMPLETED, minute=1)
    queue.remove(layout, queue.name_of(queue.read_job(layout.journal("w1"))))
    a_workflow(layout, "w2", *COMPLETED, minute=2)
    rows = queries(layout).page()
    assert [(row["id"], row["status"]) for row in rows] == [("w2", "completed"), ("w1", "completed")]
    assert queries(layout).page(status=["running"]) == []


def test_filters_hold_for_rows_from_the_index_and_from_the_folders(layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED, minute=1, template="report")
    a_workflow(layout, "w2", *FAILED, minute=2, template="report")
    indexed(layout)
    a_workflow(layout, "w3", minute=3, template="other")
    a_workflow(layout, "w4", minute=4, template="report")
    found = queries(layout)
    assert ids(found.page(template="report")) == ["w4", "w2", "w1"]
    assert ids(found.page(since=at(2), until=at(4))) == ["w3", "w2"]
    assert ids(found.page(status=["failed", "queued"])) == ["w4", "w3", "w2"]
    assert ids(found.page(labels={"team": None})) == []
    assert ids(found.page(user="nobody")) == []


@pytest.mark.parametrize("is_indexed", [True, False])
def test_keys_and_labels_are_looked_at_alike_in_the_index_and_in_the_folders(layout: Layout, is_indexed: bool) -> None:
    jobs = {
        "w1": {"key": "k1", "labels": {"team": "red", "night": "yes"}},
        "w2": {"key": "k2", "labels": {"team": "red", "night": "no"}},
        "w3": {"labels": {"team": "blue", "night": "yes"}},
    }
    for minute, (name, fields) in enumerate(jobs.items(), 1):
        job = Job(name, "report", "v1", at(minute), at(minute), steps=["one"], **fields)  # type: ignore[arg-type]
        single.commit(layout, job)
    if is_indexed:
        indexed(layout)
    found = queries(layout)
    assert ids(found.page(key="k1")) == ["w1"]
    assert ids(found.page(key="k3")) == []
    assert ids(found.page(labels={"team": "red"})) == ["w2", "w1"]
    assert ids(found.page(labels={"team": "red", "night": "yes"})) == ["w1"]
    assert ids(found.page(labels={"team": None, "night": "no"})) == ["w2"]


def test_pages_follow_one_another_by_cursor(layout: Layout) -> None:
    for number in range(5):
        a_workflow(layout, f"w{number}", *COMPLETED, minute=number)
    indexed(layout)
    a_workflow(layout, "w5", minute=5)
    found = queries(layout)
    seen = [name for page in pages_of(lambda after: found.page(limit=2, after=after)) for name in page]
    assert seen == ["w5", "w4", "w3", "w2", "w1", "w0"]


def test_all_workflows_come_one_by_one_from_index_and_folders(layout: Layout) -> None:
    for number in range(7):
        a_workflow(layout, f"w{number}", *COMPLETED, minute=number)
    indexed(layout)
    a_workflow(layout, "w7", minute=2.5)
    told = [row["id"] for row in queries(layout).each(page=2)]
    assert told == ["w6", "w5", "w4", "w3", "w7", "w2", "w1", "w0"]


def test_who_asked_for_an_end_and_why_is_found_in_the_journal(layout: Layout) -> None:
    asked = (e.CancelRequested("ann", "first"), e.WorkflowPaused("bob"), e.CancelRequested("cat", "no need"))
    a_workflow(layout, "w1", *STARTED, *asked)
    found = queries(layout).last_request("w1", "cancel_requested")
    assert found is not None
    assert (found["by"], found["reason"]) == ("cat", "no need")
    assert queries(layout).last_request("w1", "workflow_reopened") is None


def test_with_an_engine_at_work_the_folders_are_left_alone(
    layout: Layout, engine: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_workflow(layout, "w1", *COMPLETED)
    indexed(layout)

    def refuse(*_: object) -> None:
        raise AssertionError("a hot path walked the folders")

    monkeypatch.setattr(FileReader, "unindexed", refuse)
    assert ids(queries(layout).page()) == ["w1"]


def test_a_home_that_can_only_be_read_can_be_looked_at(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    a_workflow(layout, "w1", *COMPLETED)

    def refuse(*_: object) -> None:
        raise HomeError("cannot open the lock: Read-only file system")

    monkeypatch.setattr(lock, "holder", refuse)
    assert ids(queries(layout).page()) == ["w1"]
    assert queries(layout).home.queue_jobs(None) == []


# --- why


def why(layout: Layout, name: str = "w1") -> str:
    return queries(layout).why(name)


def test_why_without_a_daemon(layout: Layout) -> None:
    a_workflow(layout, "w1")
    assert "hybrid start" in why(layout)


def test_why_of_an_ended_workflow_is_its_end(layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED)
    a_workflow(layout, "w2", *FAILED[:-1], e.WorkflowFailed({"kind": "step", "message": "step one failed"}))
    assert why(layout).startswith("completed at")
    assert why(layout, "w2").endswith(": step one failed")


def test_why_of_a_job_that_is_not_due(layout: Layout, engine: Callable[..., None]) -> None:
    job = a_workflow(layout, "w1", minute=90)
    engine((job, "queued", Wait(DUE, until=at(90))))
    assert why(layout) == f"due at {at(90)}, in 30 min"


def test_why_of_a_paused_workflow(layout: Layout, engine: Callable[..., None]) -> None:
    a_workflow(layout, "w1", *STARTED, e.WorkflowPaused("ann"))
    assert why(layout) == f"paused at {at(0)} by ann: continue it with `hybrid resume w1`"
    assert "hybrid resume w1" in why(layout)


def test_why_when_all_slots_are_busy_names_who_holds_them_and_who_is_ahead(
    layout: Layout, engine: Callable[..., None]
) -> None:
    first = a_workflow(layout, "w0", *STARTED)
    jobs = [a_workflow(layout, f"w{number}", minute=number) for number in (1, 2)]
    running = [{"workflow": "w0", "step": "one", "attempt": 1, "since": at(59)}]
    engine((first, "running", None), *((job, "queued", FOR_A_SLOT) for job in jobs), running=running)
    assert why(layout, "w2") == "all 1 slot is busy: w0/one for 1 min; 2 jobs ahead in the queue"


def test_why_when_a_pool_is_full_names_its_holders(layout: Layout, engine: Callable[..., None]) -> None:
    first = a_workflow(layout, "w0", *STARTED)
    job = a_workflow(layout, "w1", minute=1)
    engine((first, "running", None), (job, "queued", Wait(POOL, "db")), pools={"db": ["w0"]})
    assert why(layout) == "pool db is full: held by w0"


def test_why_when_a_step_waits_for_its_next_attempt(layout: Layout, engine: Callable[..., None]) -> None:
    retry = e.StepRetryScheduled("one", 1, at(61), {"kind": "exit", "message": "exit code 7"})
    job = a_workflow(layout, "w1", *STARTED, retry)
    engine((job, "running", Wait(RETRY, until=at(61))))
    assert why(layout) == f"step one is retried at {at(61)}, in 1 min, because attempt 1 failed: exit code 7"


def test_why_of_a_running_step_and_of_one_that_wants_a_slot(layout: Layout, engine: Callable[..., None]) -> None:
    frozen(layout, steps={"one": {"run": "true"}})
    job = a_workflow(layout, "w1", *STARTED, minute=58)
    ready = a_workflow(layout, "w2", e.WorkflowStarted(), minute=59)
    running = [{"workflow": "w1", "step": "one", "attempt": 1, "since": at(58)}]
    engine((job, "running", None), (ready, "running", FOR_A_SLOT), running=running)
    assert why(layout) == "step one runs for 2 min"
    assert why(layout, "w2") == "step one: all 1 slot is busy: w1/one for 2 min"


def test_why_tells_a_problem_of_the_daemon_first(layout: Layout, engine: Callable[..., None]) -> None:
    job = a_workflow(layout, "w1")
    engine((job, "queued", FOR_A_SLOT), problems=["disk: No space left on device, since now"])
    assert why(layout).startswith("disk: No space left")


def test_why_does_not_answer_with_the_problem_of_another_workflow(layout: Layout, engine: Callable[..., None]) -> None:
    job, other = a_workflow(layout, "w1"), a_workflow(layout, "w2", minute=1)
    problems = ["quarantine w9: its journal is damaged", "watcher: drops are seen late", "workflow w2: cannot be read"]
    engine((job, "queued", FOR_A_SLOT), (other, "queued", FOR_A_SLOT), problems=problems)
    assert why(layout) == "starts at once: a slot is free"
    assert why(layout, "w2") == "workflow w2: cannot be read"


def test_why_names_neither_the_workflow_itself_nor_more_than_three_holders(
    layout: Layout, engine: Callable[..., None]
) -> None:
    job = a_workflow(layout, "w1", minute=1)
    engine((job, "queued", Wait(POOL, "db")), pools={"db": ["w1", "w2", "w3", "w4", "w5", "w6"]})
    assert why(layout) == "pool db is full: held by w2, w3, w4, and 2 more"
    engine((job, "queued", Wait(POOL, "db")), pools={"db": ["w1"]})
    assert why(layout) == "pool db is full"


def test_why_of_a_job_in_the_inbox(layout: Layout) -> None:
    dropbox.drop(layout, {"id": "w1", "template": "report"})
    assert "not accepted yet" in why(layout)


# --- logs


def test_logs_are_those_of_the_latest_attempts_in_the_order_of_the_steps(layout: Layout) -> None:
    a_workflow(layout, "w1", *REOPENED, e.StepStarted("one", 2))
    files = queries(layout).logs("w1")
    assert [(file.step, file.attempt, file.stream) for file in files] == [("one", 2, "stdout"), ("one", 2, "stderr")]
    assert files[0].path == os.path.join(layout.attempt("w1", "one", 2), "stdout.log")
    assert queries(layout).logs("w1", "one", 1)[0].attempt == 1


def test_logs_of_a_step_or_attempt_that_is_not_there_are_not_found(layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED)
    with pytest.raises(NotFoundError, match="it has one"):
        queries(layout).logs("w1", "two")
    with pytest.raises(NotFoundError, match="1 attempt"):
        queries(layout).logs("w1", "one", 2)


# --- waiting


def test_wait_ends_when_the_workflow_does(layout: Layout) -> None:
    job = a_workflow(layout, "w1", *STARTED)
    clock = Clock()
    clock.then = iter([lambda: None, lambda: a_workflow(layout, "w1", *COMPLETED), lambda: pytest.fail("too late")])
    assert queries(layout, clock).wait([job.id]) == {"w1": "completed"}


def test_wait_gives_up_in_time_and_leaves_out_what_has_not_ended(layout: Layout) -> None:
    a_workflow(layout, "w1", *STARTED)
    a_workflow(layout, "w2", *FAILED)
    clock = Clock()
    assert queries(layout, clock).wait(["w1", "w2"], timeout=3) == {"w2": "failed"}
    assert 3 <= clock.now < 3.1


def test_waiting_for_thousands_opens_only_what_has_ended(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"w{number}" for number in range(40)]
    for name in names:
        a_workflow(layout, name)
    looked: list[str] = []
    status = FileReader.status
    monkeypatch.setattr(FileReader, "status", lambda self, name: (looked.append(name), status(self, name))[1])

    def finish(some: list[str]) -> None:
        for name in some:
            queue.remove(layout, queue.name_of(queue.read_job(layout.journal(name))))
            a_workflow(layout, name, *COMPLETED)

    clock = Clock()
    clock.then = iter([lambda: None, lambda: finish(names[:20]), lambda: None, lambda: finish(names[20:])])
    assert set(queries(layout, clock).wait(names).values()) == {"completed"}
    assert sorted(looked) == sorted(names)


def test_waiting_for_a_dropped_batch_waits_for_its_acceptance(layout: Layout) -> None:
    names = [f"w{number}" for number in range(20)]
    path = dropbox.drop_many(layout, [{"id": name, "template": "report"} for name in names])

    def accept() -> None:
        for name in names:
            a_workflow(layout, name, *COMPLETED)
        os.unlink(path)

    clock = Clock()
    clock.then = iter([lambda: None, accept])
    assert queries(layout, clock).wait(names) == dict.fromkeys(names, "completed")


def test_waiting_for_nobody_is_an_error_at_once(layout: Layout) -> None:
    with pytest.raises(NotFoundError):
        queries(layout).wait(["w1"], timeout=3)


# --- commands


class Outbox:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []

    def send(self, workflow: str, verb: str, content: dict[str, Any]) -> str:
        self.sent.append((workflow, verb, content))
        return verb


def test_a_command_is_left_as_a_signal_with_who_and_why(layout: Layout) -> None:
    a_workflow(layout, "user-ann-w1")
    outbox = Outbox()
    assert Commands(queries(layout), outbox, "ann").ask("cancel", "ann-w1", "no longer wanted") == "user-ann-w1"
    assert outbox.sent == [("user-ann-w1", "cancel", {"by": "ann", "reason": "no longer wanted"})]


def test_a_command_for_a_job_on_its_way_into_the_queue_waits_for_it(layout: Layout) -> None:
    path = dropbox.drop(layout, {"id": "w1", "template": "report"})
    clock, outbox = Clock(), Outbox()
    clock.then = iter([lambda: (a_workflow(layout, "w1"), os.unlink(path))])
    Commands(queries(layout), outbox, "ann", clock.monotonic, clock.sleep).ask("cancel", "w1")
    assert [verb for _, verb, _ in outbox.sent] == ["cancel"]
    dropbox.drop(layout, {"id": "w2", "template": "report"})
    with pytest.raises(ConflictError, match="inbox"):
        Commands(queries(layout), outbox, "ann", clock.monotonic, clock.sleep).ask("cancel", "w2")


@pytest.mark.parametrize(
    ("verb", "status", "allowed"),
    [
        ("cancel", "queued", True),
        ("cancel", "paused", True),
        ("cancel", "completed", False),
        ("pause", "running", True),
        ("pause", "paused", False),
        ("pause", "failed", False),
        ("resume", "paused", True),
        ("resume", "running", False),
        ("retry", "failed", True),
        ("retry", "cancelled", True),
        ("retry", "completed", False),
        ("retry", "running", False),
    ],
)
def test_what_cannot_be_meant_is_refused(verb: str, status: str, allowed: bool) -> None:
    record = {"id": "w1", "status": status}
    if allowed:
        refuse_what_cannot_be_meant(verb, record)
    else:
        with pytest.raises(ConflictError, match=status):
            refuse_what_cannot_be_meant(verb, record)
