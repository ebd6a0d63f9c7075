"""The order in which things become durable: what a power cut may take must not be counted on yet.

Each test records what is done to the disk. Crash tests try what a disk makes of it; these say which call is missing.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from builders import a_job, a_template, at
from contracts.storage import RUNNING, STARTED, TEMPLATE, InAFolder, accepted, born, then
from deeds import Deeds

from hybrid_engine.files import journal, quarantine
from hybrid_engine.files.heartbeat import Heartbeat
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import filesystems, frames, overlay, segments, single
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.replay import replay
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.files.viewstore import FileViews
from hybrid_engine.model import events as e
from hybrid_engine.model.ids import queue_name

LOG = ".hybrid/log"
COMPLETED: list[e.Event] = [e.StepCompleted("a", 1)]


@pytest.fixture
def folder(home: Layout) -> Iterator[InAFolder]:
    place = InAFolder(home)
    yield place
    place.close()


@pytest.fixture
def deeds(monkeypatch: pytest.MonkeyPatch, home: Layout) -> Deeds:
    """Asked for behind `folder`, it records what is done to it once it has started."""
    return Deeds(monkeypatch, home)


def segment(number: int) -> str:
    return f"{LOG}/{number:016d}.log"


def failing(number: int = errno.EIO) -> Callable[..., Any]:
    def fail(*arguments: Any, **named: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


# --- commits ----------------------------------------------------------------------------------------------------------


def test_the_first_segment_of_an_engine_is_durable_before_anything_is_committed(
    deeds: Deeds, folder: InAFolder
) -> None:
    """A reader knows by its header that all before it is void."""
    deeds.in_order(("pwrite", segment(1)), ("fdatasync", segment(1)))
    assert ("fsync", LOG) in deeds.all
    assert folder.durable[0][1] > 0


def test_a_segment_that_lies_ready_is_durable_with_its_name(folder: InAFolder, deeds: Deeds) -> None:
    """A commit that goes into it syncs data only."""
    folder.go_on()
    deeds.in_order(("write", segment(2)), ("fsync", segment(2)), ("fsync", LOG))


def test_the_name_of_a_segment_in_the_place_of_a_failed_one_is_durable_before_the_answer(
    folder: InAFolder, deeds: Deeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no reserve yet, so the segment is made within the commit."""
    folder.fail_syncs(1, monkeypatch)
    folder.log.commit([born("w1")])
    deeds.in_order(("pwrite", segment(3)), ("fdatasync", segment(3)), ("fsync", LOG))


def test_a_segment_that_failed_is_not_written_to_when_the_one_in_its_place_failed_too(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.go_on()
    folder.log.commit([born("w1")])
    folder.fail(1, monkeypatch)
    with pytest.raises(OSError):
        folder.log.commit([then(2, RUNNING)])
    failed = folder.segment(1).read_bytes()
    folder.log.commit([then(2, STARTED)])
    assert folder.segment(1).read_bytes() == failed


def test_nothing_is_shown_beside_an_engine_that_is_not_synced(folder: InAFolder) -> None:
    folder.log.commit([born("w1")])
    folder.log.commit([then(2, RUNNING)])
    first, second = frames.scan(folder.segment(1).read_bytes()).frames[1:]
    heartbeat = Heartbeat(folder.home)
    try:
        for end, lines in ((first.end, 1), (second.end, 3)):
            heartbeat.durable(1, end)
            assert len(overlay.lines(folder.home, engine_lives=True)["w1"]) == lines
    finally:
        heartbeat.close()
    assert len(overlay.lines(folder.home, engine_lives=False)["w1"]) == 3


# --- what is written behind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_journal_is_not_continued_behind_half_a_line(
    folder: InAFolder, monkeypatch: pytest.MonkeyPatch, is_cut: bool
) -> None:
    """The disk takes a part of the lines, and what it took is cut off: at once, or, when that fails, the next time."""
    folder.log.commit([born("w1")])
    folder.store.settle("w1")
    before = folder.journal("w1")
    folder.log.commit([then(2, RUNNING)])
    write, calls = os.write, [0]

    def half(fd: int, data: bytes) -> int:
        calls[0] += 1
        if calls[0] > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        if not is_cut:
            patch.setattr(os, "ftruncate", failing())
        with pytest.raises(OSError):
            folder.store.settle("w1")
    assert (folder.journal("w1") == before) == is_cut
    folder.store.settle("w1")
    assert folder.journal("w1") == before + journal.encode(2, at(2), RUNNING)


