"""Drops that change under the intake's eyes: each file is one job, whatever its writer does and whenever we are killed.

The moments in between are forced: what another program might do just then is done by the test, from inside of a call.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from intaking import SETTLE, Porch, an_intake

from hybrid_engine.files import atomic, birth, claims
from hybrid_engine.files.inbox import FileInbox
from hybrid_engine.files.layout import Layout

ONE = '{"template": "report", "params": {"n": 1}}'
TWO = '{"template": "report", "params": {"n": 2}}'


@pytest.fixture
def porch(home: Layout) -> Iterator[Porch]:
    yield from an_intake(home)


def numbers(porch: Porch) -> list[int]:
    return sorted(job.params["n"] for job in porch.jobs())


def before_claims(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], None]) -> None:
    """Do something just before a file is taken out of the inbox, once."""
    rename, done = atomic.rename, []

    def renaming(source: str, target: str) -> None:
        if os.path.basename(os.path.dirname(target)).endswith("taken") and not done:
            done.append(source)
            act(source)
        rename(source, target)

    monkeypatch.setattr(atomic, "rename", renaming)


# --- what is read is what was identified ----------------------------------------------------------------------------


def test_files_written_in_place_while_the_intake_looks_are_one_job_each(porch: Porch) -> None:
    """The writer opens, writes and closes at any moment of a look, a reading, and a removal."""
    count = 400

    def write() -> None:
        for number in range(count):
            with open(porch.inbox / f"{number:04}.json", "w") as file:
                json.dump({"template": "report", "params": {"n": number, "text": "x" * (number % 7) * 3000}}, file)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        porch.look()
        porch.wait(0.01)
    writer.join(10)
    porch.take()
    assert numbers(porch) == list(range(count))
    assert porch.left() == porch.rejected() == []


def test_what_is_written_between_the_look_and_the_reading_is_read_and_nothing_else(
    porch: Porch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look sees the empty file that `open` made. It gave the content two identities, and two jobs."""
    path = porch.inbox / "a.json"
    path.touch()
    scan = FileInbox.scan

    def scanning(inbox: FileInbox, *arguments: Any) -> Any:
        found = scan(inbox, *arguments)
        if path.exists() and not path.stat().st_size:
            path.write_text(ONE)
        return found

    monkeypatch.setattr(FileInbox, "scan", scanning)
    assert len(porch.take()) == 1
    assert porch.left() == []


