"""The queue folder: names in the order of work, and a job accepted without an engine, cut short at every point."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, a_template, at
from homes import log_is_at_rest

from hybrid_engine.engine.turn import created_event
from hybrid_engine.errors import HomeError, JobError
from hybrid_engine.files import atomic, journal, queue, records, submission
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import segments, single
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.replay import replay
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.job import Job
from hybrid_engine.model.jsontext import encode

TEMPLATE = a_template()


@pytest.fixture
def job(home: Layout) -> Job:
    TemplateStore(home).freeze(TEMPLATE)
    return a_job("w1", TEMPLATE, params={"text": "Ünï\n😀"}, labels={"a": "b"}, user="ada", key="k")


def next_start(layout: Layout) -> None:
    """What an engine does before all else."""
    systems = FileSystems((layout.log, layout.workflows, layout.inbox, layout.queue))
    try:
        replay(layout, systems)
    finally:
        systems.close()


def no_link(*names: Any, **options: Any) -> None:
    raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))


# --- accepted without an engine


def test_an_accepted_job_has_one_file_under_two_names_and_its_definition(home: Layout, job: Job) -> None:
    size = single.commit(home, job)
    name = queue.name_of(job)
    assert queue.names(home) == ([name], [])
    assert os.stat(home.queued(name)).st_ino == os.stat(home.journal("w1")).st_ino
    assert os.stat(home.template("w1")).st_ino == os.stat(home.frozen_template(TEMPLATE.version)).st_ino
    assert queue.read_job(home.queued(name)).as_record() == job.as_record()
    assert Path(home.journal("w1")).read_text().count("\n") == 1
    assert os.stat(home.journal("w1")).st_size == size
    assert [os.stat(path).st_mode & 0o777 for path in (home.workflow("w1"), home.journal("w1"))] == [0o700, 0o600]
    assert not os.path.exists(home.job("w1"))


def test_its_journal_is_that_which_an_engine_would_write(home: Layout, job: Job) -> None:
    single.commit(home, job)
    assert Path(home.journal("w1")).read_bytes() == journal.encode(1, job.queued_at, [created_event(job)])
    state = records.folded(journal.read(home.journal("w1")))
    assert state is not None and records.read_state(home, "w1") == records.Records(home).record("w1")


def test_a_job_is_accepted_once(home: Layout, job: Job) -> None:
    single.commit(home, job)
    before = Path(home.journal("w1")).read_bytes()
    assert single.commit(home, a_job("w1", TEMPLATE, params={"text": "other"})) is None
    assert Path(home.journal("w1")).read_bytes() == before
    assert len(segments.numbers(home.log)) == 1


def test_a_job_that_only_the_log_knows_is_known(home: Layout, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was committed by somebody who was killed before anything of it could be seen in the folders."""
    with monkeypatch.context() as patch:
        patch.setattr(single, "_place", failing(errno.EIO))
        assert single.commit(home, job) is not None
    assert not os.path.exists(home.workflow("w1"))
    assert single.commit(home, job) is None
    next_start(home)
    assert queue.read_job(home.queued(queue.name_of(job))).as_record() == job.as_record()
    assert log_is_at_rest(home)


def failing(number: int) -> Callable[..., None]:
    def fail(*arguments: Any, **more: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "fsync"])
def test_a_full_disk_accepts_nothing_and_keeps_nothing_half(
    home: Layout, job: Job, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.ENOSPC))
        with pytest.raises(HomeError, match="space"):
            submission.accept(home, job)
    assert (os.listdir(home.workflows), queue.names(home), segments.numbers(home.log)) == ([], ([], []), [])
    submission.accept(home, job)
    assert len(queue.names(home)[0]) == 1


