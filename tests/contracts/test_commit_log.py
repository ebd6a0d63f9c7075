"""The contract of `ports.storage.CommitLog`, kept by the folder and the memory alike; then what only the folder has."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, at
from contracts.storage import RUNNING, STARTED, TEMPLATE, InAFolder, InMemory, Place, accepted, born, then

from hybrid_engine.files import atomic, journal
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import behind, frames, segments
from hybrid_engine.files.log import commit_log as commit_logs
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.model import events as e
from hybrid_engine.model.ids import queue_name

COMPLETED: list[e.Event] = [e.StepCompleted("a", 1)]


@pytest.fixture(params=["memory", "folder"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place: Place = InMemory() if request.param == "memory" else InAFolder(request.getfixturevalue("home"))
    yield place
    place.close()


@pytest.fixture
def folder(home: Layout) -> Iterator[InAFolder]:
    place = InAFolder(home)
    yield place
    place.close()


def numbers(place: Place, workflow: str = "w1") -> list[int]:
    history = place.store.history(workflow)
    return [n for n, *_ in history.entries] if history else []


def checkpointed(place: Place) -> BaseException | None:
    """Make a checkpoint and tell how it ended."""
    ends: list[BaseException | None] = []
    place.log.checkpoint(ends.append)
    place.go_on()
    (end,) = ends
    return end


# --- commits ----------------------------------------------------------------------------------------------------------


def test_what_was_committed_is_there_after_a_kill(place: Place) -> None:
    place.log.commit([born("w1"), born("w2")])
    place.log.commit([then(2, RUNNING), then(2, STARTED, "w2")])
    place.log.commit([then(4, COMPLETED)])
    place.again()
    assert (numbers(place, "w1"), numbers(place, "w2")) == ([1, 2, 3, 4], [1, 2])


def test_a_commit_tells_by_how_much_each_journal_grew(place: Place) -> None:
    first = place.log.commit([born("w1"), born("w2", params={"text": "x" * 100})])
    second = place.log.commit([then(2, RUNNING)])
    for workflow in ("w1", "w2"):
        place.store.settle(workflow)
    assert list(first) == [len(place.journal("w1")) - second[0], len(place.journal("w2"))]


def test_a_commit_of_many_is_whole_or_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [born(f"w{number}") for number in range(20)]
    place.fail(1, monkeypatch)
    with pytest.raises(OSError):
        place.log.commit(batch)
    place.again()
    assert len({place.store.exists(turn.workflow) for turn in batch}) == 1


def test_the_same_batch_is_committed_again_when_the_disk_works_and_is_there_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.log.commit([born("w1")])
    batch = [then(2, RUNNING), born("w2")]
    place.fail(3, monkeypatch)
    for _ in range(3):
        with pytest.raises(OSError):
            place.log.commit(batch)
        place.log.write_behind(1.0)
        assert not place.store.exists("w2"), "shown before it is committed"
        assert numbers(place) == [1]
    assert len(place.log.commit(batch)) == 2
    place.log.commit([then(4, COMPLETED)])
    place.again()
    assert (numbers(place), numbers(place, "w2")) == ([1, 2, 3, 4], [1])


def test_events_that_cannot_be_written_down_spoil_nothing(place: Place) -> None:
    place.log.commit([born("w1")])
    with pytest.raises((ValueError, TypeError)):
        place.log.commit([then(2, STARTED), then(3, [e.StepCompleted("a", 1, output=float("nan"))])])
    place.go_on()
    assert numbers(place) == [1]
    place.log.commit([then(2, RUNNING)])
    assert numbers(place.again()) == [1, 2, 3]


def test_what_was_removed_is_not_made_again(place: Place) -> None:
    place.log.commit([born("w1"), born("w2")])
    place.log.commit([then(2, STARTED, "w2")], ["w1"])
    assert not place.store.exists("w1")
    place.again()
    assert not place.store.exists("w1")
    assert numbers(place, "w2") == [1, 2]
    assert [each.workflow for each in place.store.unfinished()] == ["w2"]


def test_an_id_that_was_removed_may_be_used_again(place: Place) -> None:
    place.log.commit([born("w1", user="ada")])
    place.log.commit([], ["w1"])
    place.log.commit([born("w1", user="bob")])
    for _ in range(2):
        assert place.store.job("w1").user == "bob"
        assert numbers(place) == [1]
        place.again()


# --- what follows -----------------------------------------------------------------------------------------------------


def test_what_follows_is_written_until_nothing_is_left(place: Place) -> None:
    for number in range(10):
        place.log.commit([born(f"w{number}")])
    while place.log.write_behind(0.0001):
        pass
    assert not place.log.is_behind
    assert len(place.queued()) == 10
    assert all(place.journal(f"w{number}") for number in range(10))


def test_it_is_told_once_when_those_just_committed_are_in_their_places(place: Place) -> None:
    told: list[list[str]] = []
    place.log.commit([born("w1"), born("w2"), born("w3")])
    place.log.when_placed(["w1", "w2"], lambda: told.append(place.queued()))
    place.go_on()
    assert len(told) == 1
    assert {name[-7:-5] for name in told[0]} >= {"w1", "w2"}
    place.go_on()
    assert len(told) == 1


def test_it_is_told_too_when_one_of_them_was_removed_meanwhile(place: Place) -> None:
    told: list[str] = []
    place.log.commit([born("w1"), born("w2")])
    place.log.when_placed(["w1", "w2"], lambda: told.append("placed"))
    place.log.commit([], ["w2"])
    place.go_on()
    assert told == ["placed"]


def test_a_checkpoint_ends_well_and_leaves_all_that_was_committed(place: Place) -> None:
    place.log.commit([born("w1")])
    place.log.commit([then(2, RUNNING)])
    assert checkpointed(place) is None
    assert not place.log.is_dirty
    assert place.log.size == 0
    for _ in range(2):
        assert numbers(place) == [1, 2, 3]
        assert [each.workflow for each in place.store.unfinished()] == ["w1"]
        place.again()


# --- the folder: one write, one sync ----------------------------------------------------------------------------------


def test_a_commit_is_one_write_and_one_sync_however_much_is_in_it(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for module, name in ((os, "pwrite"), (os, "write"), (os, "fsync"), (os, "fdatasync"), (os, "open")):
        real = getattr(module, name)

        def counting(*arguments: Any, name: str = name, real: Callable[..., Any] = real, **named: Any) -> Any:
            calls.append(name)
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, counting)
    for number in range(3):
        folder.log.commit([born(f"w{number}-{other}") for other in range(50)])
    assert calls == ["pwrite", "fdatasync"] * 3


def test_how_far_the_log_is_durable_is_told_after_each_commit(folder: InAFolder) -> None:
    folder.log.commit([born("w1")])
    folder.log.commit([born("w2")])
    scan = frames.scan(folder.segment(folder.segments()[0]).read_bytes())
    assert folder.durable[-3:] == [(1, frame.end) for frame in scan.frames]


def test_the_log_is_for_nobody_else(folder: InAFolder) -> None:
    folder.log.commit([born("w1")])
    folder.go_on()
    assert [folder.segment(number).stat().st_mode & 0o777 for number in folder.segments()] == [0o600, 0o600]


def test_space_for_the_next_segment_lies_ready_and_is_reserved(folder: InAFolder) -> None:
    folder.go_on()
    current, reserve = folder.segments()
    assert folder.segment(reserve).read_bytes() == b"\0" * commit_logs.SPACE_LEAST
    assert frames.scan(folder.segment(current).read_bytes()).header is not None


# --- the folder: when the log fails -----------------------------------------------------------------------------------


def test_a_segment_that_failed_is_never_written_again_and_nobody_notices(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.go_on()
    folder.log.commit([born("w1")])
    folder.fail_syncs(1, monkeypatch)
    folder.log.commit([born("w2")])
    assert [error.errno for error in folder.troubles] == [errno.EIO]
    first, second = folder.segments()[:2]
    failed = folder.segment(first).read_bytes()
    folder.log.commit([then(2, RUNNING), then(2, STARTED, "w2")])
    assert folder.segment(first).read_bytes() == failed
    header = frames.scan(folder.segment(second).read_bytes()).header
    assert header is not None
    assert (header.previous, header.previous_end) == (first, frames.scan(failed).frames[-2].end)
    folder.again()
    assert (numbers(folder, "w1"), numbers(folder, "w2")) == ([1, 2, 3], [1, 2])


def test_a_full_disk_takes_the_end_of_what_runs_in_the_space_that_was_reserved(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.go_on()
    folder.log.commit([born("w1")])
    pwrite = os.pwrite

    def full(fd: int, data: bytes, place: int) -> int:
        if place + len(data) > os.fstat(fd).st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, data, place)

    with open(folder.segment(folder.segments()[0]), "r+b") as file:
        file.truncate(frames.scan(file.read()).end)
    monkeypatch.setattr(os, "pwrite", full)
    folder.log.commit([then(2, RUNNING)])
    assert [error.errno for error in folder.troubles] == [errno.ENOSPC]
    monkeypatch.undo()
    assert numbers(folder.again()) == [1, 2, 3]


def test_a_reserve_that_came_late_does_not_make_later_commits_void(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first segment fails while the reserve is still being made: another one, of a higher number, takes its place.
    What is committed after the next switch must be there after a kill."""
    folder.log.commit([born("w1")])
    assert folder.background.pending, "the reserve is under way"
    folder.fail_syncs(1, monkeypatch)
    folder.log.commit([then(2, STARTED)])
    while folder.background.pending:
        folder.background.do()
        folder.reactor.run()
    folder.files.write_behind(1.0)
    folder.log.checkpoint(lambda error: None)
    folder.log.commit([then(3, [e.StepStarted("a", 1)])])
    Path(folder.home.journal("w1")).unlink()  # as a power cut might
    assert numbers(folder.again()) == [1, 2, 3]


