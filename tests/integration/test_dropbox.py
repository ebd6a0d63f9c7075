"""Dropping jobs and signals by the inbox's own protocol."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from hybrid_engine.errors import HomeError, InputError, NotFoundError
from hybrid_engine.files import atomic, dropbox
from hybrid_engine.files.home import init_home
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.ids import is_id


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path / "home"))
    init_home(found, sample=False)
    return found


def temporary_files(layout: Layout) -> list[str]:
    return os.listdir(layout.tmp) + [name for name in os.listdir(layout.inbox) if name.startswith(".")]


def test_stamps_of_one_process_only_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropbox.time, "time_ns", lambda: 1_795_160_160_000_123_000)
    stamps = [dropbox.stamp_now() for _ in range(1000)]
    assert stamps == sorted(set(stamps))
    assert all(len(stamp) == 27 for stamp in stamps)


def test_ids_are_unique_ordered_and_fit_for_a_path() -> None:
    ids = dropbox.new_ids("ann", 5000)
    assert ids == sorted(set(ids))
    assert all(is_id(found) and found.startswith("user-ann-20") for found in ids)


def test_the_same_key_names_the_same_workflow() -> None:
    request = {"template": "test", "key": "nightly-42", "user": "ann"}
    assert dropbox.id_for(request) == dropbox.id_for(dict(request))
    assert dropbox.id_for(request) != dropbox.id_for({**request, "user": "bob"})
    assert dropbox.id_for({"template": "test"}) != dropbox.id_for({"template": "test"})


def test_a_dropped_job_is_one_complete_private_file(layout: Layout) -> None:
    request = {"id": "user-ann-1", "template": "test", "params": {"name": "Zoë \udcff"}}
    path = dropbox.drop(layout, request)
    assert path == os.path.join(layout.inbox, "user-ann-1.json")
    assert json.loads(Path(path).read_bytes())["template"] == "test"
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert temporary_files(layout) == []


def test_many_jobs_are_one_file_and_two_syncs(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (syncs.append(fd), fsync(fd)))
    requests = [{"id": found, "template": "test"} for found in dropbox.new_ids("ann", 500)]
    path = dropbox.drop_many(layout, requests)
    assert path.endswith(".jsonl")
    assert [json.loads(line) for line in Path(path).read_text().splitlines()] == requests
    assert os.listdir(layout.inbox) in (["rejected", os.path.basename(path)], [os.path.basename(path), "rejected"])
    assert len(syncs) == 2


def test_the_content_is_synced_before_the_name_appears(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    dropbox.drop(layout, {"id": "one", "template": "test"})
    assert [os.path.basename(call).split("-")[-1] for call in calls] == ["one.json", "rename", "inbox"]


def test_an_inbox_on_another_file_system_gets_a_hidden_copy_first(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, renamed = os.replace, []

    def refuse(source: str, target: str) -> None:
        if os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        renamed.append(os.path.basename(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    path = dropbox.drop(layout, {"id": "one", "template": "test"})
    assert json.loads(Path(path).read_text())["id"] == "one"
    assert renamed[0].startswith(".")
    assert temporary_files(layout) == []


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "write_all", full)
    with pytest.raises(HomeError, match="No space left"):
        dropbox.drop(layout, {"id": "one", "template": "test"})
    assert os.listdir(layout.inbox) == ["rejected"]
    assert temporary_files(layout) == []


@pytest.mark.parametrize("workflow", ["../x", "", "a/b", ".hidden", "a" * 200, "a\0b"])
def test_an_id_that_is_no_id_never_becomes_a_path(layout: Layout, workflow: str) -> None:
    with pytest.raises(InputError):
        dropbox.drop(layout, {"id": workflow, "template": "test"})
    with pytest.raises(InputError):
        dropbox.send_signal(layout, workflow, "cancel")


def test_a_signal_is_a_file_of_the_workflow_and_a_bell(layout: Layout) -> None:
    os.mkdir(layout.workflow("w1"))
    first = dropbox.send_signal(layout, "w1", "cancel", {"by": "ann"})
    second = dropbox.send_signal(layout, "w1", "cancel")
    assert sorted(os.listdir(layout.signals("w1"))) == sorted([first, second])
    assert first.startswith("cancel.")
    assert json.loads(Path(layout.signals("w1"), first).read_text()) == {"by": "ann"}
    assert os.path.exists(layout.bell("w1"))


def test_a_signal_to_nobody_is_not_found(layout: Layout) -> None:
    with pytest.raises(NotFoundError, match="no workflow w9"):
        dropbox.send_signal(layout, "w9", "cancel")


def test_a_signal_gets_through_when_the_engine_has_just_removed_the_empty_folder(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(layout.workflow("w1"))
    make_folder, times = atomic.make_folder, []

    def make_and_lose(path: str) -> bool:
        new = make_folder(path)
        times.append(path)
        if len(times) == 1:
            os.rmdir(path)
        return new

    monkeypatch.setattr(atomic, "make_folder", make_and_lose)
    monkeypatch.setattr(atomic, "sync_folder", lambda path: None)
    name = dropbox.send_signal(layout, "w1", "pause")
    assert os.listdir(layout.signals("w1")) == [name]
    assert temporary_files(layout) == [".signal-w1"]
