"""A day with a real daemon and the real command line: everything that is asked of a workflow, and what it answers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from daemon import Daemon, Gate, run, until

from hybrid_engine.files.layout import Layout

TEMPLATES = {
    "quick": 'params: {n: {type: integer, default: 0}}\nsteps:\n  one: {run: "true"}\n',
    "noted": """\
params: {n: {type: integer, default: 0}}
steps:
  one: {run: 'echo "$N" >> "$HYBRID_HOME/notes"', env: {N: "${{ params.n }}"}}
""",
    "held": """\
params: {gate: {}}
steps:
  held: {run: 'echo > "$GATE.in"; read -r _ < "$GATE.out"; echo opened', env: {GATE: "${{ params.gate }}"}}
  after: {run: "echo after"}
""",
    "failing": """\
steps:
  first: {run: "echo one"}
  second: {run: 'test -e "$HYBRID_HOME/mended" || { echo broken >&2; exit 3; }'}
  third: {run: "true"}
""",
    "fresh": """\
steps:
  source: {run: 'test -e "$HYBRID_HOME/mended"', continue_on_error: true}
  ask: {if: "steps.source.status == 'completed'", run: "true"}
  report: {run: 'test -e "$HYBRID_HOME/mended" && echo new > "$HYBRID_HOME/report" || echo old > "$HYBRID_HOME/report"'}
  broken: {run: 'test -e "$HYBRID_HOME/mended"'}
  last: {run: "true"}
  beside: {needs: [], run: "true"}
""",
    "alone": 'concurrency: door\nsteps:\n  one: {run: "true"}\n',
    "guarded": """\
params: {gate: {}}
concurrency: door
steps:
  held: {run: 'echo > "$GATE.in"; read -r _ < "$GATE.out"', env: {GATE: "${{ params.gate }}"}}
