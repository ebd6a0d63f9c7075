"""Replay: what a start makes of the log. The table 'found at start' of docs/internals.md, on a real home."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from builders import a_job, at, created
from contracts.storage import RUNNING, STARTED, TEMPLATE, InAFolder, born, then
from homes import a_home_of_format_1, a_workflow_of_format_1, everything, freeze, log_is_at_rest
from lives import rendered

from hybrid_engine.files import atomic, journal, queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import filesystems, formats, frames, segments
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.replay import Replayed, replay
from hybrid_engine.model import events as e
from hybrid_engine.model.ids import queue_name
from hybrid_engine.ports.storage import Turn
from hybrid_engine.rules.transitions import fold

ENDED: list[e.Event] = [
    e.StepCompleted("a", 1), e.StepStarted("b", 1), e.StepCompleted("b", 1), e.WorkflowCompleted(),
]  # fmt: skip
STORY = [born("w1"), then(2, RUNNING), then(4, ENDED[:2]), then(6, ENDED[2:])]


def bytes_of(*turns: Turn) -> bytes:
    return b"".join(journal.encode(turn.first, turn.at, turn.events) for turn in turns)


class Wreck:
    """A home whose engine was killed: `commit` was its last deed, and nothing that follows was written."""

    def __init__(self, home: Layout) -> None:
        self.home = home
        self.place = InAFolder(home)

    def commit(self, *turns: Turn, removed: tuple[str, ...] = ()) -> None:
        self.place.log.commit(list(turns), removed)

    def segment(self, number: int = 1) -> Path:
        return self.place.segment(number)

    def journal(self, workflow: str = "w1") -> bytes:
        return self.place.journal(workflow)

    def write_journal(self, data: bytes, workflow: str = "w1") -> None:
        os.makedirs(self.home.workflow(workflow), exist_ok=True)
        Path(self.home.journal(workflow)).write_bytes(data)

    def frames(self, number: int = 1) -> list[frames.Frame]:
        return frames.scan(self.segment(number).read_bytes()).frames

    def spoil(self, place: int, number: int = 1) -> None:
        data = bytearray(self.segment(number).read_bytes())
        data[place] ^= 1
        self.segment(number).write_bytes(bytes(data))

    def cut(self, size: int, number: int = 1) -> None:
        os.truncate(self.segment(number), size)

    def replay(self) -> Replayed:
        self.place.kill()
        systems = FileSystems((self.home.log, self.home.workflows, self.home.inbox, self.home.queue))
        try:
            return replay(self.home, systems)
        finally:
            systems.close()

    def in_order(self, workflow: str, *turns: Turn) -> None:
        """The workflow is, in all its parts, what these turns make of it."""
        assert self.journal(workflow) == bytes_of(*turns)
        state = fold((entry.n, entry.at, entry.event) for entry in journal.parse(bytes_of(*turns)).entries)
        assert state is not None
        assert Path(self.home.state(workflow)).read_bytes() == rendered(state)
        assert os.path.samefile(self.home.template(workflow), self.home.frozen_template(TEMPLATE.version))
        name = queue_name(state.priority, state.due_at, workflow)
        assert os.path.lexists(self.home.queued(name)) != state.is_final

    def quarantined(self, workflow: str = "w1") -> Path:
        return Path(self.home.quarantine, workflow)

    def is_at_rest(self) -> bool:
        return log_is_at_rest(self.home)


@pytest.fixture
def wreck(home: Layout) -> Iterator[Wreck]:
    wreck = Wreck(home)
    yield wreck
    wreck.place.close()


# --- lines that a journal lacks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", range(len(STORY) + 1))
def test_lines_that_a_journal_lacks_are_appended_and_all_follows_from_them(wreck: Wreck, written: int) -> None:
    wreck.commit(*STORY[:1])
    for turn in STORY[1:]:
        wreck.commit(turn)
    if written:
        wreck.write_journal(bytes_of(*STORY[:written]))
    report = wreck.replay()
    assert (report.workflows, report.put_aside, report.evidence) == (1, [], [])
    wreck.in_order("w1", *STORY)
    assert wreck.is_at_rest()


def test_a_log_that_holds_only_the_last_lines_is_enough(wreck: Wreck) -> None:
    for turn in STORY[:2]:
        wreck.commit(turn)
    assert wreck.place.again().replayed.workflows == 1
    wreck.commit(STORY[2])
    assert wreck.replay().put_aside == []
    wreck.in_order("w1", *STORY[:3])


def test_a_name_in_the_queue_that_should_be_gone_goes_and_one_that_is_missing_comes(wreck: Wreck) -> None:
    for turn in (born("w2"), *STORY):
        wreck.commit(turn)
    wreck.place.behind.settle("w1")
    assert os.listdir(wreck.home.queue)
    wreck.replay()
    assert os.listdir(wreck.home.queue) == [queue_name(0, at(0), "w2")]


def test_a_journal_that_has_more_than_the_log_keeps_it(wreck: Wreck) -> None:
    wreck.commit(*STORY[:1])
    wreck.write_journal(bytes_of(*STORY[:3]))
    wreck.replay()
    wreck.in_order("w1", *STORY[:3])


# --- the end of the log -----------------------------------------------------------------------------------------------


def test_a_torn_end_of_the_last_segment_is_kept_as_a_copy_and_counts_for_nothing(wreck: Wreck) -> None:
    wreck.commit(STORY[0])
    wreck.commit(STORY[1], born("w2"))
    _, first, last = wreck.frames()
    whole = wreck.segment().read_bytes()
    for cut in range(last.start + 1, last.end, 11):
        home = Path(wreck.home.home)
        aside = home.with_name(f"cut-{cut}")
        shutil.copytree(home, aside, symlinks=True)
        copy = Layout(str(aside))
        Path(segments.path_of(copy.log, 1)).write_bytes(whole[:cut])
        systems = FileSystems((copy.log,))
        report = replay(copy, systems)
        systems.close()
        (evidence,) = report.evidence
        assert Path(evidence).read_bytes() == whole[first.end : cut].rstrip(b"\0")
        assert Path(copy.journal("w1")).read_bytes() == bytes_of(STORY[0])
        assert not os.path.exists(copy.workflow("w2"))
        assert report.put_aside == []


def test_a_failed_commit_that_was_not_made_again_may_count_and_hurts_nobody(
    wreck: Wreck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was answered: whether it happened is open until the next start looks, and then it is decided."""
    wreck.commit(STORY[0])
    wreck.place.fail(1, monkeypatch)
    with pytest.raises(OSError):
        wreck.commit(STORY[1])
    monkeypatch.undo()
    wreck.replay()
    wreck.in_order("w1", *STORY[: len(journal.parse(wreck.journal()).entries) // 2 + 1])


def test_what_lies_behind_the_valid_end_of_a_failed_segment_is_void(
    wreck: Wreck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes can be read, but were never acknowledged there: the same batch was committed in the next segment."""
    wreck.commit(STORY[0])
    wreck.place.fail_syncs(1, monkeypatch)
    wreck.commit(STORY[1], born("w2"))
    wreck.commit(STORY[2])
    first, second = wreck.place.segments()[0], wreck.place.files.position
    assert len(wreck.frames(first)) == 3, "the failed frame is there"
    report = wreck.replay()
    assert (report.put_aside, report.evidence) == ([], [])
    assert report.next_number > second
    wreck.in_order("w1", *STORY[:3])
    wreck.in_order("w2", born("w2"))


def test_another_batch_than_the_one_that_failed_makes_that_one_void(
    wreck: Wreck, monkeypatch: pytest.MonkeyPatch
) -> None:
    wreck.commit(STORY[0])
    wreck.place.fail(2, monkeypatch)
    for _ in range(2):
        with pytest.raises(OSError):
            wreck.commit(then(2, [e.WorkflowPaused()]))
    monkeypatch.undo()
    wreck.commit(STORY[1])
    wreck.replay()
    wreck.in_order("w1", *STORY[:2])


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_bad_frame_before_good_ones_is_kept_and_only_workflows_with_a_gap_are_put_aside(wreck: Wreck) -> None:
    wreck.commit(born("w1"), born("w2"), born("w3"))
    wreck.commit(then(2, RUNNING), then(2, STARTED, "w3"))
    wreck.commit(then(4, ENDED[:1]), then(2, STARTED, "w2"))
    wreck.write_journal(bytes_of(born("w3"), then(2, STARTED, "w3")), "w3")
    bad = wreck.frames()[2]
    wreck.spoil(bad.end - 5)
    data = wreck.segment().read_bytes()
    report = wreck.replay()
    assert [workflow for workflow, _ in report.put_aside] == ["w1"]
    (evidence,) = report.evidence
    assert Path(evidence).read_bytes() == data[bad.start : bad.end]
    aside = wreck.quarantined()
    assert "gap" in json.loads((aside / "reason.json").read_text())["reason"]
    assert (aside / "log-lines.jsonl").read_bytes() == bytes_of(born("w1"), then(4, ENDED[:1]))
    wreck.in_order("w2", born("w2"), then(2, STARTED, "w2"))
    wreck.in_order("w3", born("w3"), then(2, STARTED, "w3"))


def test_a_bad_last_frame_of_a_segment_that_others_follow_is_kept_too(
    wreck: Wreck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was acknowledged: the next segment's header says that the one before validly ends behind it."""
    wreck.commit(born("w1"))
    wreck.commit(born("w2"))
    wreck.place.fail_syncs(1, monkeypatch)
    wreck.commit(born("w3"))
    bad = wreck.frames()[2]
    with open(wreck.segment(), "r+b") as file:
        file.truncate(bad.end - 5)
    report = wreck.replay()
    assert [Path(path).read_bytes() for path in report.evidence] == [frames.encode(bad.number, bad.payload)[:-5]], (
        "a part of the log that cannot be read is kept"
    )
    assert report.put_aside == []


def test_a_journal_whose_bad_lines_the_log_covers_is_made_whole(wreck: Wreck) -> None:
    """Pages that were not synced reach the disk in any order."""
    for turn in STORY:
        wreck.commit(turn)
    whole = bytes_of(*STORY)
    first = len(bytes_of(STORY[0]))
    for wrong in (
        whole[: first + 20],
        whole[:first] + b"\0" * 40 + whole[first + 40 :],
        b"\0" * len(whole),
        whole[:-7],
        whole + b"garbage",
        b"",
    ):
        aside = Path(wreck.home.home).with_name(f"wrong-{len(os.listdir(Path(wreck.home.home).parent))}")
        shutil.copytree(wreck.home.home, aside, symlinks=True)
        copy = Layout(str(aside))
        os.makedirs(copy.workflow("w1"), exist_ok=True)
        Path(copy.journal("w1")).write_bytes(wrong)
        systems = FileSystems((copy.log,))
        assert replay(copy, systems).put_aside == []
        systems.close()
        assert Path(copy.journal("w1")).read_bytes() == whole


def test_sound_lines_behind_those_that_the_log_mends_are_not_thrown_away(wreck: Wreck) -> None:
    """The log has lost its last frame, and the journal a line in its middle that the log still has."""
    for turn in STORY[:3]:
        wreck.commit(turn)
    wreck.spoil(wreck.frames()[3].end - 5)
    whole, first = bytes_of(*STORY[:3]), len(bytes_of(STORY[0]))
    wreck.write_journal(whole[:first] + b"\0" * 40 + whole[first + 40 :])
    wreck.replay()
    assert wreck.journal() == whole


@pytest.mark.parametrize("is_there", [True, False])
def test_a_log_that_begins_beyond_the_end_of_a_journal_puts_the_workflow_aside_with_its_lines(
    wreck: Wreck, is_there: bool
) -> None:
    """Never is it made again with a hole; and its name in the queue must not begin it anew."""
    for turn in STORY[:2]:
        wreck.commit(turn)
    wreck.place.again()
    wreck.commit(STORY[2])
    wreck.place.kill()
    if is_there:
        os.truncate(wreck.home.journal("w1"), len(bytes_of(STORY[0])))
    else:
        shutil.rmtree(wreck.home.workflow("w1"))
    report = wreck.replay()
    assert [workflow for workflow, _ in report.put_aside] == ["w1"]
    aside = wreck.quarantined()
    assert (aside / "log-lines.jsonl").read_bytes() == bytes_of(STORY[2])
    assert "begins with event 4" in json.loads((aside / "reason.json").read_text())["reason"]
    assert not os.path.exists(wreck.home.workflow("w1"))
    assert os.listdir(wreck.home.queue) == []
    assert wreck.is_at_rest()


def test_a_journal_of_a_newer_version_is_left_as_it_is(wreck: Wreck) -> None:
    wreck.commit(born("w1"), born("w2"))
    newer = bytes_of(born("w1")) + _of_a_newer_version(2)
    wreck.write_journal(newer)
    assert wreck.replay().put_aside == []
    assert wreck.journal() == newer
    wreck.in_order("w2", born("w2"))


def _of_a_newer_version(n: int) -> bytes:
    body = b'{"n":%d,"at":"%b","type":"workflow_teleported"}' % (n, at(n).encode())
    return b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body, journal.SEED))


# --- what was removed -------------------------------------------------------------------------------------------------


def test_what_was_removed_is_not_made_again(wreck: Wreck) -> None:
    wreck.commit(born("w1"), born("w2"))
    wreck.commit(removed=("w1",))
    wreck.replay()
    assert os.listdir(wreck.home.workflows) == ["w2"]
    assert os.listdir(wreck.home.queue) == [queue_name(0, at(0), "w2")]


def test_a_workflow_whose_folder_somebody_removed_leaves_no_name_in_the_queue(wreck: Wreck) -> None:
    wreck.commit(born("w1"), born("w2"))
    wreck.place.go_on()
    shutil.rmtree(wreck.home.workflow("w1"))
    wreck.commit(removed=("w1",))
    wreck.replay()
    assert [each.workflow for each in wreck.place.again().store.unfinished()] == ["w2"]


def test_an_id_that_was_removed_and_given_again_is_the_new_one(wreck: Wreck) -> None:
    wreck.commit(born("w1", user="ada"))
    wreck.commit(removed=("w1",))
    wreck.commit(born("w1", user="bob"))
    wreck.replay()
    wreck.in_order("w1", born("w1", user="bob"))


# --- interrupted ------------------------------------------------------------------------------------------------------

DEEDS = [
    (os, "pwrite"), (os, "write"), (os, "mkdir"), (os, "link"), (os, "replace"), (os, "unlink"), (os, "ftruncate"),
    (os, "fsync"), (os, "fdatasync"), (filesystems._libc, "syncfs"),
]  # fmt: skip


class Killed(BaseException):
    """Nothing after this happens."""


def kill_before(patch: pytest.MonkeyPatch, deed: int) -> Callable[[], int]:
    """Kill at the deed of this number; tells how many there were."""
    count = [0]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any, **named: Any) -> Any:
            if count[0] == deed:
                raise Killed
            count[0] += 1
            return real(*arguments, **named)

        return do

    for module, name in DEEDS:
        patch.setattr(module, name, counted(getattr(module, name)))
    return lambda: count[0]


