"""Making homes and refusing unsafe ones."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hybrid_engine.errors import HomeError
from hybrid_engine.files import atomic, home, lock
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import formats


def a_home(path: Path) -> Layout:
    layout = Layout(str(path))
    home.init_home(layout, sample=False)
    return layout


def everything(path: Path) -> dict[str, int]:
    return {str(found.relative_to(path)): found.stat().st_mode & 0o777 for found in path.rglob("*")}


def test_init_makes_all_folders_and_the_sample_and_says_so(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "a" / "home"))
    made = home.init_home(layout)
    assert {"inbox/", "queue/", "workflows/", ".hybrid/format", "templates/data_processing.yaml"} <= set(made)
    assert all(os.path.isdir(folder) for folder in layout.folders())
    assert Path(layout.format).read_text() == "2\n"
    assert home.open_home(layout) == home.warnings(layout)


def test_init_again_makes_nothing(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "home"))
    home.init_home(layout)
    assert home.init_home(layout) == []


def test_init_overwrites_nothing_in_an_existing_folder(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "test.yaml").write_text("mine")
    (tmp_path / "notes.txt").write_text("keep")
    made = home.init_home(Layout(str(tmp_path)))
    assert (tmp_path / "templates" / "test.yaml").read_text() == "mine"
    assert (tmp_path / "notes.txt").read_text() == "keep"
    assert "templates/test.yaml" not in made
    assert "templates/data_processing.yaml" in made


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o177])
def test_rights_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    script = (
        "import os, sys\n"
        "from hybrid_engine.files.layout import Layout\n"
        "from hybrid_engine.files.home import init_home\n"
        f"os.umask({umask})\ninit_home(Layout(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "home")], check=True)
    found = everything(tmp_path)
    assert {mode for name, mode in found.items() if (tmp_path / name).is_dir()} == {0o700}
    assert {mode for name, mode in found.items() if (tmp_path / name).is_file()} == {0o600}


def test_init_takes_the_right_to_write_from_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    a_home(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_folder_outside_of_the_home_is_made_too(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "home"), str(tmp_path / "elsewhere" / "w"), "state/queue.json")
    home.init_home(layout, sample=False)
    assert os.path.isdir(layout.workflows)
    assert os.path.isdir(os.path.dirname(layout.queue_state))


def test_what_is_no_home_is_told_with_the_command_that_helps(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=r"does not exist.*hybrid init"):
        home.open_home(Layout(str(tmp_path / "none")))
    with pytest.raises(HomeError, match=r"is not a home.*hybrid init"):
        home.open_home(Layout(str(tmp_path)))
    layout = a_home(tmp_path)
    os.rmdir(layout.rejected)
    os.rmdir(layout.inbox)
    with pytest.raises(HomeError, match="inbox is missing"):
        home.open_home(layout)


@pytest.mark.parametrize("folder", [".", "inbox", "queue", "workflows", ".hybrid"])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, folder: str) -> None:
    layout = a_home(tmp_path)
    (tmp_path / folder).chmod(0o770)
    with pytest.raises(HomeError, match="chmod go-w"):
        home.open_home(layout)


def test_a_home_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = a_home(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(HomeError, match="belongs to"):
        home.open_home(layout)


def test_a_home_of_format_1_is_opened_and_taken_up_before_its_log_is_written_to(tmp_path: Path) -> None:
    layout = a_home(tmp_path)
    os.rmdir(layout.log)
    Path(layout.format).write_text("1\n")
    assert home.open_home(layout) == home.warnings(layout)
    assert Path(layout.format).read_text() == "1\n", "who only opens it changes nothing"
    for _ in range(2):
        formats.take_up(layout)
        assert Path(layout.format).read_text() == "2\n"
        assert os.listdir(layout.log) == []


def test_killed_while_a_home_is_taken_up_it_is_taken_up_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no point does a home that an older program would open have a log that it would not see."""
    layout = a_home(tmp_path)
    os.rmdir(layout.log)
    Path(layout.format).write_text("1\n")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("make_folder", "sync_folder", "write_atomic"):
        with monkeypatch.context() as patch:
            patch.setattr(atomic, name, die)
            with pytest.raises(KeyboardInterrupt):
                formats.take_up(layout)
        assert Path(layout.format).read_text() == "1\n"
        assert not os.path.exists(layout.log) or os.listdir(layout.log) == []
    formats.take_up(layout)
    assert Path(layout.format).read_text() == "2\n" and os.path.isdir(layout.log)


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    layout = a_home(tmp_path)
    Path(layout.format).write_text("3\n")
    with pytest.raises(HomeError, match="newer hybrid"):
        home.open_home(layout)
    with pytest.raises(HomeError, match="newer hybrid"):
        home.init_home(layout)
    Path(layout.format).write_text("\0\0")
    with pytest.raises(HomeError, match="format number"):
        home.open_home(layout)