def test_numbers_of_segments_and_frames_are_never_used_again(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments_seen: list[int] = []
    frames_seen: list[int] = []
    for life in range(6):
        folder.go_on()
        if life % 2:
            folder.fail_syncs(1, monkeypatch)
        folder.log.commit([born(f"w{life}")])
        frames_seen.append(folder.files.position)
        segments_seen.append(max(folder.segments()))
        if life % 3 == 0:
            assert checkpointed(folder) is None
        monkeypatch.undo()
        folder.again()
    assert frames_seen == sorted(set(frames_seen))
    assert segments_seen == sorted(set(segments_seen))


# --- the folder: checkpoints ------------------------------------------------------------------------------------------


def test_a_checkpoint_syncs_before_it_drops_and_drops_the_oldest_first(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    story: list[str] = []
    folder.go_on()
    folder.fail_syncs(1, monkeypatch)
    folder.log.commit([born("w1")])
    folder.log.commit([born("w2")])
    sync, unlink, sync_folder = FileSystems.sync, atomic.unlink, atomic.sync_folder

    def synced(systems: FileSystems) -> None:
        assert folder.journal("w1") and folder.journal("w2") and len(folder.queued()) == 2
        story.append("syncfs")
        sync(systems)

    monkeypatch.setattr(FileSystems, "sync", synced)
    monkeypatch.setattr(atomic, "unlink", lambda path: (story.append(Path(path).name.lstrip("0")), unlink(path)))
    monkeypatch.setattr(
        atomic, "sync_folder", lambda path: (story.append("folder") if story else None, sync_folder(path))
    )
    assert checkpointed(folder) is None
    assert story[:4] == ["syncfs", "1.log", "2.log", "folder"]
    assert len(folder.segments()) == 2, "one at work and one in reserve"
    assert folder.log.size == 0


def test_what_is_committed_during_a_checkpoint_waits_for_the_next(folder: InAFolder) -> None:
    folder.go_on()
    ends: list[BaseException | None] = []
    for number in range(5):
        folder.log.commit([born(f"w{number}")])
        folder.log.write_behind(1.0)
        folder.log.checkpoint(ends.append)
        folder.log.commit([], [f"nobody{number}"])
        folder.go_on()
        assert folder.log.is_dirty, number
        current = folder.segment(folder.segments()[0]).read_bytes()
        assert folder.log.size >= sum(len(frame.payload) for frame in frames.scan(current).frames[1:])
    assert ends == [None] * 5
    assert checkpointed(folder) is None
    assert not folder.log.is_dirty


def test_a_checkpoint_waits_for_what_is_not_in_its_place_and_one_that_is_asked_for_meanwhile_ends_with_it(
    folder: InAFolder,
) -> None:
    folder.go_on()
    folder.log.commit([born("w1")])
    ends: list[str] = []
    folder.log.checkpoint(lambda error: ends.append("first"))
    folder.log.checkpoint(lambda error: ends.append("second"))
    while folder.background.pending:
        folder.background.do()
        folder.reactor.run()
    assert ends == []
    assert 1 in folder.segments()
    folder.go_on()
    assert ends == ["first", "second"]
    assert 1 not in folder.segments()


def test_views_that_were_written_are_reason_for_a_checkpoint_too(folder: InAFolder) -> None:
    assert not folder.log.is_dirty
    folder.files.touch()
    assert folder.log.is_dirty
    assert checkpointed(folder) is None
    assert not folder.log.is_dirty


def unsynced(times: int) -> Callable[[FileSystems], None]:
    """`syncfs` fails so often; what it should have written must be taken for lost."""
    left = [OSError(errno.EIO, os.strerror(errno.EIO))] * times

    def sync(systems: FileSystems) -> None:
        if left:
            raise left.pop()

    return sync


def test_when_the_sync_of_a_checkpoint_fails_the_journals_are_written_into_new_files_each_synced(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.go_on()
    folder.log.commit([born("w1"), born("w2")])
    folder.log.commit([then(2, RUNNING)])
    folder.log.write_behind(1.0)
    old, before = os.stat(folder.home.journal("w1")).st_ino, folder.journal("w1")
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), fsync(fd)))
    monkeypatch.setattr(FileSystems, "sync", unsynced(1))
    assert checkpointed(folder) is None
    inode = os.stat(folder.home.journal("w1")).st_ino
    assert inode != old
    assert {inode, os.stat(folder.home.queue).st_ino, os.stat(folder.home.workflow("w1")).st_ino} <= set(synced)
    assert os.stat(folder.home.queued(queue_name(0, at(0), "w1"))).st_ino == inode, "two names of one file"
    assert folder.journal("w1") == before
    assert 1 not in folder.segments()
    folder.log.commit([then(4, COMPLETED)])
    assert numbers(folder.again()) == [1, 2, 3, 4]


