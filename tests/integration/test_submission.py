"""`submission` and `dropbox` when something fails, or somebody else asks for the same: what is told is what happens."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from intaking import Porch, an_intake

from hybrid_engine.cli import fast
from hybrid_engine.client import Client
from hybrid_engine.daemon import intake as intakes
from hybrid_engine.errors import HomeError, UncertainError
from hybrid_engine.files import atomic, dropbox, submission
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock, EngineLock
from hybrid_engine.files.log import single
from hybrid_engine.model.job import Job


@pytest.fixture
def porch(home: Layout) -> Iterator[Porch]:
    yield from an_intake(home)


@pytest.fixture
def client(porch: Porch) -> Client:
    return Client(porch.home.home, user="ann")


@pytest.fixture
def engine(porch: Porch) -> Iterator[EngineLock]:
    """Somebody holds the home."""
    lock = EngineLock(porch.home)
    lock.acquire({"pid": os.getpid()})
    yield lock
    lock.release()


def fail_syncs_of(monkeypatch: pytest.MonkeyPatch, folder: str, meanwhile: Callable[[], Any] = lambda: None) -> None:
    """The next sync of this folder fails, after something else has happened."""
    sync, failures = atomic.sync_folder, [folder]

    def failing(path: str) -> None:
        if path in failures:
            failures.remove(path)
            meanwhile()
            raise OSError(errno.EIO, "Input/output error", path)
        sync(path)

    monkeypatch.setattr(atomic, "sync_folder", failing)


# --- what failed does not run ---------------------------------------------------------------------------------------


def test_a_drop_that_fails_does_not_run(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_syncs_of(monkeypatch, porch.home.inbox)
    with pytest.raises(HomeError, match="Input/output error"):
        client.enqueue("report")
    assert porch.left() == porch.take() == []
    again = client.enqueue("report")
    assert porch.take() == [again]


def test_many_that_fail_do_not_run(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_syncs_of(monkeypatch, porch.home.inbox)
    with pytest.raises(HomeError, match="Input/output error"):
        client.enqueue_many([{"template": "report"}] * 3)
    assert porch.left() == porch.take() == []


@pytest.mark.parametrize("many", [False, True])
def test_a_drop_that_fails_and_was_taken_meanwhile_is_no_failure(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch, many: bool
) -> None:
    fail_syncs_of(monkeypatch, porch.home.inbox, porch.look)
    found = client.enqueue_many([{"template": "report"}] * 2) if many else [client.enqueue("report")]
    assert porch.take() == sorted(found)


@pytest.mark.parametrize("until", ["committed", "in its place"])
def test_a_drop_that_fails_while_the_engine_has_it_in_hand_waits_for_the_engine(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch, until: str
) -> None:
    """The engine has read it, and nobody can know yet whether it will be accepted."""
    monkeypatch.setattr(dropbox, "_PAUSE", 0)
    porch.rename("other.json", '{"template": "report"}')
    steps = iter([lambda: porch.wait(1)])
    monkeypatch.setattr(dropbox.time, "sleep", lambda seconds: next(steps, lambda: None)())
    if until == "committed":
        porch.place.fail(1, monkeypatch)

    def begin() -> None:
        porch.intake.look()
        porch.engine.settle()  # read, and on its way to the disk together with the other
        assert porch.engine.driver.recorder.failing == (until == "committed")
        assert porch.queued() == []

    fail_syncs_of(monkeypatch, porch.home.inbox, begin)
    workflow = client.enqueue("report")
    assert workflow in porch.queued()


def test_a_drop_that_fails_and_stays_in_the_hands_of_an_engine_is_told_as_uncertain(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dropbox, "PATIENCE", 0)
    fds: list[int] = []

    def hold() -> None:
        [name] = porch.left()
        fds.append(os.open(porch.inbox / name, os.O_RDONLY))
        fcntl.flock(fds[0], fcntl.LOCK_SH)

    fail_syncs_of(monkeypatch, porch.home.inbox, hold)
    with pytest.raises(UncertainError) as caught:
        client.enqueue("report")
    os.close(fds[0])
    [name] = porch.left()
    assert name.removesuffix(".json") in str(caught.value)
    assert porch.take() == [name.removesuffix(".json")]


def test_a_drop_that_cannot_be_taken_back_is_told_as_uncertain(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_syncs_of(monkeypatch, porch.home.inbox)
    unlink = os.unlink

    def failing(path: Any, **options: Any) -> None:
        if str(path).startswith(porch.home.inbox):
            raise OSError(errno.EROFS, "Read-only file system")
        unlink(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", failing)
        with pytest.raises(UncertainError, match="user-ann-"):
            client.enqueue("report")
    assert len(porch.take()) == 1


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("when", ["committed", "in its place"])
def test_a_drop_that_an_engine_accepted_before_it_died_is_no_failure(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch, when: str, many: bool
) -> None:
    def accept_and_die() -> None:
        porch.file_inbox.remove = lambda opened: False  # type: ignore[method-assign]
        porch.intake.look()
        if when == "committed":
            porch.engine.settle()
        else:
            porch.settle()
        assert len(porch.left()) == 1
        assert bool(porch.queued()) == (when == "in its place")
        porch.kill()

    fail_syncs_of(monkeypatch, porch.home.inbox, accept_and_die)
    found = client.enqueue_many([{"template": "report"}] * 2) if many else [client.enqueue("report")]
    porch.restart()
    assert porch.take() == sorted(found)
    assert porch.left() == []


def test_many_of_which_an_engine_accepted_only_some_before_it_died_are_told_as_uncertain(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "BATCH", 2)

    def accept_some_and_die() -> None:
        porch.intake.look()
        for _ in range(100):
            if porch.place.behind:
                break
            porch.engine.reactor._posted.popleft()()
            porch.engine.driver.pulse()
        assert len(porch.place.behind) == 2
        porch.kill()

    fail_syncs_of(monkeypatch, porch.home.inbox, accept_some_and_die)
    with pytest.raises(UncertainError):
        client.enqueue_many([{"template": "report"}] * 4)
    porch.restart()
    assert len(porch.take()) == 4
    assert porch.left() == []


def test_a_keyed_drop_that_fails_may_have_been_answered_with_and_stays(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[str] = []

    def ask_the_same() -> None:
        monkeypatch.undo()
        answers.append(client.enqueue("report", key="k"))

    fail_syncs_of(monkeypatch, porch.home.inbox, ask_the_same)
    with pytest.raises(UncertainError):
        client.enqueue("report", key="k")
    assert porch.take() == answers


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("what", ["the name", "the content"])
def test_an_acceptance_without_an_engine_that_fails_leaves_nothing(
    porch: Porch, client: Client, monkeypatch: pytest.MonkeyPatch, what: str, key: str | None
) -> None:
    """Nobody was answered with its key either: what others see of it comes after the commit."""
    if what == "the name":
        fail_syncs_of(monkeypatch, porch.home.log)
    else:
        porch.place.fail_syncs(1, monkeypatch)
    segments = os.listdir(porch.home.log)
    with pytest.raises(HomeError, match="Input/output error"):
        client.enqueue("report", key=key)
    assert os.listdir(porch.home.log) == segments
    porch.restart()
    assert porch.left() == porch.take() == os.listdir(porch.home.workflows) == []
    again = client.enqueue("report", key=key)
    porch.restart()
    assert porch.take() == [again]


@pytest.mark.parametrize("what", ["the name stays", "its removal may not last"])
def test_an_acceptance_that_fails_and_cannot_be_taken_back_is_told_as_uncertain(
    porch: Porch, client: Client, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    fail_syncs_of(monkeypatch, porch.home.log)
    unlink = os.unlink

    def failing(path: Any, **options: Any) -> None:
        if str(path).startswith(porch.home.log):
            raise OSError(errno.EROFS, "Read-only file system")
        unlink(path, **options)

    with monkeypatch.context() as patch:
        if what == "the name stays":
            patch.setattr(os, "unlink", failing)
        else:
            fail_syncs_of(patch, porch.home.log)
        with pytest.raises(UncertainError, match="user-ann-key-"):
            client.enqueue("report", key="k")
    again = client.enqueue("report", key="k")
    porch.restart()
    assert porch.take() == [again]
    assert porch.left() == []


def test_a_drop_that_is_durable_is_no_failure_when_its_acceptance_is(
    porch: Porch, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody held the lock for a moment, so the job was dropped; then the lock was free, and the disk full."""
    enter, tries = BriefLock.__enter__, []

    def first_refused(lock: BriefLock) -> bool:
        tries.append(lock)
        return len(tries) > 1 and enter(lock)

    monkeypatch.setattr(BriefLock, "__enter__", first_refused)
    fail_syncs_of(monkeypatch, porch.home.log)
    workflow = client.enqueue("report")
    monkeypatch.undo()
    porch.restart()
    assert porch.take() == [workflow]
    assert porch.left() == []