""",
}


@pytest.fixture
def daemon(home: Layout) -> Iterator[Daemon]:
    for name, text in TEMPLATES.items():
        Path(home.templates, f"{name}.yaml").write_text(text)
    with Daemon(home, HYBRID_GRACE="300ms") as daemon:
        yield daemon


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def hybrid(daemon: Daemon, *argv: str, code: int = 0) -> str:
    """One command; its answer."""
    done = run(daemon.home, *argv)
    assert done.returncode == code, (argv, done.stdout, done.stderr)
    return done.stdout.strip() if code == 0 else done.stderr.strip()


def shown(daemon: Daemon, workflow: str) -> dict[str, Any]:
    return dict(json.loads(hybrid(daemon, "show", workflow, "--json")))


def queue_state(daemon: Daemon) -> dict[str, Any]:
    return dict(json.loads(Path(daemon.home, "queue-state.json").read_text()))


def test_a_job_is_asked_for_waited_for_and_looked_at(daemon: Daemon) -> None:
    workflow = hybrid(daemon, "enqueue", "quick", "-p", "n=3", "--label", "night=yes")
    hybrid(daemon, "wait", workflow)
    record = shown(daemon, workflow)
    assert (record["status"], record["params"], record["trigger"]) == ("completed", {"n": 3}, "cli")
    assert workflow[-6:] in hybrid(daemon, "list")
    assert workflow in hybrid(daemon, "list", "--wide")
    listed = json.loads(hybrid(daemon, "list", "--status", "completed", "--label", "night=yes", "--json"))
    assert workflow in json.dumps(listed)
    assert workflow[-6:] not in hybrid(daemon, "list", "--status", "failed")
    assert "completed" in hybrid(daemon, "why", workflow)
    assert queue_state(daemon)["counts"]["total"] == 0


def test_a_dropped_file_is_taken_and_its_output_shown(daemon: Daemon, gate: Gate) -> None:
    Path(daemon.home, "inbox", "job.json").write_text(json.dumps({"template": "held", "params": {"gate": gate.path}}))
    gate.wait()
    (job,) = until(lambda: queue_state(daemon)["jobs"], "the job is shown")
    gate.open()
    hybrid(daemon, "wait", job["id"])
    assert "opened" in hybrid(daemon, "logs", job["id"])
    assert hybrid(daemon, "logs", job["id"], "after").splitlines()[-1] == "after"
    assert not os.listdir(os.path.join(daemon.home, "queue"))


def test_a_rejected_drop_says_why_in_a_file_beside_it(daemon: Daemon) -> None:
    Path(daemon.home, "inbox", "job.json").write_text('{"template": "quikc"}')
    reason = Path(daemon.home, "inbox", "rejected", "job.json.reason.json")
    until(lambda: reason.exists() and Path(daemon.home, "inbox", "rejected", "job.json").exists(), "it is put aside")
    assert "quick" in json.loads(reason.read_text())["hint"]


def test_why_names_what_a_job_waits_for(daemon: Daemon, gate: Gate, tmp_path: Path) -> None:
    holder = hybrid(daemon, "enqueue", "guarded", "-p", f"gate={gate.path}")
    gate.wait()
    waiting = hybrid(daemon, "enqueue", "alone")
    until(lambda: "door" in hybrid(daemon, "why", waiting), "the pool is named")
    assert holder in hybrid(daemon, "why", waiting)
    later = hybrid(daemon, "enqueue", "quick", "--delay", "1h")
    until(lambda: queue_state(daemon)["counts"]["delayed"] == 1, "the delayed job is shown")
    assert "due" in hybrid(daemon, "why", later)
    others = [Gate(tmp_path, f"gate{number}") for number in range(3)]
    for other in others:
        hybrid(daemon, "enqueue", "held", "-p", f"gate={other.path}")
        other.wait()
    last = hybrid(daemon, "enqueue", "quick")
    until(lambda: "slot" in hybrid(daemon, "why", last), "the slots are named")
    for each in (gate, *others):
        each.open()
    hybrid(daemon, "wait", holder, waiting, last)
    hybrid(daemon, "cancel", later)
    hybrid(daemon, "wait", later, code=11)


def test_a_cancelled_workflow_ends_with_its_processes_and_says_so_only_then(daemon: Daemon, gate: Gate) -> None:
    workflow = hybrid(daemon, "enqueue", "held", "-p", f"gate={gate.path}")
    gate.wait()
    hybrid(daemon, "cancel", workflow, "--reason", "no need")
    hybrid(daemon, "wait", workflow, code=11)
    record = shown(daemon, workflow)
    assert {name: step["status"] for name, step in record["steps"].items()} == {
        "held": "cancelled",
        "after": "cancelled",
    }
    held = Path(daemon.home, "workflows", workflow, "steps", "held", "1")
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _uses(pid, held)]
    assert "already cancelled" in hybrid(daemon, "cancel", workflow, code=5)


def _uses(pid: str, folder: Path) -> bool:
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}").startswith(str(folder)) for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def test_a_paused_workflow_goes_on_when_it_is_resumed(daemon: Daemon, gate: Gate) -> None:
    workflow = hybrid(daemon, "enqueue", "held", "-p", f"gate={gate.path}")
    gate.wait()
    hybrid(daemon, "pause", workflow)
    until(lambda: shown(daemon, workflow)["status"] == "paused", "it is paused")
    gate.open()
    until(lambda: shown(daemon, workflow)["steps"]["held"]["status"] == "completed", "what runs goes on")
    assert shown(daemon, workflow)["steps"]["after"]["status"] == "pending"
    assert "paused" in hybrid(daemon, "why", workflow)
    hybrid(daemon, "resume", workflow)
    hybrid(daemon, "wait", workflow)


def test_a_failed_workflow_is_retried_from_where_it_failed(daemon: Daemon) -> None:
    workflow = hybrid(daemon, "enqueue", "failing")
    hybrid(daemon, "wait", workflow, code=10)
    assert "broken" in hybrid(daemon, "why", workflow)
    Path(daemon.home, "mended").touch()
    hybrid(daemon, "retry", workflow)
    hybrid(daemon, "wait", workflow)
    attempts = {name: step["attempt"] for name, step in shown(daemon, workflow)["steps"].items()}
    assert attempts == {"first": 1, "second": 2, "third": 1}


def attempts(daemon: Daemon, workflow: str) -> dict[str, int]:
    return {name: step["attempt"] for name, step in shown(daemon, workflow)["steps"].items()}


def test_a_retry_gives_fresh_results_to_what_is_behind_and_leaves_the_rest_alone(daemon: Daemon) -> None:
    workflow = hybrid(daemon, "enqueue", "fresh")
    hybrid(daemon, "wait", workflow, code=10)
    report = Path(daemon.home, "report")
    assert report.read_text() == "old\n"
    once = {"source": 1, "ask": 0, "report": 1, "broken": 1, "last": 0, "beside": 1}
    assert attempts(daemon, workflow) == once
    Path(daemon.home, "mended").touch()
    plan = json.loads(hybrid(daemon, "retry", workflow, "--dry-run", "--json"))[0]["steps"]
    assert list(plan) == ["source", "ask", "report", "broken", "last"]
    assert attempts(daemon, workflow) == once
    hybrid(daemon, "retry", workflow)
    until(lambda: attempts(daemon, workflow)["source"] == 2, "it has begun again")
    hybrid(daemon, "wait", workflow)
    assert report.read_text() == "new\n"
    twice = {"source": 2, "ask": 1, "report": 2, "broken": 2, "last": 1, "beside": 1}
    assert attempts(daemon, workflow) == twice


def test_a_completed_workflow_runs_again_from_the_step_that_is_named(daemon: Daemon) -> None:
    workflow = hybrid(daemon, "enqueue", "failing")
    Path(daemon.home, "mended").touch()
    hybrid(daemon, "wait", workflow)
    hybrid(daemon, "retry", workflow, code=5)
    hybrid(daemon, "retry", workflow, "--from", "second")
    until(lambda: attempts(daemon, workflow)["third"] == 2, "the last step has begun again")
    hybrid(daemon, "wait", workflow)
    assert attempts(daemon, workflow) == {"first": 1, "second": 2, "third": 2}
    hybrid(daemon, "retry", workflow, "--step", "third")
    until(lambda: attempts(daemon, workflow)["third"] == 3, "it has begun once more")
    hybrid(daemon, "wait", workflow)
    assert attempts(daemon, workflow) == {"first": 1, "second": 2, "third": 3}


def test_what_does_not_exist_is_not_found(daemon: Daemon) -> None:
    for command in ("show", "why", "logs", "cancel", "wait"):
        hybrid(daemon, command, "user-nobody-x", code=4)
    assert "quick" in hybrid(daemon, "enqueue", "quikc", code=2)
    hybrid(daemon, "enqueue", "quick", "-p", "n=x", code=2)


def test_a_key_gives_the_same_workflow_also_after_it_has_finished(daemon: Daemon) -> None:
    first = hybrid(daemon, "enqueue", "noted", "--key", "nightly-42")
    hybrid(daemon, "wait", first)
    assert hybrid(daemon, "enqueue", "noted", "--key", "nightly-42", "-p", "n=7") == first
    hybrid(daemon, "wait", first)
    assert Path(daemon.home, "notes").read_text() == "0\n"


def test_an_edited_template_is_seen_without_a_restart_and_a_broken_edit_changes_nothing(daemon: Daemon) -> None:
    path = Path(daemon.home, "templates", "quick.yaml")
    edits = (TEMPLATES["quick"].replace("true", "exit 7"), "nonsense: [", TEMPLATES["quick"])
    for number, (text, code) in enumerate(zip(edits, (10, 10, 0))):
        path.write_text(text)
        name = f"edit-{number}"
        Path(daemon.home, "inbox", f"{name}.json").write_text(f'{{"template": "quick", "id": "{name}"}}')
        until(lambda number=number: Path(daemon.home, "workflows", f"edit-{number}").exists(), "it is accepted")
        hybrid(daemon, "wait", f"edit-{number}", code=code)


# --- starting, stopping, being killed -------------------------------------------------------------------------------


def test_status_and_stop_tell_by_their_exit_code(home: Layout) -> None:
    assert run(home.home, "status").returncode == 3
    assert run(home.home, "stop").returncode == 3
    daemon = Daemon(home).start()
    assert run(home.home, "status").returncode == 0
    assert json.loads(run(home.home, "status", "--json").stdout)
    second = run(home.home, "start", "--until-idle")
    assert second.returncode == 6
    assert str(daemon.pid) in second.stderr
    assert run(home.home, "stop").returncode == 0
    daemon.wait()
    assert run(home.home, "status").returncode == 3


def test_what_was_dropped_while_no_daemon_ran_is_done_by_the_next(home: Layout) -> None:
    Path(home.templates, "noted.yaml").write_text(TEMPLATES["noted"])
    for number in range(200):
        Path(home.inbox, f"{number}.json").write_text(json.dumps({"template": "noted", "params": {"n": number}}))
    enqueued = run(home.home, "enqueue", "noted", "-p", "n=200").stdout.strip()
    shown = json.loads(Path(home.queue_state).read_text())
    assert [job["id"] for job in shown["jobs"]] == [enqueued], "enqueue shows its job at once, daemon or not"
    Daemon(home).run_until_idle()
    assert sorted(map(int, Path(home.home, "notes").read_text().split())) == list(range(201))
    assert not os.listdir(home.queue)
    assert os.listdir(home.inbox) == ["rejected"]


def test_a_daemon_killed_in_the_middle_repeats_nothing_that_was_committed(home: Layout) -> None:
    step = 'echo "$HYBRID_WORKFLOW/$HYBRID_STEP" >> "$HYBRID_HOME/notes"'
    steps = "".join(f"  s{n}: {{run: '{step}'}}\n" for n in range(4))
    Path(home.templates, "steps.yaml").write_text(f"steps:\n{steps}")
    requests = "".join('{"template": "steps"}\n' for _ in range(40))
    Path(home.tmp, "jobs").write_text(requests)
    os.rename(os.path.join(home.tmp, "jobs"), os.path.join(home.inbox, "jobs.jsonl"))
    kills = 3
    for number in range(1, kills + 1):
        daemon = Daemon(home).start()
        until(lambda number=number: len(notes(home)) >= number * 30, "some work is done")
        daemon.kill()
    Daemon(home).run_until_idle()
    done = notes(home)
    assert len(set(done)) == 160, "nothing is lost"
    assert len(done) - 160 <= kills * 4, "twice at most what was under way at a kill"
    for workflow in os.listdir(home.workflows):
        assert json.loads(Path(home.state(workflow)).read_text())["status"] == "completed"


def notes(home: Layout) -> list[str]:
    try:
        return Path(home.home, "notes").read_text().split()
    except FileNotFoundError:
        return []


def test_a_step_does_not_see_the_control_c_of_its_daemon(home: Layout, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    Path(home.templates, "held.yaml").write_text(TEMPLATES["held"])
    daemon = Daemon(home).start()
    workflow = daemon.client.enqueue("held", {"gate": gate.path})
    gate.wait()
    assert daemon.pid is not None
    os.killpg(os.getpgid(daemon.pid), signal.SIGINT)
    daemon.wait()
    gate.open()
    daemon.run_until_idle()
    assert daemon.client.get(workflow)["steps"]["held"]["attempt"] == 1
    assert daemon.client.get(workflow)["status"] == "completed"


def test_a_frozen_daemon_goes_on_as_if_nothing_had_been(home: Layout, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    Path(home.templates, "held.yaml").write_text(TEMPLATES["held"])
    with Daemon(home) as daemon:
        workflow = daemon.client.enqueue("held", {"gate": gate.path})
        gate.wait()
        daemon.freeze()
        gate.open()
        log = Path(home.attempt(workflow, "held", 1), "stdout.log")
        until(lambda: log.read_text() == "opened\n", "the step ends meanwhile")
        second = run(home.home, "start")
        assert second.returncode == 6
        daemon.thaw()
        assert daemon.client.wait(workflow, 30) == "completed"
    assert daemon.client.get(workflow)["steps"]["held"]["attempt"] == 1


# --- order and limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 3])
def test_no_more_attempts_run_at_once_than_there_are_slots(home: Layout, slots: int) -> None:
    Path(home.templates, "crowd.yaml").write_text(
        "steps:\n"
        + "".join(
            f"  s{n}: {{needs: [], run: 'cd \"$HYBRID_HOME\"; echo in >> notes; sleep 0.02; echo out >> notes'}}\n"
            for n in range(5)
        )
    )
    client = Daemon(home).client
    client.enqueue_many([{"template": "crowd"}] * 4)
    Daemon(home, MAX_PARALLEL_NODES=str(slots)).run_until_idle()
    inside, most = 0, 0
    for word in notes(home):
        inside += 1 if word == "in" else -1
        most = max(most, inside)
    assert (inside, most) == (0, slots)


def test_jobs_run_by_priority_then_due_time_then_arrival(home: Layout) -> None:
    Path(home.templates, "noted.yaml").write_text(TEMPLATES["noted"])
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    client = Daemon(home).client
    client.enqueue("noted", {"n": 1})
    client.enqueue("noted", {"n": 2}, priority=1)
    client.enqueue("noted", {"n": 3}, priority=9)
    client.enqueue("noted", {"n": 4}, priority=1)
    client.enqueue("noted", {"n": 5})
    client.enqueue("noted", {"n": 6}, priority=9, at=soon + timedelta(seconds=2))
    client.enqueue("noted", {"n": 7}, delay="2s")
    Daemon(home).run_until_idle("--slots", "1")
    assert notes(home) == ["3", "2", "4", "1", "5", "7", "6"] or notes(home) == ["3", "2", "4", "1", "5", "6", "7"]


def test_a_delayed_job_starts_at_its_time_and_not_before(home: Layout) -> None:
    Path(home.templates, "noted.yaml").write_text(TEMPLATES["noted"])
    with Daemon(home) as daemon:
        workflow = daemon.client.enqueue("noted", delay="1s")
        assert daemon.client.wait(workflow, 30) == "completed"
        record = daemon.client.get(workflow)
        assert record["started_at"] >= record["due_at"]


# --- functions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_running_function_survives_the_end_of_the_daemon_too(home: Layout, tmp_path: Path, how: str) -> None:
    gate = Gate(tmp_path)
    Path(home.functions, "tools.py").write_text(
        "from hybrid_engine import function\n"
        "@function\ndef hold(gate):\n"
        "    open(gate + '.in', 'w').write('here\\n')\n    open(gate + '.out').read()\n    return {'answer': 42}\n"
    )
    Path(home.templates, "call.yaml").write_text(
        "params: {gate: {}}\nsteps:\n  held: {call: tools.hold, with: {gate: '${{ params.gate }}'}}\n"
    )
    daemon = Daemon(home).start()
    workflow = daemon.client.enqueue("call", {"gate": gate.path})
    gate.wait()
    getattr(daemon, how)()
    with daemon.start():
        gate.open()
        assert daemon.client.wait(workflow, 30) == "completed"
        step = daemon.client.get(workflow)["steps"]["held"]
    assert (step["attempt"], step["output"]) == (1, {"answer": 42})