def test_when_they_cannot_be_written_anew_either_the_log_stays(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.go_on()
    folder.log.commit([born("w1")])
    folder.log.write_behind(1.0)

    def failing(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(FileSystems, "sync", unsynced(9))
        patch.setattr(atomic, "replace", failing)
        error = checkpointed(folder)
    assert isinstance(error, OSError)
    assert 1 in folder.segments()
    assert folder.log.is_dirty
    folder.log.commit([then(2, RUNNING)])
    Path(folder.home.journal("w1")).unlink()
    assert numbers(folder.again()) == [1, 2, 3]


def test_a_checkpoint_for_which_there_is_no_room_fails_and_the_log_goes_on(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder.log.commit([born("w1")])
    with monkeypatch.context() as patch:
        patch.setattr(segments.Segment, "create", full)
        assert isinstance(checkpointed(folder), OSError)
        folder.log.commit([then(2, RUNNING)])
    assert checkpointed(folder) is None
    assert folder.segments()[0] > 1
    assert numbers(folder) == [1, 2, 3]


# --- the folder: what follows, and its troubles -----------------------------------------------------------------------


def test_nothing_is_done_of_what_is_younger_than_was_asked_for(folder: InAFolder) -> None:
    folder.log.commit([born("w1")])
    assert folder.log.write_behind(1.0, min_age=3600.0) is False
    assert folder.log.is_behind
    assert folder.log.write_behind(1.0) is False
    assert not folder.log.is_behind


def test_commits_that_come_quickly_one_after_the_other_are_written_together(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(bytes(data)), write(fd, data))[1])
    folder.log.commit([born("w1")])
    folder.log.commit([then(2, RUNNING)])
    folder.log.commit([then(4, COMPLETED)])
    folder.log.write_behind(1.0)
    assert [data.count(b"\n") for data in writes] == [4]


def test_a_name_in_the_queue_is_a_second_name_of_the_journal(folder: InAFolder) -> None:
    folder.log.commit([born("w1")])
    folder.go_on()
    (name,) = folder.queued()
    assert os.path.samefile(folder.home.queued(name), folder.home.journal("w1"))
    assert os.path.samefile(folder.home.template("w1"), folder.home.frozen_template(TEMPLATE.version))


def test_a_folder_that_somebody_removed_is_lost_and_not_begun_anew_and_the_others_go_on(folder: InAFolder) -> None:
    folder.log.commit([born("w1"), born("w2")])
    folder.go_on()
    os.unlink(folder.home.journal("w1"))
    folder.log.commit([then(2, RUNNING), then(2, RUNNING, "w2")])
    folder.log.write_behind(1.0)
    assert list(folder.lost) == ["w1"]
    assert numbers(folder, "w2") == [1, 2, 3]
    assert not os.path.exists(folder.home.journal("w1"))


def test_what_is_wrong_with_one_folder_is_tried_some_times_and_then_its_own_trouble(folder: InAFolder) -> None:
    folder.log.commit([born("w1"), born("w2")])
    os.makedirs(folder.home.journal("w1"))
    for _ in range(behind.TRIES):
        assert not folder.lost
        folder.log.write_behind(1.0)
    assert list(folder.lost) == ["w1"]
    assert not folder.troubles
    assert numbers(folder, "w2") == [1]
    assert journal.parse(folder.files.lines_behind("w1")).entries[0].n == 1


@pytest.mark.parametrize("part", ["write_all", "link_or_copy", "make_folder"])
def test_what_a_full_disk_does_not_take_is_kept_and_written_later(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    folder.log.commit([born("w1")])
    real = getattr(atomic, part)
    failures = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]

    def failing(*arguments: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments, **named)

    monkeypatch.setattr(atomic, part, failing)
    folder.log.write_behind(1.0)
    assert [error.errno for error in folder.troubles] == [errno.ENOSPC]
    assert folder.log.is_behind
    folder.log.commit([then(2, RUNNING)])
    folder.store.settle("w1")
    assert numbers(folder) == [1, 2, 3]
    assert folder.queued() == [queue_name(0, at(0), "w1")]
    assert os.path.exists(folder.home.template("w1"))


def test_a_last_view_in_whose_place_a_folder_stands_does_not_keep_a_workflow_from_its_end(folder: InAFolder) -> None:
    job = a_job("w1", TEMPLATE)
    folder.log.commit([accepted(job)])
    folder.store.settle("w1")
    os.mkdir(folder.home.state("w1"))
    folder.store.finish(job, queue_name(0, at(0), "w1"), b"the last view")
    folder.go_on()
    assert folder.queued() == []
    assert not folder.log.is_behind