@pytest.mark.parametrize("what", ["grows", "is rewritten"])
def test_a_file_that_changes_while_it_is_read_is_read_again(
    porch: Porch, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Where the kernel has no leases, as the whole reading is otherwise out of every writer's reach."""
    monkeypatch.setattr(atomic, "lock_out_writers", lambda fd: None)
    path = porch.inbox / "a.json"
    path.write_text(ONE)
    pread, changed = os.pread, []

    def reading(fd: int, size: int, offset: int) -> bytes:
        data = pread(fd, size, offset)
        is_at_rest = porch.engine.reactor.now >= SETTLE
        if is_at_rest and not changed and os.readlink(f"/proc/self/fd/{fd}") == str(path):
            changed.append(fd)
            path.write_text(ONE + " " if what == "grows" else TWO)
            os.utime(path, ns=(1, 1))
        return data

    monkeypatch.setattr(os, "pread", reading)
    assert len(porch.take()) == 1
    assert numbers(porch) == [1 if what == "grows" else 2]


def test_nobody_can_open_a_file_for_writing_while_it_is_read(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    path = porch.inbox / "a.json"
    path.write_text(ONE)
    pread, refused = os.pread, []

    def reading(fd: int, size: int, offset: int) -> bytes:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except BlockingIOError as error:
            refused.append(error)
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", reading)
    porch.look()
    monkeypatch.undo()
    if atomic.has_writer(os.open(path, os.O_RDONLY)) is None if path.exists() else False:
        pytest.skip("no leases here")
    assert refused
    assert len(porch.take()) == 1


def test_a_copy_that_gets_its_times_after_it_was_read_is_one_job(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    """`shutil.copy2` sets them when the file is complete, closed, and perhaps accepted."""
    (porch.inbox / "a.json").write_text(ONE)
    before_claims(monkeypatch, lambda path: os.utime(path, ns=(10**18, 10**18)))
    assert len(porch.take()) == 1
    assert porch.left() == []


def test_a_copy_that_gets_its_times_after_a_crash_is_one_job(porch: Porch) -> None:
    (porch.inbox / "a.json").write_text(ONE)
    porch.file_inbox.remove = lambda opened: False  # type: ignore[method-assign]
    porch.look()
    assert len(porch.queued()) == 1
    os.utime(porch.inbox / "a.json", ns=(10**18, 10**18))
    porch.restart()
    assert len(porch.take()) == 1
    assert porch.left() == []


def test_a_file_dropped_again_after_its_job_is_another_job_though_all_looks_the_same(porch: Porch) -> None:
    """An inode number is used again, and `cp -p` and `shutil.copy2` give old times."""
    source = porch.home.tmp + "/source"
    Path(source).write_text(ONE)
    for number in range(3):
        shutil.copy2(source, porch.inbox / "a.json")
        porch.slots = 1
        porch.restart()
        porch.take()
        for process in porch.world.running():
            porch.engine.executor.end(process.attempt.key)
        porch.settle()
        assert len(porch.world.processes) == number + 1
    os.unlink(source)


# --- lines that come in pieces --------------------------------------------------------------------------------------


def append(porch: Porch, text: str) -> None:
    with open(porch.inbox / "a.jsonl", "a") as file:
        file.write(text)


def test_lines_appended_in_pieces_are_taken_once_each(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    """More is appended when the first lines are accepted and the file is about to go."""
    append(porch, ONE + "\n")
    before_claims(monkeypatch, lambda path: append(porch, TWO + "\n"))
    assert len(porch.take()) == 2
    assert numbers(porch) == [1, 2]
    assert porch.left() == porch.rejected() == []


@pytest.mark.parametrize("births", ["kept", "not kept"])
def test_the_end_of_a_line_may_come_late(porch: Porch, monkeypatch: pytest.MonkeyPatch, births: str) -> None:
    if births == "not kept":
        monkeypatch.setattr(birth, "birth_ns", lambda fd: None)
    half = len(TWO) // 2
    append(porch, ONE + "\n" + TWO[:half])
    porch.look()
    porch.wait(SETTLE * 1.5)
    assert numbers(porch) == [1]
    assert porch.rejected() == []
    append(porch, TWO[half:] + "\n")
    porch.take()
    assert numbers(porch) == [1, 2]
    assert porch.left() == porch.rejected() == []


def test_lines_appended_after_a_crash_are_new_and_the_others_known(porch: Porch) -> None:
    append(porch, (ONE + "\n") * 3)
    porch.file_inbox.remove = lambda opened: False  # type: ignore[method-assign]
    porch.look()
    porch.wait(SETTLE * 1.5)
    assert len(porch.queued()) == 3
    append(porch, TWO + "\n")
    porch.restart()
    porch.take()
    assert numbers(porch) == [1, 1, 1, 2]
    assert porch.left() == []


def test_a_last_line_that_stays_half_is_put_aside_in_the_end(porch: Porch) -> None:
    append(porch, ONE + "\n" + TWO[:10])
    porch.take()
    assert numbers(porch) == [1]
    assert porch.rejected() == ["a.jsonl"]
    assert Path(porch.home.rejected, "a.jsonl").read_text() == TWO[:10] + "\n"
    assert porch.left() == []


def test_many_pieces_with_a_writer_beside_it_are_one_job_a_line(porch: Porch) -> None:
    count = 300
    ready = threading.Semaphore(0)

    def write() -> None:
        for number in range(count):
            ready.acquire(timeout=10)
            append(porch, json.dumps({"template": "report", "params": {"n": number}}) + "\n")

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(count):
        ready.release()
        porch.look()
        porch.wait(SETTLE * 0.3)
    writer.join(10)
    porch.take()
    assert numbers(porch) == list(range(count))
    assert porch.left() == porch.rejected() == []


# --- successors -----------------------------------------------------------------------------------------------------


def successor(porch: Porch, text: str) -> Callable[[str], None]:
    """Rename another file over the name that is about to be taken."""

    def drop(path: str) -> None:
        other = Path(porch.home.tmp, "successor")
        other.write_text(text)
        os.rename(other, path)

    return drop


def test_a_file_renamed_over_one_that_is_about_to_go_is_not_lost(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    porch.rename("a.json", ONE)
    before_claims(monkeypatch, successor(porch, TWO))
    porch.take()
    assert numbers(porch) == [1, 2]
    assert porch.left() == porch.rejected() == []


@pytest.mark.parametrize("first", ["nonsense", "a link"])
def test_a_file_renamed_over_one_that_is_about_to_be_refused_is_not_refused_unread(
    porch: Porch, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    if first == "nonsense":
        porch.rename("a.json", first)
    else:
        (porch.inbox / "a.json").symlink_to("nowhere")
    before_claims(monkeypatch, successor(porch, ONE))
    porch.take()
    assert numbers(porch) == [1]
    assert porch.left() == porch.rejected() == []


def test_two_successors_in_a_row_are_both_kept(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes when the first has been taken by mistake and is about to be put back."""
    porch.rename("a.json", ONE)
    before_claims(monkeypatch, successor(porch, TWO))
    link = os.link

    def linking(source: str, target: str, **options: Any) -> None:
        if "/taken/" in str(source):
            Path(target).write_text('{"template": "report", "params": {"n": 3}}')
            monkeypatch.setattr(os, "link", link)
        link(source, target, **options)

    monkeypatch.setattr(os, "link", linking)
    porch.take()
    assert numbers(porch) == [1, 2, 3]
    assert porch.left() == porch.rejected() == []


def test_a_change_that_no_time_tells_of_is_seen(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writes within a tick of the file system's clock, of the same length."""
    porch.rename("a.json", ONE)

    def rewrite(path: str) -> None:
        written_at = os.stat(path).st_mtime_ns
        Path(path).write_text(TWO)
        os.utime(path, ns=(written_at, written_at))

    before_claims(monkeypatch, rewrite)
    porch.take()
    assert numbers(porch) == [1, 2]


@pytest.mark.parametrize("when", ["before", "while"])
def test_what_is_written_into_a_file_that_is_about_to_go_is_not_lost(
    porch: Porch, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A writer who opened it before it was taken, and writes when it has no name any more."""
    porch.rename("a.json", ONE)
    files = []

    def write(path: str) -> None:
        files.append(open(path, "r+"))  # noqa: SIM115 - it outlives this call: that is the point
        if when == "before":
            files[0].write(TWO)
            files[0].close()

    before_claims(monkeypatch, write)
    porch.look()
    porch.wait(SETTLE)
    assert numbers(porch) == [1]
    if when == "while":
        assert porch.left() == ["a.json"]
        files[0].write(TWO)
        files[0].close()
    porch.take()
    assert numbers(porch) == [1, 2]
    assert porch.left() == []


# --- kills ----------------------------------------------------------------------------------------------------------


def accepted_and_taken(porch: Porch) -> None:
    """As a kill leaves it that comes between the first and the second step of a removal."""
    porch.rename("a.json", ONE)
    porch.file_inbox.remove = lambda opened: False  # type: ignore[method-assign]
    porch.look()
    assert len(porch.queued()) == 1
    claims.Claims(porch.home.inbox, porch.home.taken, porch.home.taken_nearby).claim("a.json")
    assert porch.left() == []


def test_a_kill_in_the_middle_of_a_removal_makes_no_second_job(porch: Porch) -> None:
    accepted_and_taken(porch)
    porch.restart()
    assert len(porch.take()) == 1
    assert os.listdir(porch.home.taken) == porch.left() == porch.rejected() == []


def test_a_kill_in_the_middle_of_a_removal_and_a_successor(porch: Porch) -> None:
    accepted_and_taken(porch)
    porch.rename("a.json", TWO)
    porch.restart()
    porch.take()
    assert numbers(porch) == [1, 2]
    assert os.listdir(porch.home.taken) == porch.left() == porch.rejected() == []


def test_a_kill_in_the_middle_of_putting_back(porch: Porch) -> None:
    accepted_and_taken(porch)
    os.link(os.path.join(porch.home.taken, "a.json"), porch.inbox / "a.json")
    porch.restart()
    assert len(porch.take()) == 1
    assert os.listdir(porch.home.taken) == porch.left() == porch.rejected() == []


def test_a_kill_before_a_file_is_taken_that_nobody_has_accepted(porch: Porch) -> None:
    porch.rename("a.json", ONE)
    claims.Claims(porch.home.inbox, porch.home.taken, porch.home.taken_nearby).claim("a.json")
    porch.restart()
    assert len(porch.take()) == 1


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_putting_back_overwrites_nothing(porch: Porch, kind: str) -> None:
    path, found = porch.inbox / "a.json", claims.Claims(porch.home.inbox, porch.home.taken, porch.home.taken_nearby)
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        path.write_text(ONE)
    found.claim("a.json")
    path.write_text(TWO)
    assert found.put_back("a.json") == "a.2.json"
    assert path.read_text() == TWO
    assert os.path.lexists(porch.inbox / "a.2.json")
    path.unlink()
    (path.parent / "a.2.json").rmdir() if kind == "folder" else (path.parent / "a.2.json").unlink()


@pytest.mark.parametrize("killed", [False, True])
def test_an_inbox_on_another_file_system_has_its_own_place_for_what_is_taken(
    porch: Porch, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    replace = os.replace

    def refuse(source: str, target: str) -> None:
        if os.path.dirname(target) == porch.home.taken:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    if killed:
        accepted_and_taken(porch)
        assert os.listdir(porch.home.taken_nearby) == ["a.json"]
        porch.restart()
    else:
        porch.rename("a.json", ONE)
        before_claims(monkeypatch, successor(porch, TWO))
    porch.take()
    assert numbers(porch) == ([1] if killed else [1, 2])
    assert os.listdir(porch.home.taken_nearby) == porch.left() == []


def test_a_file_system_without_links_is_no_hindrance(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    found = claims.Claims(porch.home.inbox, porch.home.taken, porch.home.taken_nearby)
    (porch.inbox / "a.json").write_text(ONE)
    found.claim("a.json")
    (porch.inbox / "a.json").write_text(TWO)
    monkeypatch.setattr(os, "link", refuse)
    assert found.put_back("a.json") == "a.2.json"
    monkeypatch.undo()
    porch.take()
    assert numbers(porch) == [1, 2]


def test_a_file_that_cannot_be_deleted_is_known_when_it_is_read_again(
    porch: Porch, monkeypatch: pytest.MonkeyPatch
) -> None:
    porch.rename("a.json", ONE)
    unlink = os.unlink

    def failing(path: str, **options: Any) -> None:
        if os.path.dirname(path) == porch.home.taken and not os.path.exists(porch.inbox / "a.json"):
            raise OSError(5, "Input/output error")
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", failing)
    porch.look()
    porch.wait(3)
    assert porch.left() == ["a.json"]
    monkeypatch.undo()
    assert len(porch.take()) == 1
    assert porch.left() == []