@pytest.mark.leaves_temporary_files
def test_a_replay_that_was_interrupted_anywhere_and_is_done_again_gives_the_same_bytes(
    wreck: Wreck, monkeypatch: pytest.MonkeyPatch
) -> None:
    wreck.commit(born("w1"), born("w2"), born("w3"))
    wreck.place.fail_syncs(1, monkeypatch)
    for turn in STORY[1:]:
        wreck.commit(turn)
    monkeypatch.undo()
    wreck.commit(then(2, RUNNING, "w2"), removed=("w3",))
    wreck.write_journal(bytes_of(*STORY[:2])[:-9])
    wreck.place.kill()
    before = Path(wreck.home.home)

    def replayed(deed: int) -> tuple[dict[str, bytes], int]:
        """The files of a copy of the home after its replay, killed at this deed and done again."""
        copy = Layout(str(before.with_name(f"killed-{deed}")))
        shutil.copytree(before, copy.home)
        systems = FileSystems((copy.log,))
        with monkeypatch.context() as patch:
            deeds = kill_before(patch, deed)
            try:
                replay(copy, systems)
            except Killed:
                pass
        replay(copy, systems)
        systems.close()
        # Which number the segment has that is left to count on from, depends on how often one was begun.
        left = {
            name: data
            for name, data in everything(copy).items()
            if not name.endswith(".tmp") and not re.fullmatch(r"\.hybrid/log/[0-9]{16}\.log", name)
        }
        assert log_is_at_rest(copy)
        shutil.rmtree(copy.home)
        return left, deeds()

    expected, deeds = replayed(10_000)
    assert expected["workflows/w1/journal.jsonl"] == bytes_of(*STORY)
    assert deeds > 20
    for deed in range(deeds):
        assert replayed(deed)[0] == expected, f"killed before deed {deed}"


