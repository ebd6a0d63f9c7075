"""The daemon as a person has it: killed, stopped and started again while a step runs, which goes on and counts once."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon import Daemon, Gate, run

from hybrid_engine.files.layout import Layout

TEMPLATE = """\
steps:
  first:
    run: echo first >> "$HYBRID_HOME/runs"
  held:
    env: {{GATE: "{gate}"}}
    run: |
      echo held >> "$HYBRID_HOME/runs"
      {hold}
      echo answer=42 >> "$HYBRID_OUTPUT"
  last:
    run: echo last >> "$HYBRID_HOME/runs"
"""


@pytest.fixture
def gate(home: Layout, tmp_path: Path) -> Gate:
    found = Gate(tmp_path)
    Path(home.templates, "held.yaml").write_text(TEMPLATE.format(gate=found.path, hold=found.hold))
    return found


def runs(home: Layout) -> list[str]:
    return Path(home.home, "runs").read_text().split()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_running_step_survives_the_end_of_the_daemon_and_its_result_is_taken_over(
    home: Layout, gate: Gate, how: str
) -> None:
    with Daemon(home) as daemon:
        workflow = daemon.client.enqueue("held")
        gate.wait()
        getattr(daemon, how)()
        daemon.start()
        gate.open()
        assert daemon.client.wait(workflow, 30) == "completed"
        record = daemon.client.get(workflow)
    assert record["steps"]["held"]["output"] == {"answer": "42"}
    assert runs(home) == ["first", "held", "last"]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_step_that_ends_while_no_daemon_runs_is_taken_over_too(home: Layout, gate: Gate, how: str) -> None:
    daemon = Daemon(home).start()
    workflow = daemon.client.enqueue("held")
    gate.wait()
    getattr(daemon, how)()
    gate.open()
    daemon.run_until_idle()
    assert daemon.client.get(workflow)["status"] == "completed"
    assert runs(home) == ["first", "held", "last"]


def test_a_second_daemon_is_told_who_holds_the_home(home: Layout) -> None:
    with Daemon(home) as daemon:
        second = run(home.home, "start")
        assert second.returncode == 6
        assert f"pid {daemon.pid}" in second.stderr
        assert run(home.home, "status").returncode == 0
    assert run(home.home, "status").returncode == 3


LARGE = """\
steps:
  shell:
    run: |
      { printf '{"n": 42, "text": "'; head -c 100000 /dev/zero | tr '\\0' x; printf '"}'; } > "$HYBRID_OUTPUT"
  function:
    needs: [shell]
    call: large.double
    with: {text: "${{ steps.shell.output.text }}"}
  last:
    needs: [function]
    env: {N: "${{ steps.shell.output.n }}", LENGTH: "${{ len(steps.function.output) }}"}
    run: echo "seen=$N $LENGTH" >> "$HYBRID_OUTPUT"
"""


def test_large_outputs_of_shell_steps_and_functions_are_in_files_and_used_as_others(home: Layout) -> None:
    Path(home.templates, "large.yaml").write_text(LARGE)
    Path(home.functions, "large.py").write_text(
        "from hybrid_engine import function\n\n@function\ndef double(text: str) -> str:\n    return text * 2\n"
    )
    with Daemon(home) as daemon:
        workflow = daemon.client.enqueue("large")
        assert daemon.client.wait(workflow, 30) == "completed"
        steps = daemon.client.get(workflow)["steps"]
    assert steps["last"]["output"] == {"seen": "42 200000"}
    for step, size in (("shell", 100_018), ("function", 200_002)):
        assert "output" not in steps[step]
        assert steps[step]["output_ref"]["bytes"] == size
        path = Path(home.workflow(workflow), steps[step]["output_ref"]["path"])
        assert path.stat().st_size == size
    assert Path(home.journal(workflow)).stat().st_size < 5_000