def test_a_view_is_never_written_in_place(folder: InAFolder) -> None:
    """Neither the first nor one between: who reads, or a power cut, would find half of it."""
    folder.log.commit([born("w1")])
    views = FileViews(folder.home, folder.files)
    views.write_state("w1", b"one\n" * 1000)
    with open(folder.home.state("w1"), "rb") as reader:
        views.write_state("w1", b"two\n")
        assert reader.read() == b"one\n" * 1000
    assert folder.state("w1") == b"two\n"


def test_the_log_forgets_a_workflow_before_it_goes_into_quarantine(folder: InAFolder, deeds: Deeds) -> None:
    folder.log.commit([born("w1")])
    folder.go_on()
    deeds.clear()
    folder.store.quarantine("w1", "a reason", queue_name(0, at(0), "w1"))
    deeds.in_order(("fdatasync", segment(1)), ("replace", "workflows/w1/queued.json"))
    assert not folder.again().store.exists("w1")


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_syncs_then_drops_then_syncs_the_folder(folder: InAFolder, deeds: Deeds) -> None:
    folder.go_on()
    folder.log.commit([born("w1")])
    folder.log.write_behind(1.0)
    kept = {str(fd) for fd in folder.systems._fds.values()}
    deeds.clear()
    ends: list[BaseException | None] = []
    folder.log.checkpoint(ends.append)
    folder.go_on()
    assert ends == [None]
    (synced,) = {told for call, told in deeds.all if call == "syncfs"}
    assert synced in kept, "a descriptor that is opened late misses errors from before"
    deeds.in_order(("fdatasync", segment(2)), ("syncfs", synced), ("unlink", segment(1)), ("fsync", LOG))
    assert deeds.where("unlink", segment(1)) > deeds.where("syncfs", synced)


