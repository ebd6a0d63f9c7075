"""Time that passes for some and not for others, and two who want the same home: nothing runs twice, nobody is lost."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from hybrid_engine.files.layout import Layout
from tests.crash import oracle
from tests.e2e.daemon import Daemon, Gate, run, until

pytestmark = pytest.mark.crash
SAY = 'echo "ran $HYBRID_WORKFLOW $HYBRID_STEP $HYBRID_ATTEMPT" >>"$OUTSIDE"'


@pytest.fixture
def outside(tmp_path: Path) -> str:
    path = tmp_path / "outside"
    path.touch()
    return str(path)


@pytest.fixture
def gate(home: Layout, tmp_path: Path) -> Gate:
    found = Gate(tmp_path)
    text = f"""
params: {{tag: {{type: string}}}}
steps:
  first:
    run: |
      {SAY}
  held:
    timeout: 1h
    run: |
      {SAY}
      {found.hold}
  last:
    run: |
      {SAY}
"""
    Path(home.templates, "held.yaml").write_text(text)
    quick = f"params: {{tag: {{type: string}}}}\nsteps:\n  only:\n    run: |\n      {SAY}\n"
    Path(home.templates, "quick.yaml").write_text(quick)
    return found


def runs(outside: str) -> Counter[tuple[str, ...]]:
    return Counter(tuple(line[1:]) for line in oracle.outside_lines(outside))


def test_a_frozen_daemon_thaws_as_if_nothing_had_been(home: Layout, gate: Gate, outside: str) -> None:
    with Daemon(home, OUTSIDE=outside, HYBRID_RESCAN="200ms") as daemon:
        held = daemon.client.enqueue("held", {"tag": "held"})
        gate.wait()
        daemon.freeze()
        gate.open()
        late = [daemon.client.enqueue("quick", {"tag": str(n)}) for n in range(20)]
        lease = Path(home.workflow(held), "steps", "held", "1", "lease")
        until(lambda: "exit 0" in lease.read_text(), "the step ends meanwhile")
        daemon.thaw()
        assert daemon.client.wait(held, 30) == "completed"
        assert [daemon.client.wait(workflow, 30) for workflow in late] == ["completed"] * 20
    assert set(runs(outside).values()) == {1} and len(runs(outside)) == 23


def test_a_frozen_step_is_waited_for_across_a_restart(home: Layout, gate: Gate, outside: str) -> None:
    with Daemon(home, OUTSIDE=outside) as daemon:
        held = daemon.client.enqueue("held", {"tag": "held"})
        gate.wait()
        group = int(Path(home.workflow(held), "steps", "held", "1", "lease").read_text().split()[0])
        os.killpg(group, signal.SIGSTOP)
        daemon.kill()
        daemon.start()
        other = daemon.client.enqueue("quick", {"tag": "other"})
        assert daemon.client.wait(other, 30) == "completed"
        assert daemon.client.get(held)["steps"]["held"]["status"] == "running"
        os.killpg(group, signal.SIGCONT)
        gate.open()
        assert daemon.client.wait(held, 30) == "completed"
    assert set(runs(outside).values()) == {1}


def test_two_daemons_on_one_home_run_every_job_once(home: Layout, gate: Gate, outside: str) -> None:
    with Daemon(home, OUTSIDE=outside) as daemon:
        ids = [daemon.client.enqueue("quick", {"tag": str(n)}) for n in range(50)]
        for _ in range(3):
            second = run(home.home, "start", "--until-idle", OUTSIDE=outside)
            assert second.returncode == 6, second.stderr
        assert [daemon.client.wait(workflow, 30) for workflow in ids] == ["completed"] * 50
    assert set(runs(outside).values()) == {1} and len(runs(outside)) == 50


def test_a_daemon_waits_for_the_lock_of_one_that_is_frozen_and_takes_over_when_it_dies(
    home: Layout, gate: Gate, outside: str
) -> None:
    first = Daemon(home, OUTSIDE=outside).start()
    held = first.client.enqueue("held", {"tag": "held"})
    gate.wait()
    first.freeze()
    assert run(home.home, "start", "--until-idle", OUTSIDE=outside).returncode == 6, "frozen is not dead"
    first.kill()
    gate.open()
    assert Daemon(home, OUTSIDE=outside).run_until_idle()
    assert first.client.get(held)["status"] == "completed"
    assert set(runs(outside).values()) == {1}
