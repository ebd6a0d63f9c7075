"""What somebody removes, replaces or unmounts below a running daemon is that workflow's trouble, told once."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from daemon import Daemon, Gate, run, until

from hybrid_engine.files.layout import Layout

HELD = "steps:\n  first: {{run: {first}}}\n  last: {{run: 'true'}}\n"
OTHER = 'steps:\n  only: {run: "true"}\n'


@pytest.fixture
def gate(home: Layout, tmp_path: Path) -> Gate:
    gate = Gate(tmp_path)
    Path(home.templates, "held.yaml").write_text(HELD.format(first=json.dumps(gate.hold)))
    Path(home.templates, "other.yaml").write_text(OTHER)
    return gate


def told(home: Layout, workflow: str) -> Counter[str]:
    """How often the daemon's log says what of this workflow, at WARNING and above."""
    lines = [json.loads(line) for line in Path(home.daemon_log).read_text().splitlines()]
    return Counter(line["message"] for line in lines if line.get("workflow") == workflow and line["level"] != "INFO")


def goes_on(daemon: Daemon, home: Layout) -> None:
    """Another job is done as if nothing had happened, and nothing is wrong with the disk."""
    other = daemon.client.enqueue("other")
    assert daemon.client.wait(other, timeout=30) == "completed"
    problems = json.loads(run(home.home, "status", "--json").stdout).get("problems") or []
    assert not [problem for problem in problems if str(problem).startswith("disk")]


def test_a_running_workflow_whose_folder_is_removed_is_ended_and_told_once(home: Layout, gate: Gate) -> None:
    with Daemon(home) as daemon:
        workflow = daemon.client.enqueue("held")
        gate.wait()
        shutil.rmtree(home.workflow(workflow))
        gate.open()
        until(lambda: told(home, workflow), "the daemon says that the folder is gone")
        goes_on(daemon, home)
    assert sum(told(home, workflow).values()) == 1, told(home, workflow)
    assert not os.listdir(home.queue)
    Daemon(home).run_until_idle()
    assert not os.path.lexists(home.workflow(workflow)), "it is not brought back"


def test_a_workflow_whose_journal_vanished_is_put_aside_and_never_begun_in_the_middle(home: Layout, gate: Gate) -> None:
    with Daemon(home) as daemon:
        workflow = daemon.client.enqueue("held")
        gate.wait()
        os.unlink(home.journal(workflow))
        gate.open()
        aside = Path(home.quarantine, workflow)
        until(lambda: (aside / "reason.json").exists(), "the workflow is in quarantine")
        goes_on(daemon, home)
    kept = (aside / "log-lines.jsonl").read_text()
    assert '"step_completed"' in kept, "what was committed and had no place is kept"
    assert not os.path.lexists(home.journal(workflow))


@pytest.mark.parametrize("name", ["state.json", "state.json.tmp", "progress.json"])
def test_a_folder_in_the_place_of_a_view_is_no_failing_disk(home: Layout, gate: Gate, name: str) -> None:
    with Daemon(home) as daemon:
        workflow = daemon.client.enqueue("held")
        gate.wait()
        path = Path(home.workflow(workflow), name)
        path.unlink(missing_ok=True)
        path.mkdir()
        goes_on(daemon, home)
        gate.open()
        assert daemon.client.wait(workflow, timeout=30) == "completed"


def test_workflows_that_are_gone_as_a_whole_are_not_replaced_by_an_empty_folder(home: Layout, gate: Gate) -> None:
    with Daemon(home, HYBRID_RESCAN="100ms") as daemon:
        workflow = daemon.client.enqueue("held")
        gate.wait()
        away = home.workflows + ".away"
        os.rename(home.workflows, away)

        def is_told() -> bool:
            return '"workflows: ' in Path(home.queue_state).read_text()

        until(is_told, "the view of the queue says that the folder is gone")
        assert not os.path.lexists(home.workflows)
        os.rename(away, home.workflows)
        gate.open()
        assert daemon.client.wait(workflow, timeout=30) == "completed"