def test_nothing_of_the_log_goes_before_what_it_held_is_synced(wreck: Wreck, monkeypatch: pytest.MonkeyPatch) -> None:
    wreck.commit(*STORY[:1])
    wreck.commit(STORY[1])
    story: list[str] = []
    sync, unlink, append = FileSystems.sync, atomic.unlink, segments.Segment.append
    monkeypatch.setattr(FileSystems, "sync", lambda systems: (story.append("syncfs"), sync(systems))[1])
    monkeypatch.setattr(atomic, "unlink", lambda path: (story.append("unlink"), unlink(path))[1])
    monkeypatch.setattr(
        segments.Segment, "append", lambda segment, data: (story.append("trusted"), append(segment, data))[1]
    )
    wreck.replay()
    assert story[:2] == ["trusted", "syncfs"]
    assert set(story[2:]) == {"unlink"}


def test_when_the_sync_fails_all_that_the_log_names_is_written_into_new_files(
    wreck: Wreck, monkeypatch: pytest.MonkeyPatch
) -> None:
    wreck.commit(*STORY[:1])
    wreck.commit(STORY[1])
    wreck.write_journal(bytes_of(STORY[0]))
    old = os.stat(wreck.home.journal("w1")).st_ino
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), fsync(fd))[1])

    def failing(systems: FileSystems) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(FileSystems, "sync", failing)
    wreck.replay()
    inode = os.stat(wreck.home.journal("w1")).st_ino
    assert inode != old
    assert inode in synced
    assert os.stat(wreck.home.queued(queue_name(0, at(0), "w1"))).st_ino == inode
    wreck.in_order("w1", *STORY[:2])
    assert wreck.is_at_rest()