def test_the_short_way_tells_a_failure_by_its_exit_code(
    porch: Porch, engine: EngineLock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    porch.rename("warm.json", '{"template": "report"}')
    porch.take()  # the template is frozen now, which the short way wants
    fail_syncs_of(monkeypatch, porch.home.inbox)
    code = fast.enqueue(["report"], {"HYBRID_HOME": porch.home.home})
    assert code == HomeError.exit_code
    assert "Input/output error" in capsys.readouterr().err
    assert porch.left() == []


# --- one key, two who ask -------------------------------------------------------------------------------------------


def test_two_enqueues_with_one_key_at_once_are_one_job(
    porch: Porch, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen that the key is new; the second gets the lock when the first has accepted the job."""
    enter, first = BriefLock.__enter__, []

    def overtaken(lock: BriefLock) -> bool:
        if not first:
            first.append("")
            first[0] = client.enqueue("report", {"n": 1}, key="k")
        return enter(lock)

    monkeypatch.setattr(BriefLock, "__enter__", overtaken)
    accepted: list[tuple[str, bool]] = []
    commit = single.commit

    def committing(layout: Layout, job: Job) -> int | None:
        size = commit(layout, job)
        accepted.append((job.id, size is not None))
        return size

    monkeypatch.setattr(single, "commit", committing)
    assert client.enqueue("report", {"n": 2}, key="k") == first[0]
    assert accepted == [(first[0], True), (first[0], False)]
    assert [job.params["n"] for job in porch.jobs()] == [1]


def test_many_threads_with_one_key_get_one_workflow(porch: Porch, client: Client) -> None:
    found: list[str] = []
    start = threading.Barrier(8, timeout=10)

    def ask() -> None:
        start.wait()
        found.append(client.enqueue("report", key="k"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert porch.take() == [found[0]]
    assert porch.left() == []


def test_a_key_that_lies_in_the_inbox_is_made_durable_before_it_is_answered_with(
    porch: Porch, client: Client, engine: EngineLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.enqueue("report", key="k")
    synced: list[str] = []
    sync = atomic.sync_folder
    monkeypatch.setattr(atomic, "sync_folder", lambda path: (synced.append(path), sync(path))[1])
    assert client.enqueue("report", key="k") == first
    assert synced == [porch.home.inbox]
    assert submission.is_known(porch.home, first)
    assert len([name for name in porch.left() if name.endswith(".json")]) == 1
    assert Path(dropbox.inbox_path(porch.home, first)).exists()
    assert porch.take() == [first]
