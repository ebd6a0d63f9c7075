"""A disk that is really full, of bytes or of inodes: the daemon stays up, and goes on when there is room again.

A small tmpfs is mounted for each test, which only root may do; elsewhere these tests are skipped and counted.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hybrid_engine.files.home import init_home
from hybrid_engine.files.layout import Layout
from tests.crash import oracle
from tests.crash.scenario import Plan
from tests.crash.scenario_engine import EngineScenario
from tests.e2e.daemon import Daemon, Gate, until

pytestmark = pytest.mark.crash
STEPS = 30
WORKFLOWS = 3
QUICK = {"HYBRID_MIN_FREE": "0", "HYBRID_RESCAN": "200ms", "HYBRID_SETTLE": "10ms"}
SAY = 'echo "ran $HYBRID_WORKFLOW $HYBRID_STEP $HYBRID_ATTEMPT" >>"$OUTSIDE"'


class SmallDisk:
    """A mounted tmpfs with a home of long chains in it; what the steps do is told in a file outside of it."""

    def __init__(self, mount: Path, outside: Path, gate: Gate) -> None:
        self.mount = mount
        self.outside = outside
        self.gate = gate
        self.home = Layout(str(mount / "home"))
        init_home(self.home, sample=False)
        outside.touch()
        steps = [f"  held:\n    env: {{GATE: '{gate.path}'}}\n    run: |\n      {SAY}\n      {gate.hold}\n"]
        steps += [f"  s{n}:\n    run: |\n      {SAY}\n" for n in range(STEPS)]
        params = "params: {tag: {type: string}}\n"
        Path(self.home.templates, "long.yaml").write_text("steps:\n" + "".join(steps[1:]) + params)
        Path(self.home.templates, "held.yaml").write_text("steps:\n" + "".join(steps) + params)

    def fill(self) -> None:
        """Leave not a byte."""
        with open(self.mount / "ballast", "ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def free(self) -> None:
        (self.mount / "ballast").unlink()

    def ran(self) -> int:
        return len(oracle.outside_lines(str(self.outside)))

    def problems(self) -> list[str]:
        plans = {
            "held": Plan("completed", dict.fromkeys(["held", *(f"s{n}" for n in range(STEPS))], "completed")),
            "long": Plan("completed", {f"s{n}": "completed" for n in range(STEPS)}),
        }
        fold = EngineScenario("").fold
        return list(oracle.after(self.home.home, str(self.outside), plans, fold, []))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], SmallDisk]]:
    mount = tmp_path / "mount"
    mount.mkdir()

    def make(options: str) -> SmallDisk:
        if os.geteuid() != 0:
            pytest.skip("only root may mount a small disk")
        command = ["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(mount)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        return SmallDisk(mount, tmp_path / "outside", Gate(tmp_path))

    yield make
    subprocess.run(["umount", "-l", str(mount)], capture_output=True)


def stays_up(daemon: Daemon, seconds: float) -> bool:
    """Still there after this long? A daemon that gives up gives no other sign of staying than time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert daemon.pid is not None
        try:
            os.kill(daemon.pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True


def go_through(disk: SmallDisk, full: Callable[[], None], room: Callable[[], None]) -> None:
    """Workflows are under way when the disk fails, and finish when it works again, each step having run once."""
    with Daemon(disk.home, OUTSIDE=str(disk.outside), **QUICK) as daemon:
        ids = [daemon.client.enqueue("held", {"tag": "held"})]
        disk.gate.wait()
        ids += [daemon.client.enqueue("long", {"tag": f"long-{n}"}) for n in range(WORKFLOWS)]
        until(lambda: disk.ran() >= 10, "some steps have run")
        full()
        disk.gate.open()
        assert stays_up(daemon, 3.0), "the daemon has given up"
        assert disk.ran() < 1 + (1 + WORKFLOWS) * STEPS, "the disk was not full enough to be in the way"
        room()
        for workflow in ids:
            assert daemon.client.wait(workflow, 60) == "completed", daemon.client.get(workflow)["error"]
        daemon.stop()
    assert not disk.problems()


def test_the_daemon_outlives_a_full_disk_and_goes_on(small_disk: Callable[[str], SmallDisk]) -> None:
    disk = small_disk("size=4m")
    go_through(disk, disk.fill, disk.free)


def test_the_daemon_outlives_a_disk_without_inodes_and_goes_on(small_disk: Callable[[str], SmallDisk]) -> None:
    disk = small_disk("size=64m,nr_inodes=900")

    def use_up() -> None:
        for number in range(1000):
            try:
                (disk.mount / f"straw-{number}").touch()
            except OSError:
                return

    def give_back() -> None:
        for path in disk.mount.glob("straw-*"):
            path.unlink()

    go_through(disk, use_up, give_back)


def test_a_daemon_that_starts_on_a_full_disk_loses_nothing(small_disk: Callable[[str], SmallDisk]) -> None:
    disk = small_disk("size=4m")
    client = Daemon(disk.home).client
    ids = [client.enqueue("long", {"tag": f"long-{n}"}) for n in range(WORKFLOWS)]
    disk.fill()
    started = None
    try:
        started = Daemon(disk.home, OUTSIDE=str(disk.outside), **QUICK).start()
        assert stays_up(started, 1.0)
    except AssertionError as refused:
        assert "Traceback" not in str(refused), "it may refuse to start, with a sentence"
    disk.free()
    with started if started and started.pid else Daemon(disk.home, OUTSIDE=str(disk.outside), **QUICK) as daemon:
        for workflow in ids:
            assert daemon.client.wait(workflow, 60) == "completed"
    assert not disk.problems()
