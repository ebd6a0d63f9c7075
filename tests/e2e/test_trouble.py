"""A daemon in trouble: disks that are full or read-only, homes that are not ours, limits that are reached."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import ROOT, Daemon, environment, run, until

from hybrid_engine.files.home import init_home
from hybrid_engine.files.layout import Layout

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts file systems or becomes another user")

NOTED = 'params: {n: {type: integer, default: 0}}\nsteps:\n  one: {run: "echo $N", env: {N: "${{ params.n }}"}}\n'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    point = tmp_path / "disk"
    point.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(point)], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def a_home(path: Path) -> Layout:
    layout = Layout(str(path))
    init_home(layout, sample=False)
    Path(layout.templates, "noted.yaml").write_text(NOTED)
    return layout


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    path = folder / "filling"
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return path


def problems(home: Layout) -> Any:
    """What the daemon says is wrong, by the shortest way that needs no room: its status."""
    done = run(home.home, "status", "--json")
    return json.dumps(json.loads(done.stdout)) if done.returncode == 0 else None


@root
def test_a_daemon_on_a_full_disk_stays_up_says_so_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    home = a_home(small_disk / "home")
    with Daemon(home) as daemon:
        first = daemon.client.enqueue("noted")
        assert daemon.client.wait(first, 30) == "completed"
        drop = small_disk / "drop"
        drop.write_text('{"template": "noted", "id": "squeezed"}')
        filling = fill(small_disk)
        drop.rename(Path(home.inbox, "job.json"))
        until(lambda: "space" in str(problems(home)) or "disk" in str(problems(home)), "it says so")
        assert run(home.home, "status").returncode == 0
        filling.unlink()
        until(lambda: Path(home.state("squeezed")).exists(), "the job is accepted")
        assert daemon.client.wait("squeezed", 60) == "completed"
        last = daemon.client.enqueue("noted", {"n": 2})
        assert daemon.client.wait(last, 30) == "completed"
        until(lambda: '"problems": []' in str(problems(home)), "all is well again")
        told = [line for line in Path(home.daemon_log).read_text().splitlines() if '"ERROR"' in line]
        assert len(told) < 6, "once per trouble, not once per look"


@root
def test_a_workflow_that_runs_when_the_disk_fills_is_whole_afterwards(small_disk: Path) -> None:
    home = a_home(small_disk / "home")
    script = 'echo > "$HYBRID_HOME/../go.in"; read -r _ < "$HYBRID_HOME/../go.out"; exit 0'
    Path(home.templates, "held.yaml").write_text(f"steps:\n  held: {{run: '{script}'}}\n  after: {{run: 'true'}}\n")
    for name in ("go.in", "go.out"):
        os.mkfifo(small_disk / name)
    with Daemon(home) as daemon:
        workflow = daemon.client.enqueue("held")
        (small_disk / "go.in").read_text()
        filling = fill(small_disk)
        (small_disk / "go.out").write_text("go\n")
        until(lambda: "disk" in str(problems(home)) or "space" in str(problems(home)), "it says so")
        filling.unlink()
        assert daemon.client.wait(workflow, 60) == "completed"
        steps = daemon.client.get(workflow)["steps"]
    assert (steps["held"]["attempt"], steps["after"]["attempt"]) == (1, 1)
    types = [json.loads(line)["type"] for line in Path(home.journal(workflow)).read_text().splitlines()]
    assert types.count("step_completed") == 2


@root
def test_a_home_on_a_read_only_disk_is_refused_by_the_daemon_and_can_be_looked_at(small_disk: Path) -> None:
    home = a_home(small_disk / "home")
    workflow = Daemon(home).client.enqueue("noted")
    Daemon(home).run_until_idle()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        started = run(home.home, "start")
        assert started.returncode == 66
        assert "read-only" in started.stderr
        assert json.loads(run(home.home, "show", workflow, "--json").stdout)["status"] == "completed"
        assert run(home.home, "enqueue", "noted").returncode == 66
        assert run(home.home, "list").returncode == 0
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


@root
def test_a_disk_that_turns_read_only_under_a_daemon_does_not_end_it(small_disk: Path) -> None:
    home = a_home(small_disk / "home")
    with Daemon(home) as daemon:
        assert daemon.client.wait(daemon.client.enqueue("noted"), 30) == "completed"
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=False)
        ready = not os.access(small_disk, os.W_OK)
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
        assert run(home.home, "status").returncode == 0, ready
        assert daemon.client.wait(daemon.client.enqueue("noted"), 30) == "completed"


@pytest.mark.parametrize(("said", "told"), [("3\n", "newer"), ("999", "newer"), ("soon", "format"), ("", "format")])
def test_a_home_of_a_newer_format_is_refused_and_left_as_it_is(home: Layout, said: str, told: str) -> None:
    Path(home.format).write_text(said)
    before = sorted(os.listdir(home.home))
    for command in (["start"], ["enqueue", "noted"]):
        done = run(home.home, *command)
        assert done.returncode in (2, 66), command
        assert told in done.stderr
    assert sorted(os.listdir(home.home)) == before
    Path(home.format).write_text("1\n")


@root
def test_a_home_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    home = a_home(folder / "home")
    os.chmod(home.format, 0o644)
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_mode & 0o005 != 0o005 and str(path).startswith("/tmp/"):
            path.chmod(path.stat().st_mode | 0o055)
    os.chmod(home.home, 0o755)
    for path in home.folders()[1:]:
        os.chmod(path, 0o755)
    if not shutil.which("setpriv"):
        pytest.skip("there is no setpriv here")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    probe = [*nobody, sys.executable, "-c", "import hybrid_engine.cli.app"]
    known = environment(home.home, {"HOME": "/"})
    if subprocess.run(probe, env=known, cwd="/", capture_output=True, check=False).returncode != 0:
        pytest.skip("uid 65534 cannot run this interpreter or read this package: they lie in somebody's own folder")
    for command, code in (("start", 66), ("stop", 3), ("enqueue", 66), ("status", 3)):
        done = subprocess.run(
            [*nobody, sys.executable, "-m", "hybrid_engine.cli.main", command, *(["noted"] * (command == "enqueue"))],
            env=environment(home.home, {"HOME": "/"}), cwd="/", capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode in (code, 66), (command, done.stderr)
        assert "Traceback" not in done.stderr
        assert command != "start" or "belongs to" in done.stderr


@pytest.mark.parametrize("what", ["home", "inbox", "workflows"])
def test_a_home_that_others_can_write_to_is_refused_with_the_command_that_helps(home: Layout, what: str) -> None:
    path = getattr(home, what)
    os.chmod(path, 0o777)
    done = run(home.home, "start")
    os.chmod(path, 0o700)
    assert done.returncode == 66
    assert f"chmod go-w {path}" in done.stderr


@pytest.mark.parametrize("umask", ["000", "077", "777"])
def test_whatever_the_umask_nothing_of_a_home_is_open_to_others(tmp_path: Path, umask: str) -> None:
    home = Layout(str(tmp_path / "home"))
    script = (
        f'umask {umask}; hybrid() {{ {sys.executable} -m hybrid_engine.cli.main "$@"; }}; hybrid init --no-sample . && '
        "printf 'steps: {one: {run: \"echo x\"}}' > templates/noted.yaml; chmod 600 templates/noted.yaml; "
        "hybrid enqueue noted && hybrid start --until-idle"
    )
    os.mkdir(home.home, 0o700)
    done = subprocess.run(
        ["sh", "-c", script], cwd=home.home, env=environment(home.home, {}), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for folder, folders, files in os.walk(home.home):
        for name in files:
            assert os.lstat(os.path.join(folder, name)).st_mode & 0o777 == 0o600, os.path.join(folder, name)
        for name in folders:
            assert os.lstat(os.path.join(folder, name)).st_mode & 0o777 == 0o700, os.path.join(folder, name)


def test_a_daemon_with_few_descriptors_finishes_what_it_is_given(home: Layout) -> None:
    """Many workflows wait for their retries at once; none of them may hold a file open meanwhile."""
    Path(home.templates, "again.yaml").write_text(
        "steps:\n  one: {run: 'test \"$HYBRID_ATTEMPT\" = 2', retry: {attempts: 2, delay: 1s, jitter: false}}\n"
    )
    ids = Daemon(home).client.enqueue_many([{"template": "again"}] * 120)
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_engine.cli.main", "start", "--until-idle"],
        env=environment(home.home, {}), cwd=ROOT, capture_output=True, text=True, timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    client = Daemon(home).client
    assert {client.get(workflow)["status"] for workflow in ids} == {"completed"}


def test_a_poison_job_hurts_nobody_else_and_is_not_told_of_twice(home: Layout) -> None:
    Path(home.templates, "noted.yaml").write_text(NOTED)
    with Daemon(home) as daemon:
        for number, text in enumerate(
            ("nonsense", '{"template": "missing"}', "", "[" * 10_000, '{"template": "noted"}')
        ):
            Path(home.inbox, f"{number}.json").write_text(text)
        until(lambda: len(os.listdir(home.rejected)) == 8, "four are put aside, each with its reason")
        good = os.listdir(home.workflows)
        assert len(good) == 1
        assert daemon.client.wait(good[0], 30) == "completed"
    told = [line for line in Path(home.daemon_log).read_text().splitlines() if "rejected" in line]
    assert len(told) == 4


def test_a_lost_inbox_or_functions_folder_does_not_end_the_daemon(home: Layout) -> None:
    Path(home.templates, "noted.yaml").write_text(NOTED)
    with Daemon(home, HYBRID_RESCAN="200ms") as daemon:
        shutil.rmtree(home.inbox)
        shutil.rmtree(home.functions)
        until(lambda: os.path.isdir(home.inbox), "the inbox is made again")
        assert run(home.home, "status").returncode == 0
        assert daemon.client.wait(daemon.client.enqueue("noted"), 30) == "completed"