@pytest.mark.leaves_temporary_files
def test_a_disk_that_fails_leaves_the_log_for_the_next_start(wreck: Wreck, monkeypatch: pytest.MonkeyPatch) -> None:
    for turn in STORY:
        wreck.commit(turn)
    with monkeypatch.context() as patch:

        def failing(*arguments: Any, **named: Any) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(FileSystems, "sync", failing)
        patch.setattr(atomic, "replace", failing)
        with pytest.raises(OSError):
            wreck.replay()
    assert wreck.replay().put_aside == []
    wreck.in_order("w1", *STORY)


# --- other homes ------------------------------------------------------------------------------------------------------


def test_a_home_at_rest_is_not_touched(wreck: Wreck) -> None:
    wreck.commit(born("w1"))
    wreck.replay()
    before = everything(wreck.home)
    report = wreck.replay()
    assert (report.workflows, report.put_aside, report.evidence) == (0, [], [])
    assert everything(wreck.home) == before


def test_a_home_of_format_1_is_taken_up_and_its_workflows_go_on(home: Layout) -> None:
    freeze(home, "v1")
    a_home_of_format_1(home)
    a_workflow_of_format_1(home, "waits")
    a_workflow_of_format_1(home, "runs", e.WorkflowStarted(), e.StepStarted("one", 1))
    a_workflow_of_format_1(home, "over", e.WorkflowStarted(), e.StepSkipped("one", "x"), e.WorkflowCompleted())
    formats.take_up(home)
    assert Path(home.format).read_bytes() == b"2\n"
    assert os.path.isdir(home.log)
    formats.take_up(home)
    place = InAFolder(home)
    found = {each.workflow: each for each in place.store.unfinished()}
    assert set(found) == {"waits", "runs"}
    assert place.store.history("waits") is None
    job = place.store.job("waits", found["waits"].name)
    assert job.as_record() == queue.read_job(home.job("waits")).as_record()
    place.log.commit([Turn("waits", 1, at(0), [created("waits")]), then(4, [e.StepCompleted("one", 1)], "runs")])
    place.again()
    assert len(journal.read(home.journal("runs")).entries) == 4
    assert sorted(os.listdir(home.queue)) == sorted(each.name for each in found.values()), "one name each"
    place.close()