@pytest.mark.parametrize("call", ["mkdir", "link", "replace", "write_all"])
def test_a_disk_that_fails_behind_the_commit_has_accepted_the_job(
    home: Layout, job: Job, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(atomic if call == "write_all" else os, call, failing(errno.ENOSPC))
        submission.accept(home, job)
    next_start(home)
    name = queue.name_of(job)
    assert queue.names(home) == ([name], [])
    assert queue.read_job(home.queued(name)).as_record() == job.as_record()
    state = records.read_state(home, "w1")
    assert state is not None and state["status"] == "queued"


class KilledError(BaseException):
    """Stands for the end of the process."""


CHANGES = ("mkdir", "pwrite", "link", "replace", "fsync", "fdatasync", "ftruncate", "unlink")


@pytest.mark.leaves_temporary_files
def test_killed_at_any_call_a_job_is_accepted_whole_or_not_at_all(
    home: Layout, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the next start finds, it is the job as it was asked for; and whoever asks again gets it once."""
    calls = killed = 0
    while True:
        calls += 1
        this = a_job(f"w{calls}", TEMPLATE, params=job.params, user="ada")
        left = calls
        with monkeypatch.context() as patch:

            def counted(call: Any) -> Any:
                def change(*args: Any, **more: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left <= 0:
                        raise KilledError
                    return call(*args, **more)

                return change

            for name in CHANGES:
                patch.setattr(os, name, counted(getattr(os, name)))
            patch.setattr(atomic, "write_all", counted(atomic.write_all))
            try:
                submission.accept(home, this)
            except KilledError:
                killed += 1
            else:
                break
        next_start(home)
        for name in queue.names(home)[0]:
            found = queue.read_job(home.queued(name))
            assert queue.name_of(found) == name and found.params == job.params
        submission.accept(home, this)
        assert queue.read_job(home.queued(queue.name_of(this))).as_record() == this.as_record()
        assert len(queue.names(home)[0]) == calls
    assert killed > 10


def test_many_jobs_leave_few_segments(home: Layout, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single, "MANY", 5)
    for number in range(17):
        single.commit(home, a_job(f"w{number}", TEMPLATE))
        assert len(segments.numbers(home.log)) <= 6
    next_start(home)
    assert len(queue.names(home)[0]) == 17 and log_is_at_rest(home)


# --- names


def test_where_no_more_links_can_be_made_there_are_copies(
    home: Layout, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_link)
    single.commit(home, job)
    assert queue.read_job(home.queued(queue.name_of(job))).as_record() == job.as_record()
    assert Path(home.template("w1")).read_bytes() == TEMPLATE.to_frozen()


def test_a_job_gets_its_name_back_once_and_again(home: Layout, job: Job) -> None:
    single.commit(home, job)
    name = queue.name_of(job)
    queue.remove(home, name)
    for _ in range(2):
        assert queue.add(home, job) == name
        assert queue.names(home) == ([name], [])
        assert queue.read_job(home.queued(name)).as_record() == job.as_record()


def test_a_job_of_format_1_gets_its_name_back_from_its_job_file(home: Layout, job: Job) -> None:
    os.mkdir(home.workflow("w1"))
    Path(home.job("w1")).write_text(encode(job.as_record()) + "\n")
    name = queue.add(home, job)
    assert os.stat(home.queued(name)).st_ino == os.stat(home.job("w1")).st_ino
    assert queue.read_job(home.queued(name)).as_record() == job.as_record()


def test_names_are_in_the_order_of_work_and_strange_ones_apart(home: Layout, job: Job) -> None:
    for workflow, priority, due in (("b", 0, 1), ("a", 0, 1), ("c", 9, 5), ("d", 0, 0)):
        single.commit(home, a_job(workflow, TEMPLATE, priority=priority, due_at=at(due)))
    Path(home.queue, "README").touch()
    good, strange = queue.names(home)
    assert [name.split("-", 2)[2] for name in good] == ["c.json", "d.json", "a.json", "b.json"]
    assert strange == ["README"]


def test_a_finished_job_is_removed_once_and_again(home: Layout, job: Job) -> None:
    single.commit(home, job)
    queue.remove(home, queue.name_of(job))
    queue.remove(home, queue.name_of(job))
    assert queue.names(home) == ([], [])
    assert queue.read_job(home.journal("w1")).id == "w1"


# --- what is in them


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a job file"), (b"null", "not a job file"), (b'{"id": 1}', "not a job file"),
        (b'{"format": 2}', "newer version"), (b"\xff", "not a job file"), (b"[" * 100_000, "not a job file"),
        (b'{"id":"w","template":"t","version":"v","queued_at":"","due_at":"","mood":1}', "not a job file"),
        (b'{"n":1}\n', "damaged"), (b'{"n":1,"at":"x","type":"workflow_created"}\n', "damaged"),
    ],
)  # fmt: skip
def test_what_is_no_job_file_says_so(home: Layout, content: bytes, why: str) -> None:
    path = Path(home.queue, "x")
    path.write_bytes(content)
    with pytest.raises(JobError, match=why):
        queue.read_job(str(path))


def test_a_flipped_bit_of_a_first_line_is_found_wherever_it_is(home: Layout, job: Job) -> None:
    line = queue.created_line(job, job.queued_at)
    path = Path(home.queue, "x")
    for place in range(len(line) - 1):
        path.write_bytes(line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :])
        with pytest.raises(JobError):
            queue.read_job(str(path))
    path.write_bytes(line)
    assert queue.read_job(str(path)).as_record() == job.as_record()


def test_a_journal_that_begins_with_something_else_is_no_job(home: Layout) -> None:
    from hybrid_engine.model.events import WorkflowStarted

    path = Path(home.queue, "x")
    path.write_bytes(journal.encode(1, at(0), [WorkflowStarted()]))
    with pytest.raises(JobError, match="not that of a workflow"):
        queue.read_job(str(path))


def test_a_job_is_read_from_a_journal_of_any_length(home: Layout, job: Job) -> None:
    long = a_job("w1", TEMPLATE, params={"text": "x" * 200_000})
    path = Path(home.queue, "x")
    for rest in (b"", b"not read\n" * 100_000):
        path.write_bytes(queue.created_line(long, long.queued_at) + rest)
        assert queue.read_job(str(path)).as_record() == long.as_record()


def test_a_job_is_known_by_its_journal_once_it_has_left_the_queue(home: Layout, job: Job) -> None:
    assert not submission.is_known(home, "w1")
    single.commit(home, job)
    assert submission.is_known(home, "w1")
    queue.remove(home, queue.name_of(job))
    assert submission.is_known(home, "w1")


def test_a_job_of_format_1_is_known_while_it_is_in_the_queue(home: Layout, job: Job) -> None:
    """One that is only laid out was never accepted."""
    os.mkdir(home.workflow("w1"))
    Path(home.job("w1")).write_text(encode(job.as_record()) + "\n")
    assert not submission.is_known(home, "w1")
    queue.add(home, job)
    assert submission.is_known(home, "w1")


def test_nothing_temporary_is_left_of_an_acceptance(home: Layout, job: Job) -> None:
    submission.accept(home, job)
    assert os.listdir(home.tmp) == []
    assert atomic.read(home.queue_state)