def test_every_file_system_is_synced_and_each_may_fail(home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    systems = FileSystems((home.log,))
    systems._fds = {1: os.dup(systems._fds.popitem()[1]), 2: os.open(home.inbox, os.O_RDONLY)}
    fds, asked, bad = list(systems._fds.values()), list[int](), list[int]()

    def syncfs(fd: int) -> int:
        asked.append(fd)
        ctypes.set_errno(errno.EIO if fd in bad else 0)
        return -1 if fd in bad else 0

    monkeypatch.setattr(filesystems._libc, "syncfs", syncfs)
    systems.sync()
    assert asked == fds
    for fd in fds:
        bad[:] = [fd]
        with pytest.raises(OSError) as caught:
            systems.sync()
        assert caught.value.errno == errno.EIO
    assert asked == fds * 3, "all are synced, also when the first one fails"
    systems.close()


def test_after_a_failed_syncfs_all_that_the_log_names_is_durable_in_new_files_before_it_goes(
    folder: InAFolder, deeds: Deeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.go_on()
    folder.log.commit([born("w1")])
    folder.log.write_behind(1.0)
    deeds.clear()
    monkeypatch.setattr(FileSystems, "sync", failing())
    folder.log.checkpoint(lambda error: None)
    folder.go_on()
    dropped = deeds.where("unlink", segment(1))
    replaced = deeds.where("replace", "workflows/w1/journal.jsonl")
    assert any(call == "fsync" and told.startswith(".hybrid/tmp/") for call, told in deeds.all[:replaced])
    for durable in ("workflows/w1", "workflows", "queue", "inbox"):
        assert replaced < deeds.where("fsync", durable) < dropped, durable


# --- a start ----------------------------------------------------------------------------------------------------------


def replayed(folder: InAFolder) -> None:
    folder.kill()
    systems = FileSystems((folder.home.log, folder.home.workflows))
    try:
        replay(folder.home, systems)
    finally:
        systems.close()


def test_what_a_start_trusts_is_durable_before_it_acts_on_it(folder: InAFolder, deeds: Deeds) -> None:
    """The engine may have been killed between a write and its sync: what can be read is not yet on the disk."""
    folder.log.commit([born("w1")])
    deeds.clear()
    replayed(folder)
    trusted = segment(2)
    deeds.in_order(
        ("pwrite", trusted),
        ("fdatasync", trusted),
        ("fsync", LOG),
        ("mkdir", "workflows/w1"),
        ("pwrite", "workflows/w1/journal.jsonl"),
        ("link", f"queue/{queue_name(0, at(0), 'w1')}"),
        next(deed for deed in deeds.all if deed[0] == "syncfs"),
        ("unlink", segment(1)),
        ("unlink", trusted),
        ("fsync", LOG),
    )


def test_a_copy_of_what_cannot_be_read_is_durable_before_its_segment_goes(folder: InAFolder, deeds: Deeds) -> None:
    folder.log.commit([born("w1")])
    folder.log.commit([then(2, RUNNING)])
    last = frames.scan(folder.segment(1).read_bytes()).frames[-1]
    os.truncate(folder.segment(1), last.end - 3)
    deeds.clear()
    replayed(folder)
    copy = f"{LOG}/log-1.torn-1"
    deeds.in_order(("fsync", copy), ("fsync", LOG), ("pwrite", segment(2)), ("unlink", segment(1)))


# --- without an engine ------------------------------------------------------------------------------------------------


def test_one_job_is_durable_with_the_name_of_its_segment_before_it_is_put_in_its_place(
    home: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    TemplateStore(home).freeze(TEMPLATE)
    deeds = Deeds(monkeypatch, home)
    single.commit(home, a_job("w1", TEMPLATE))
    deeds.in_order(("pwrite", segment(1)), ("fdatasync", segment(1)), ("fsync", LOG), ("mkdir", "workflows/w1"))


def test_several_jobs_without_an_engine_are_all_there_when_it_comes(home: Layout) -> None:
    """And when nothing of them reached its place: each segment goes on where the one before it ended."""
    TemplateStore(home).freeze(TEMPLATE)
    for number in range(3):
        single.commit(home, a_job(f"w{number}", TEMPLATE))
    found = segments.read_all(home.log)
    assert [name for _, frame in found.frames for name, _ in frame.lines()] == ["w0", "w1", "w2"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_definition_is_durable_with_its_name_once_it_is_frozen(home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    deeds = Deeds(monkeypatch, home)
    version = a_template(["only"]).version
    TemplateStore(home).freeze(a_template(["only"]))
    replaced = deeds.where("replace", f".hybrid/templates/{version}.json")
    assert any(call == "fsync" and told.startswith(".hybrid/tmp/") for call, told in deeds.all[:replaced])
    assert deeds.where("fsync", ".hybrid/templates") > replaced


def test_a_torn_tail_is_kept_durably_before_it_is_cut_and_the_cut_is_durable(folder: InAFolder, deeds: Deeds) -> None:
    job = a_job("w1", TEMPLATE)
    folder.log.commit([accepted(job)])
    folder.store.settle("w1")
    with open(folder.home.journal("w1"), "ab") as file:
        file.write(b'{"n":2,"at')
    deeds.clear()
    assert folder.store.history("w1") is not None
    deeds.in_order(
        ("fsync", "workflows/w1/journal.torn-1"),
        ("ftruncate", "workflows/w1/journal.jsonl"),
        ("fsync", "workflows/w1/journal.jsonl"),
        ("fsync", "workflows/w1"),
    )


def test_what_goes_into_quarantine_is_out_of_the_queue_first_and_durable_in_its_new_place(
    folder: InAFolder, deeds: Deeds
) -> None:
    name = queue_name(0, at(0), "w1")
    folder.log.commit([born("w1")])
    folder.go_on()
    deeds.clear()
    quarantine.put_aside(folder.home, "w1", "a reason", name)
    aside = ".hybrid/quarantine/w1"
    deeds.in_order(
        ("replace", "workflows/w1/queued.json"), ("fsync", "workflows/w1"), ("fsync", "queue"), ("replace", aside),
        ("fsync", f"{aside}/reason.json"), ("fsync", aside), ("fsync", ".hybrid/quarantine"), ("fsync", "workflows"),
    )  # fmt: skip
