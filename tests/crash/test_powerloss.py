"""The model of a power cut: what it calls legal, checked on operations written by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.crash import powerloss
from tests.crash.diskimages import Image, choices
from tests.crash.disknodes import Entry
from tests.crash.faultlib import BEGUN, CREATED, FOLDER, SYNCED, ZEROED, Operation
from tests.crash.powerloss import Disk

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


def begins(number: int = 1) -> Operation:
    return op("syncfs", "", 0, offset=number, flags=BEGUN)


def ends(number: int = 1, failed: bool = False) -> Operation:
    return op("syncfs", "", 0, offset=number, failed=failed)


def contents(world: str, *operations: Operation) -> set[bytes | None]:
    """What may be found in the file `new`."""
    return {dict(state).get("new") for state in disks(world, *operations)}


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


MADE = [create("new", 3), sync("", 1), sync("new", 3)]


@pytest.mark.parametrize("world", powerloss.WORLDS)
def test_what_was_there_before_a_syncfs_began_is_durable_when_it_has_ended(world: str) -> None:
    before = [create("new", 3), write("new", 3, b"data")]
    assert {None, b"", b"data"} <= contents(world, *before, begins()), "nothing is sure while it goes on"
    assert disks(world, *before, begins(), ends()) == {(("new", b"data"), OLD)}


@pytest.mark.parametrize("world", powerloss.WORLDS)
def test_what_came_while_a_syncfs_went_on_may_be_there_or_not(world: str) -> None:
    meanwhile = [write("new", 3, b"two", 3), create("late", 4)]
    found = disks(world, *MADE, write("new", 3, b"one"), begins(), *meanwhile, ends())
    assert {dict(state)["new"][:3] for state in found} == {b"one"}
    assert {b"one", b"onetwo"} <= {dict(state)["new"] for state in found}
    assert {"late" in dict(state) for state in found} == {True, False}


def test_two_syncs_of_the_file_system_may_go_on_at_once() -> None:
    made = [begins(1), create("new", 3), begins(2), write("new", 3, b"data"), ends(2), ends(1)]
    found = contents("strict", *made)
    assert {b"", b"data"} <= found and None not in found, "its name is durable, its data is not"


@pytest.mark.parametrize("world", powerloss.WORLDS)
def test_data_behind_a_failed_syncfs_is_saved_by_no_later_one(world: str) -> None:
    made = [*MADE, write("new", 3, b"lost"), begins(), ends(failed=True)]
    assert b"" in contents(world, *made, begins(2), ends(2))
    again = [write("new", 3, b"lost"), begins(2), ends(2)]
    assert contents(world, *made, *again) == {b"lost"}, "what is written again is not lost any more"


def test_what_the_kernel_gave_up_is_lost_whatever_later_syncs_say() -> None:
    made = [*MADE, write("new", 3, b"lost"), op("lost", "new", 3), sync("new", 3), begins(), ends()]
    assert b"" in contents("ordered", *made)


def test_a_write_over_durable_bytes_is_torn_at_sectors_and_pages() -> None:
    made = [*MADE, write("new", 3, bytes(8192)), sync("new", 3)]
    over = write("new", 3, b"x" * 5000, 400)
    found = contents("ordered", *made, over)
    first = bytes(400) + b"x" * 112
    assert first + bytes(8192 - 512) in found, "the first sector only"
    assert bytes(512) + b"x" * (5400 - 512) + bytes(8192 - 5400) in found, "all but the first"
    assert bytes(5120) + b"x" * 280 + bytes(8192 - 5400) in found, "the last only"
    assert bytes(4096) + b"x" * (5400 - 4096) + bytes(8192 - 5400) in found, "the second page only"
    assert all(len(state or b"") == 8192 for state in found), "its size was durable"


@pytest.mark.parametrize("world", powerloss.WORLDS)
def test_the_same_bytes_written_over_durable_ones_put_them_at_no_risk(world: str) -> None:
    made = [*MADE, write("new", 3, b"line\n"), sync("new", 3), write("new", 3, b"line\n"), write("new", 3, b"more", 5)]
    assert {state[:5] for state in contents(world, *made) if state is not None} == {b"line\n"}


def test_behind_a_cut_that_is_not_durable_an_append_lies_over_the_old_tail() -> None:
    made = [*MADE, write("new", 3, b"goodtorn!"), sync("new", 3), op("truncate", "new", 3, offset=4)]
    found = contents("strict", *made, write("new", 3, b"new", 4))
    assert {b"goodnewn!", b"goodnew", b"good", b"goodtorn!"} <= found


def test_space_made_of_zeros_in_place_may_be_there_or_not() -> None:
    made = [*MADE, write("new", 3, b"abcd"), sync("new", 3), op("allocate", "new", 3, flags=ZEROED, offset=1, ino2=2)]
    assert contents("ordered", *made) >= {b"abcd", b"a\0\0d"}


def test_what_an_msync_wrote_is_durable() -> None:
    synced = op("msync", "new", 3, data=b"beat", flags=SYNCED)
    assert contents("strict", *MADE, synced) == {b"beat"}
    assert b"" in contents("strict", *MADE, op("msync", "new", 3, data=b"beat"))


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
