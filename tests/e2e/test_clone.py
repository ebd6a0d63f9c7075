"""The root of the repository is a home, and so is every clone of it, whatever the umask was when it was made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from daemon import ROOT, Daemon, run

from hybrid_engine.client import Client
from hybrid_engine.files import home as homes
from hybrid_engine.files import queueview
from hybrid_engine.files.layout import Layout

KEPT = ("templates", "functions", "samples", "workflows/.gitkeep", "queue-state.json")
SAMPLE = Path(homes.SAMPLE)


@pytest.fixture
def clone(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """What git keeps of the home in the repository's root, with the rights that a umask leaves."""
    umask = request.param
    path = tmp_path / "clone"
    for kept in KEPT:
        target = path / kept
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / kept).is_dir():
            shutil.copytree(ROOT / kept, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / kept, target)
    for found in (path, *path.rglob("*")):
        found.chmod((0o777 if found.is_dir() else 0o666) & ~umask)
    Path(path, "queue-state.json").write_bytes(EMPTY)
    return path


EMPTY = b"""{
  "counts": {"delayed": 0, "paused": 0, "queued": 0, "retrying": 0, "running": 0, "total": 0, "waiting": 0},
  "engine": null,
  "format": 1,
  "queue_mtime_ns": 0,
  "updated_at": "2026-11-20T00:00:00.000000Z",
  "jobs": []
}
"""

any_umask = pytest.mark.parametrize("clone", [0o022, 0o002, 0o077], indirect=True, ids=oct)


@any_umask
def test_hybrid_start_works_in_a_fresh_clone(clone: Path) -> None:
    with Daemon(str(clone)) as daemon:
        (clone / "inbox" / "job.yaml").write_text("template: data_processing\n")
        workflow = daemon.client.enqueue("test")
        assert daemon.client.wait(workflow, 60) == "completed"
    daemon.run_until_idle()
    assert {row["status"] for row in Client(str(clone)).list()} == {"completed"}
    assert all(not os.stat(clone / name).st_mode & 0o022 for name in ("", "inbox", "queue", "workflows", ".hybrid"))


@any_umask
def test_hybrid_enqueue_works_in_a_fresh_clone(clone: Path) -> None:
    done = run(str(clone), "enqueue", "test")
    assert (done.returncode, done.stderr) == (0, "")
    assert Client(str(clone)).get(done.stdout.strip())["status"] == "queued"


@any_umask
def test_a_folder_that_only_looks_a_little_like_a_home_is_left_alone(clone: Path) -> None:
    (clone / "queue-state.json").write_text('{"jobs": "of another program"}')
    assert run(str(clone), "start", "--until-idle").returncode == 66
    assert not (clone / "inbox").exists()


def test_the_home_in_the_repository_holds_what_hybrid_init_makes() -> None:
    for path in SAMPLE.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert (ROOT / path.relative_to(SAMPLE)).read_bytes() == path.read_bytes()


def test_the_view_in_the_repository_is_a_view() -> None:
    assert queueview.read(Layout(str(ROOT))) is not None