def test_a_home_that_cannot_be_written_to_is_refused_unless_one_only_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = a_home(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(HomeError, match="write"):
        home.open_home(layout)
    home.open_home(layout, writable=False)


def test_a_home_in_memory_or_on_a_network_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = a_home(tmp_path)
    for kind, word in (("tmpfs", "memory"), ("overlay", "container"), ("nfs4", "NFS")):
        monkeypatch.setattr(home, "file_system", lambda path, kind=kind: kind)
        assert any(word in warning for warning in home.warnings(layout))
    monkeypatch.setattr(home, "file_system", lambda path: "ext4")
    assert home.warnings(layout) == []


def test_the_kind_of_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    number = os.stat(tmp_path).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 0:1 / / rw - overlay overlay rw\n"
        f"2 1 {device} / {tmp_path} rw,relatime shared:1 - xfs /dev/sdb rw\n"
        "3 1 0:9 / /proc rw - proc proc rw\n"
    )
    assert home.file_system(str(tmp_path), str(table)) == "xfs"
    assert home.file_system("/proc") == "proc"
    assert home.file_system(str(tmp_path), str(tmp_path / "none")) == ""


def test_the_sample_data_is_dirty_and_the_sample_script_cleans_it(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    home.init_home(layout)
    text = (tmp_path / "templates" / "data_processing.yaml").read_text()
    script = text.split("run: |\n")[1].split("\n\n")[0]
    env = {"PATH": os.environ["PATH"], "SOURCE": "samples/orders.csv", "HYBRID_ARTIFACTS": str(tmp_path / "out"),
           "HYBRID_OUTPUT": str(tmp_path / "output")}  # fmt: skip
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, env=env, check=True, capture_output=True, text=True)
    with open(tmp_path / "out" / "clean.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert "kept 104 rows" in done.stdout
    assert len({row["order_id"] for row in rows}) == len(rows) == 104
    assert (tmp_path / "output").read_text() == f"path={tmp_path}/out/clean.csv\n"


def test_any_number_may_look_at_the_lock_at_once_and_none_sees_an_engine_that_is_not_there(tmp_path: Path) -> None:
    layout = a_home(tmp_path / "home")
    with lock.BriefLock(layout):  # the lock files are there, and tell of nobody
        pass
    seen: list[object] = []
    start = threading.Barrier(4)

    def look() -> None:
        start.wait()
        seen.extend(lock.holder(layout) for _ in range(300))

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    for looker in lookers:
        looker.join(timeout=60)
    assert seen == [None] * 1200


def test_a_read_only_look_at_the_lock_tells_who_holds_it(tmp_path: Path) -> None:
    layout = a_home(tmp_path / "home")
    assert lock.holder(layout) is None, "no lock file yet"
    engine = lock.EngineLock(layout)
    engine.acquire({"pid": os.getpid()})
    try:
        assert lock.holder(layout) == {"pid": os.getpid()}
        for path in (layout.home_lock, layout.lock):
            os.chmod(path, 0o400)
        assert lock.holder(layout) == {"pid": os.getpid()}
    finally:
        engine.release()
    assert lock.holder(layout) is None
