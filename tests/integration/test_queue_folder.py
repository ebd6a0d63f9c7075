"""The queue folder: an acceptance step by step, cut short after each of them, and made again."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, a_template, at

from hybrid_engine.errors import JobError
from hybrid_engine.files import atomic, queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.job import Job

TEMPLATE = a_template()


@pytest.fixture
def job(home: Layout) -> Job:
    TemplateStore(home).freeze(TEMPLATE)
    return a_job("w1", TEMPLATE, params={"text": "Ünï\n😀"}, labels={"a": "b"}, user="ada", key="k")


def test_an_accepted_job_has_one_file_under_two_names_and_its_definition(home: Layout, job: Job) -> None:
    name = queue.accept_now(home, job)
    assert os.stat(home.queued(name)).st_ino == os.stat(home.job("w1")).st_ino
    assert os.stat(home.template("w1")).st_ino == os.stat(home.frozen_template(TEMPLATE.version)).st_ino
    assert queue.read_job(home.queued(name)).as_record() == job.as_record()
    assert Path(home.job("w1")).read_text().count("\n") == 1
    assert [os.stat(path).st_mode & 0o777 for path in (home.workflow("w1"), home.job("w1"))] == [0o700, 0o600]


def test_a_laid_job_is_not_yet_in_the_queue(home: Layout, job: Job) -> None:
    queue.lay(home, job)
    assert queue.names(home) == ([], [])


def test_an_acceptance_may_be_made_again_at_any_point(home: Layout, job: Job) -> None:
    queue.lay(home, job)
    queue.lay(home, job)
    name = queue.announce(home, job)
    assert queue.announce(home, job) == name
    queue.accept_now(home, job)
    assert queue.names(home) == ([name], [])


def test_a_half_written_job_is_made_again(home: Layout, job: Job) -> None:
    os.mkdir(home.workflow("w1"))
    Path(home.job("w1")).write_text('{"format": 1, "id": "w')
    name = queue.accept_now(home, job)
    assert queue.read_job(home.queued(name)).as_record() == job.as_record()


def test_what_is_in_the_queue_is_never_written_to_again(home: Layout, job: Job) -> None:
    """The name in the queue is a second one of `job.json`: writing in its place would change an accepted job."""
    name = queue.accept_now(home, job)
    before = os.stat(home.queued(name)).st_ino
    later = a_job("w1", TEMPLATE, params={"text": "other"})
    queue.lay(home, later)
    assert os.stat(home.queued(name)).st_ino == before
    assert queue.read_job(home.queued(name)).params == job.params


def test_a_definition_is_copied_where_no_more_links_can_be_made(
    home: Layout, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*names: Any, **options: Any) -> None:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))

    monkeypatch.setattr(os, "link", no_link)
    name = queue.accept_now(home, job)
    assert queue.read_job(home.queued(name)).as_record() == job.as_record()
    assert Path(home.template("w1")).read_bytes() == TEMPLATE.to_frozen()


@pytest.mark.parametrize("step", ["write_all", "sync", "sync_folder"])
def test_a_full_disk_accepts_nothing_and_keeps_nothing_half(
    home: Layout, job: Job, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def failing(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "sync":
        monkeypatch.setattr(os, "fsync", failing)
    else:
        monkeypatch.setattr(atomic, step, failing)
    with pytest.raises(OSError, match="space"):
        queue.accept_now(home, job)
    monkeypatch.undo()
    if os.path.exists(home.job("w1")):
        assert queue.read_job(home.job("w1")).as_record() == job.as_record()
    queue.accept_now(home, job)
    assert len(queue.names(home)[0]) == 1


def test_names_are_in_the_order_of_work_and_strange_ones_apart(home: Layout, job: Job) -> None:
    for workflow, priority, due in (("b", 0, 1), ("a", 0, 1), ("c", 9, 5), ("d", 0, 0)):
        queue.accept_now(home, a_job(workflow, TEMPLATE, priority=priority, due_at=at(due)))
    Path(home.queue, "README").touch()
    good, strange = queue.names(home)
    assert [name.split("-", 2)[2] for name in good] == ["c.json", "d.json", "a.json", "b.json"]
    assert strange == ["README"]


def test_a_finished_job_is_removed_once_and_again(home: Layout, job: Job) -> None:
    name = queue.accept_now(home, job)
    queue.remove(home, name)
    queue.remove(home, name)
    assert queue.names(home) == ([], [])
    assert queue.read_job(home.job("w1")).id == "w1"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a job file"), (b"null", "not a job file"), (b'{"id": 1}', "not a job file"),
        (b'{"format": 2}', "newer version"), (b"\xff", "not a job file"), (b"[" * 100_000, "not a job file"),
        (b'{"id":"w","template":"t","version":"v","queued_at":"","due_at":"","mood":1}', "not a job file"),
    ],
)  # fmt: skip
def test_what_is_no_job_file_says_so(home: Layout, content: bytes, why: str) -> None:
    path = Path(home.queue, "x")
    path.write_bytes(content)
    with pytest.raises(JobError, match=why):
        queue.read_job(str(path))


def test_a_job_is_known_by_its_journal_once_it_has_left_the_queue(home: Layout, job: Job) -> None:
    queue.accept_now(home, job)
    assert not queue.is_known(home, "w1")
    Path(home.journal("w1")).touch()
    assert queue.is_known(home, "w1")