def test_the_format_is_durable_before_the_log_is_there_to_be_written(
    home: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between, the home is of format 1 without a log, or of format 1 with an empty one: both are taken up."""
    a_home_of_format_1(home)

    def failing(path: str, data: bytes) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_atomic", failing)
        with pytest.raises(OSError):
            formats.take_up(home)
    assert Path(home.format).read_bytes() == b"1\n"
    assert log_is_at_rest(home)
    formats.take_up(home)
    assert Path(home.format).read_bytes() == b"2\n"


def test_a_job_is_what_its_first_line_says(wreck: Wreck) -> None:
    job = a_job("w1", TEMPLATE, params={"x": "ü\ud800"}, key="k", user="ada", labels={"l": "v"}, priority=3)
    assert queue.created_line(job, job.queued_at) == bytes_of(born("w1", params=job.params, key="k", user="ada",
                                                                   labels={"l": "v"}, priority=3))  # fmt: skip
    wreck.commit(born("w1", priority=3))
    wreck.replay()
    assert queue.read_job(wreck.home.journal("w1")).as_record() == a_job("w1", TEMPLATE, priority=3).as_record()


def test_numbers_go_on_for_the_life_of_a_home_whoever_empties_its_log(wreck: Wreck) -> None:
    wreck.commit(*STORY[:1])
    used, frame = segments.numbers(wreck.home.log), segments.read_all(wreck.home.log).next
    for _ in range(3):
        wreck.replay()
        found = segments.read_all(wreck.home.log)
        assert found.last > used[-1] and found.next > frame
