"""The model of a power cut: what it calls legal, checked on operations written by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.crash import powerloss
from tests.crash.diskimages import Image, choices
from tests.crash.faultlib import CREATED, FOLDER, Operation
from tests.crash.powerloss import Disk, Entry

BASE = [Entry("", 1, 0o700, 0, None), Entry("old", 2, 0o600, 0, b"before")]
States = set[tuple[tuple[str, bytes], ...]]


def op(name: str, path: str, ino: int, **more: object) -> Operation:
    fields = {
        "flags": 0,
        "pid": 1,
        "failed": False,
        "ino2": 0,
        "offset": 0,
        "watched": 0,
        "when": 0,
        "path2": "",
        "data": b"",
    }
    return Operation(op=name, path=path, ino=ino, **{**fields, **more})  # type: ignore[arg-type]


def create(path: str, ino: int) -> Operation:
    return op("open", path, ino, flags=CREATED)


def write(path: str, ino: int, data: bytes, offset: int = 0) -> Operation:
    return op("write", path, ino, data=data, offset=offset)


def sync(path: str, ino: int, failed: bool = False) -> Operation:
    return op("fsync", path, ino, failed=failed, flags=0 if path else FOLDER)


def disks(world: str, *operations: Operation) -> States:
    """All states that may be found when the power goes after these operations."""
    disk = Disk(BASE, world)
    for operation in operations:
        disk.apply(operation)
    found = set()
    for _, choice in choices(disk, 40, "1"):
        image = Image(disk, choice)
        found.add(tuple(sorted((path, image.bytes[node.number]) for path, node in image.files.items())))
    return found


OLD = ("old", b"before")
REPLACE = [create("new", 3), write("new", 3, b"after"), sync("new", 3), op("rename", "new", 3, path2="old", ino2=2)]


@pytest.mark.parametrize("world", powerloss.WORLDS)
def test_a_proper_replacement_leaves_the_old_or_the_new_content_and_nothing_else(world: str) -> None:
    found = {dict(state)["old"] for state in disks(world, *REPLACE)}
    assert found == {b"before", b"after"}
    assert disks(world, *REPLACE, sync("", 1)) == {(("old", b"after"),)}


@pytest.mark.parametrize("world", powerloss.WORLDS)
def test_without_a_sync_of_the_file_its_name_may_arrive_before_its_data(world: str) -> None:
    unsynced = [step for step in REPLACE if step.op != "fsync"]
    assert (("old", b""),) in disks(world, *unsynced, sync("", 1))


def test_in_the_strict_world_a_synced_file_may_lack_its_name_and_in_the_ordered_one_not() -> None:
    made = [create("new", 3), write("new", 3, b"data"), sync("new", 3)]
    assert (OLD,) in disks("strict", *made)
    assert disks("ordered", *made) == {(("new", b"data"), OLD)}


def test_a_synced_folder_may_itself_be_missing_in_the_strict_world() -> None:
    made = [op("mkdir", "d", 3, flags=FOLDER), create("d/f", 4), sync("d/f", 4), op("fsync", "d", 3, flags=FOLDER)]
    assert (OLD,) in disks("strict", *made)
    assert disks("strict", *made, sync("", 1)) == {(("d/f", b""), OLD)}


def test_unsynced_data_may_be_there_absent_torn_or_zeroed() -> None:
    made = [create("new", 3), sync("", 1), sync("new", 3), write("new", 3, b"abcd")]
    found = {dict(state)["new"] for state in disks("strict", *made)}
    assert {b"", b"ab", b"abcd", bytes(4)} <= found
    assert bytes(4) not in {dict(state)["new"] for state in disks("ordered", *made)}


def test_writes_may_arrive_out_of_order_in_the_strict_world() -> None:
    made = [create("new", 3), sync("", 1), write("new", 3, b"one"), write("new", 3, b"two", 3)]
    assert b"\0\0\0two" in {dict(state)["new"] for state in disks("strict", *made)}


def test_changes_of_one_name_keep_their_order_and_of_two_names_need_not() -> None:
    made = [create("a", 3), create("b", 4), op("unlink", "a", 3)]
    found = {tuple(sorted({"a", "b"} & set(dict(state)))) for state in disks("strict", *made)}
    assert found == {(), ("a",), ("b",), ("a", "b")}
    ordered = {tuple(sorted({"a", "b"} & set(dict(state)))) for state in disks("ordered", *made)}
    assert ordered == {(), ("a",), ("a", "b"), ("b",)}


def test_in_the_ordered_world_a_later_name_never_comes_without_an_earlier_one() -> None:
    made = [create(name, number) for number, name in enumerate("abc", 3)]
    found = {"".join(sorted(set(dict(state)) - {"old"})) for state in disks("ordered", *made)}
    assert found == {"", "a", "ab", "abc"}


def test_a_rename_happens_whole_or_not_at_all_within_a_folder() -> None:
    found = disks("strict", op("rename", "old", 2, path2="new", ino2=0))
    assert found == {(OLD,), (("new", b"before"),)}


def test_data_behind_a_failed_sync_is_not_saved_by_the_next_one() -> None:
    made = [create("new", 3), sync("", 1), write("new", 3, b"lost"), sync("new", 3, failed=True), sync("new", 3)]
    assert b"" in {dict(state)["new"] for state in disks("ordered", *made)}


def test_two_names_of_one_file_share_its_data() -> None:
    made = [op("link", "second", 2), sync("", 1), write("old", 2, b"change"), sync("old", 2)]
    assert disks("strict", *made) == {(("old", b"change"), ("second", b"change"))}


def test_an_inode_number_given_to_another_file_is_not_taken_for_the_first() -> None:
    made = [op("unlink", "old", 2), create("new", 2), write("new", 2, b"fresh"), sync("new", 2), sync("", 1)]
    assert disks("strict", *made) == {(("new", b"fresh"),)}


def test_a_built_disk_has_the_bytes_links_and_times_of_its_image(tmp_path: Path) -> None:
    made = [op("link", "second", 2), write("old", 2, b"change"), sync("old", 2), sync("", 1)]
    disk = Disk(BASE, "strict")
    for operation in made:
        disk.apply(operation)
    (_, choice), *_ = itertools.islice(choices(disk, 0, "1"), 1)
    numbers = Image(disk, choice).write(str(tmp_path / "home"))
    first, second = tmp_path / "home" / "old", tmp_path / "home" / "second"
    assert first.read_bytes() == b"change" and first.samefile(second)
    assert numbers == first.stat().st_ino.to_bytes(8, "little") + (2).to_bytes(8, "little")
