"""Submitting a job with no engine about, and `queue-state.json` after it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hybrid_engine.errors import JobError
from hybrid_engine.files import atomic, dropbox, journal, queue, queueview, submission
from hybrid_engine.files.home import init_home
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.model.events import StepStarted, WorkflowStarted
from hybrid_engine.model.jsontext import encode
from hybrid_engine.model.waits import DISK, DUE, FOR_A_DAEMON, FOR_A_SLOT, PERSON, POOL, RETRY, Wait, sentence

FROZEN: dict[str, Any] = {
    "format": 1,
    "name": "test",
    "params": {"n": {"type": "integer", "default": 1, "required": False}},
    "steps": {"hello": {"run": "true"}},
}
VERSION = "0123456789ab"
NOW = "2026-11-20T08:00:00.000000Z"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path / "home"))
    init_home(found, sample=False)
    Path(found.frozen_template(VERSION)).write_text(json.dumps(FROZEN))
    return found


def submit(layout: Layout, **raw: Any) -> str:
    request, job = submission.prepare(
        {"template": "test", **raw}, FROZEN, VERSION, trigger="cli", user="ann", coerce=True
    )
    submission.submit(layout, request, job)
    return job.id


def view(layout: Layout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(layout.queue_state).read_bytes())
    return found


def ids(found: dict[str, Any]) -> list[str]:
    return [job["id"] for job in found["jobs"]]


class NoTime:
    """A clock whose sleeps cost nothing and after whose `patience` sleeps all deadlines have passed."""

    def __init__(self, patience: int = 3) -> None:
        self.now, self.step = 0.0, submission.PATIENCE / patience

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += self.step


def test_without_an_engine_a_job_is_accepted_and_shown_at_once(layout: Layout) -> None:
    found = submit(layout, params={"n": "7"}, labels={"a": "b"})
    assert os.listdir(layout.inbox) == ["rejected"]
    assert os.listdir(layout.queue) == [queue.name_of(queue.read_job(layout.journal(found)))]
    assert os.path.samefile(layout.queued(os.listdir(layout.queue)[0]), layout.journal(found))
    state = json.loads(Path(layout.state(found)).read_bytes())
    assert (state["status"], state["params"], state["trigger"]) == ("queued", {"n": 7}, "cli")
    shown = view(layout)
    assert ids(shown) == [found]
    assert shown["jobs"][0]["waits_for"] == sentence(FOR_A_DAEMON)
    assert Wait(**shown["jobs"][0]["wait"]) == FOR_A_DAEMON
    assert shown["jobs"][0]["size"] == os.stat(layout.journal(found)).st_size
    assert (shown["engine"], shown["counts"]["queued"], shown["counts"]["total"]) == (None, 1, 1)
    assert shown["queue_mtime_ns"] == os.stat(layout.queue).st_mtime_ns
    assert os.listdir(layout.tmp) == []


def test_the_view_is_in_the_order_of_work(layout: Layout) -> None:
    later = submit(layout, delay="1h")
    first, urgent = submit(layout), submit(layout, priority=9)
    shown = view(layout)
    assert ids(shown) == [urgent, first, later] == [name[25:-5] for name in sorted(os.listdir(layout.queue))]
    assert shown["counts"]["delayed"] == 1
    assert shown["jobs"][2]["waits_for"].startswith("due time ")


def test_a_held_lock_leaves_the_job_in_the_inbox(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(layout.home_lock).write_text(json.dumps({"pid": os.getpid()}))
    with BriefLock(layout) as mine:
        assert mine
        found = submit(layout, params={"n": "3"}, delay="1h")
    dropped = json.loads(Path(layout.inbox, found + ".json").read_text())
    assert (dropped["id"], dropped["params"], dropped["trigger"], dropped["user"]) == (found, {"n": 3}, "cli", "ann")
    assert "delay" not in dropped
    assert dropped["at"] > NOW
    assert os.listdir(layout.queue) == []
    assert submission.check_request(dropped)["id"] == found


def test_a_lock_held_by_another_enqueue_is_waited_for(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    other = BriefLock(layout)
    clock = NoTime()

    def sleep(seconds: float) -> None:
        clock.now += clock.step
        other.__exit__()

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(submission, "time", clock)
    assert other.__enter__()
    found = submit(layout)
    assert ids(view(layout)) == [found]
    assert os.listdir(layout.inbox) == ["rejected"]


def test_patience_ends_and_the_job_is_safe_in_the_inbox(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "time", NoTime())
    with BriefLock(layout):
        found = submit(layout)
    assert os.path.exists(dropbox.inbox_path(layout, found))


def test_the_same_key_gives_the_same_id_and_one_job(layout: Layout) -> None:
    first = submit(layout, key="nightly", params={"n": "1"})
    assert submit(layout, key="nightly", params={"n": "2"}) == first
    assert len(os.listdir(layout.queue)) == 1
    assert queue.read_job(layout.journal(first)).params == {"n": 1}


def test_a_key_is_known_while_it_lies_in_the_inbox_and_after_the_end(layout: Layout) -> None:
    Path(layout.home_lock).write_text(json.dumps({"pid": os.getpid()}))
    with BriefLock(layout):
        first = submit(layout, key="k")
        before = Path(layout.inbox, first + ".json").read_text()
        assert submit(layout, key="k", params={"n": "9"}) == first
        assert Path(layout.inbox, first + ".json").read_text() == before
    os.unlink(dropbox.inbox_path(layout, first))
    os.mkdir(layout.workflow(first))
    Path(layout.journal(first)).write_text("")
    assert submit(layout, key="k") == first
    assert os.listdir(layout.queue) == []


def test_wrong_params_are_told_before_anything_is_written(layout: Layout) -> None:
    with pytest.raises(JobError, match="n2"):
        submit(layout, params={"n2": "7"})
    with pytest.raises(JobError, match="whole number"):
        submit(layout, params={"n": "seven"})
    assert os.listdir(layout.inbox) == ["rejected"]
    assert os.listdir(layout.workflows) == []


def test_a_deleted_or_broken_view_comes_back(layout: Layout) -> None:
    first = submit(layout)
    os.unlink(layout.queue_state)
    second = submit(layout)
    assert ids(view(layout)) == [first, second]
    Path(layout.queue_state).write_text('{"jobs": [')
    third = submit(layout)
    assert ids(view(layout)) == [first, second, third]


def test_lines_of_jobs_that_are_gone_leave_the_view(layout: Layout) -> None:
    first, second = submit(layout), submit(layout)
    queue.remove(layout, queue.name_of(queue.read_job(layout.journal(first))))
    third = submit(layout)
    assert ids(view(layout)) == [second, third]


def test_what_an_engine_left_says_of_running_jobs_is_kept_without_its_slots(layout: Layout) -> None:
    first = submit(layout)
    job = queue.read_job(layout.journal(first))
    line = queueview.queue_line(queueview.queue_entry(job, "running", None))
    data = queueview.render([line], {"running": 1}, updated_at=NOW, mtime_ns=1, engine={"pid": 1})
    Path(layout.queue_state).write_bytes(data)
    submit(layout)
    shown = view(layout)
    assert shown["engine"] is None
    assert [(job["status"], job["waits_for"]) for job in shown["jobs"]] == [
        ("running", sentence(FOR_A_DAEMON)),
        ("queued", sentence(FOR_A_DAEMON)),
    ]
    assert (shown["counts"]["running"], shown["counts"]["total"]) == (1, 2)


@pytest.mark.parametrize(
    ("wait", "kept"),
    [
        (None, False), (FOR_A_SLOT, False), (Wait(POOL, "db"), False), (Wait(DISK, reason="full"), False),
        (FOR_A_DAEMON, True), (Wait(DUE, until=NOW), True), (Wait(RETRY, until=NOW), True),
        (Wait(PERSON, reason="its template is gone"), True),
    ],
)  # fmt: skip
def test_of_what_a_job_waited_for_only_that_is_kept_which_needs_no_engine(
    layout: Layout, wait: Wait | None, kept: bool
) -> None:
    job = queue.read_job(layout.journal(submit(layout)))
    entry = queueview.queue_entry(job, "running", wait)
    format_1 = {name: value for name, value in entry.items() if name not in ("wait", "size")}
    for line in (entry, format_1):
        data = queueview.render([queueview.queue_line(line)], {}, updated_at=NOW, mtime_ns=1, engine={"pid": 1})
        Path(layout.queue_state).write_bytes(data)
        shown = queueview.read_current(layout, NOW)["jobs"][0]
        assert shown["waits_for"] == sentence(wait if kept else FOR_A_DAEMON)
        if line is entry or not kept:
            assert Wait(**shown["wait"]) == (wait if kept else FOR_A_DAEMON)


def test_a_job_without_a_view_is_shown_as_what_its_journal_says(layout: Layout) -> None:
    """An engine writes the first views of waiting jobs when it has time: one that is missing says nothing."""
    waits, begun, half = (submit(layout) for _ in range(3))
    for workflow in (begun, half):
        story = [WorkflowStarted(), StepStarted("hello", 1)]
        with open(layout.journal(workflow), "ab") as file:
            file.write(journal.encode(2, NOW, story)[: None if workflow == begun else -5])
    for workflow in (waits, begun, half):
        os.unlink(layout.state(workflow))
    os.unlink(layout.queue_state)
    shown = {job["id"]: job for job in queueview.read_current(layout, NOW)["jobs"]}
    assert [shown[name]["status"] for name in (waits, begun)] == ["queued", "running"]
    assert shown[waits]["size"] == os.stat(layout.journal(waits)).st_size
    assert shown[begun]["size"] is None and shown[half]["size"] is None


def test_a_late_view_of_a_job_does_not_say_that_it_has_not_begun(layout: Layout) -> None:
    """By the size of its journal the next engine knows, without reading it, that a job has not begun."""
    workflow = submit(layout)
    with open(layout.journal(workflow), "ab") as file:
        file.write(journal.encode(2, NOW, [WorkflowStarted()]))
    os.unlink(layout.queue_state)
    assert queueview.read_current(layout, NOW)["jobs"][0]["size"] is None


def test_a_job_of_format_1_is_shown_from_its_job_file(layout: Layout) -> None:
    job = queue.read_job(layout.journal(submit(layout)))
    queue.remove(layout, queue.name_of(job))
    os.rename(layout.workflow(job.id), layout.workflow("old"))
    job.id = "old"
    Path(layout.job("old")).write_text(encode(job.as_record()) + "\n")
    os.unlink(layout.journal("old"))
    os.unlink(layout.state("old"))
    queue.add(layout, job)
    shown = queueview.read_current(layout, NOW)["jobs"]
    assert [(found["id"], found["status"], found["size"]) for found in shown] == [("old", "queued", None)]


def test_labels_cannot_be_taken_for_fields_of_the_line(layout: Layout) -> None:
    labels = {"id": "x", "status": "running", "waits_for": "due time", "q": '"status": "paused"'}
    found = submit(layout, labels=labels)
    data = Path(layout.queue_state).read_bytes()
    assert list(queueview.lines_by_id(data)) == [found.encode()]
    assert view(layout)["counts"]["queued"] == 1


def test_a_large_fresh_view_is_left_late_and_reading_is_right_all_the_same(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(layout)
    monkeypatch.setattr(queueview, "SMALL", 100)
    monkeypatch.setattr(queueview, "SECONDS_PER_BYTE", 1.0)
    second = submit(layout)
    assert ids(view(layout)) == [first]
    assert ids(queueview.read_current(layout, NOW)) == [first, second]
    os.utime(layout.queue_state, (0, 0))
    third = submit(layout)
    assert ids(view(layout)) == [first, second, third]


def test_too_many_unknown_jobs_leave_the_view_to_whoever_looks(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = submit(layout), submit(layout)
    os.unlink(layout.queue_state)
    monkeypatch.setattr(queueview, "MOST_READ", 1)
    third = submit(layout)
    assert not os.path.exists(layout.queue_state)
    assert ids(queueview.read_current(layout, NOW)) == [first, second, third]


def test_a_full_disk_behind_the_acceptance_is_no_error(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, data: bytes, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "replace", full)
    found = submit(layout)
    assert [name[25:-5] for name in os.listdir(layout.queue)] == [found]
