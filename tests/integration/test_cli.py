"""The command line: what it prints, where, and with which exit code; the short way of enqueue; start, status, stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commandline import TEMPLATE, Hybrid, add_story, greeting_home, process
from homes import a_workflow

from hybrid_engine.cli import fast
from hybrid_engine.files import queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.model import events as e

ROOT = Path(__file__).parents[2]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    return greeting_home(tmp_path, monkeypatch)


@pytest.fixture
def hybrid(layout: Layout, capsys: pytest.CaptureFixture[str]) -> Hybrid:
    return Hybrid(capsys)


@pytest.fixture
def story(layout: Layout) -> Layout:
    return add_story(layout)


# --- errors and usage


def test_help_names_every_command(hybrid: Hybrid) -> None:
    found = hybrid("--help")
    assert found.code == 0
    names = """init config prune doctor start status stop enqueue cancel pause resume retry list show why queue wait
        logs tail templates functions"""
    for name in names.split():
        assert f" {name} " in found.out
        assert hybrid(name, "--help").code == 0


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["bogus"], 2, "No such command"),
        (["show"], 2, "Missing argument"),
        (["list", "--limit", "none"], 2, "--limit"),
        (["list", "--status", "runing"], 2, "did you mean 'running'"),
        (["list", "--since", "yesterday-ish"], 2, "neither a duration"),
        (["list", "--after", "x"], 2, "cursor"),
        (["show", "nobody"], 4, "no workflow nobody"),
        (["logs", "nobody"], 4, "no workflow nobody"),
        (["wait", "nobody"], 4, "no workflow nobody"),
        (["cancel", "nobody"], 4, "no workflow nobody"),
        (["enqueue", "gret"], 2, "did you mean 'greet'"),
        (["enqueue", "greet", "-p", "nmae=x"], 2, "did you mean 'name'"),
        (["enqueue", "greet", "-p", "times=0"], 2, "at least 1"),
        (["enqueue", "greet", "-p", "times"], 2, "name=value"),
        (["enqueue", "greet", "--priority", "11"], 2, "from 0 to 9"),
        (["enqueue", "greet", "--delay", "soon"], 2, "not a duration"),
        (["enqueue", "greet", "--at", "noon"], 2, "not a moment"),
        (["enqueue", "greet", "--params-file", "none.yaml"], 2, "none.yaml"),
        (["stop"], 3, "no daemon is running"),
        (["templates", "show", "gret"], 2, "did you mean 'greet'"),
        (["start", "--slots", "0"], 2, "from 1 to 1024"),
    ],
)
def test_what_is_wrong_is_one_message_on_stderr_and_an_exit_code(
    hybrid: Hybrid, argv: list[str], code: int, told: str
) -> None:
    found = hybrid(*argv)
    assert (found.code, found.out) == (code, "")
    assert told in found.err
    assert found.err.startswith("hybrid: ")
    assert "Traceback" not in found.err


def test_what_is_no_home_is_told_by_every_command(hybrid: Hybrid, tmp_path: Path) -> None:
    for argv in (["list"], ["status"], ["enqueue", "greet"], ["stop"], ["templates", "list"], ["doctor"], ["start"]):
        found = hybrid("--home", str(tmp_path / "none"), *argv)
        assert (found.code, found.out) == (66, "")
        assert "hybrid init" in found.err


def test_nonsense_in_the_settings_is_told_with_file_and_line(hybrid: Hybrid, layout: Layout) -> None:
    Path(layout.settings_file).write_text("max_parallel_nodes = 'abc'\n")
    found = hybrid("status")
    assert found.code == 2
    assert f"{layout.settings_file}:1" in found.err


def test_an_error_nobody_thought_of_is_short_and_kept_whole_in_a_file(
    hybrid: Hybrid, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("hybrid_engine.cli.options.settings", fail)
    found = hybrid("config")
    assert found.code == 70
    assert "Traceback" not in found.err
    [report] = Path(layout.logs).glob("hybrid-*.txt")
    assert str(report) in found.err
    assert "surprise" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("command", ["list", "logs w-done", "tail w-done --json"])
def test_a_reader_that_has_seen_enough_is_no_error(story: Layout, command: str) -> None:
    folder = Path(story.attempt("w-done", "one", 1))
    folder.mkdir(parents=True)
    (folder / "stdout.log").write_bytes(b"a line\n" * 100_000)
    argv = [sys.executable, "-m", "hybrid_engine.cli.main", *command.split()]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HYBRID_HOME": story.home}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(60) == 0


@contextmanager
def listening_to_ctrl_c() -> Iterator[None]:
    """What is started here takes SIGINT as from a terminal; where it is ignored (a job in the background), so would
    be what is started, because ignored signals stay ignored across `exec`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_quiet(story: Layout) -> None:
    argv = [sys.executable, "-m", "hybrid_engine.cli.main", "tail", "w-going"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HYBRID_HOME": story.home}
    with listening_to_ctrl_c(), subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        try:
            assert tail.stdout is not None
            tail.stdout.readline()
            tail.send_signal(signal.SIGINT)
            _, err = tail.communicate(timeout=60)
        finally:
            tail.kill()
    assert (tail.returncode, err) == (130, b"")


# --- init and config


def test_init_says_what_it_made_and_how_to_go_on(hybrid: Hybrid, tmp_path: Path) -> None:
    found = hybrid("init", str(tmp_path / "new"))
    assert found.code == 0
    assert "created templates/data_processing.yaml" in found.out
    assert "hybrid start" in found.out
    assert "already" in hybrid("init", str(tmp_path / "new")).out
    assert hybrid("init", str(tmp_path / "json"), "--no-sample", "--json").json["home"] == str(tmp_path / "json")


def test_config_shows_each_value_and_where_it_came_from(hybrid: Hybrid, layout: Layout) -> None:
    Path(layout.env_file).write_text("MAX_PARALLEL_NODES=7\n")
    rows = {row["env"]: row for row in hybrid("config", "--json").json}
    assert (rows["MAX_PARALLEL_NODES"]["value"], rows["MAX_PARALLEL_NODES"]["from"]) == ("7", f"{layout.env_file}:1")
    assert rows["LOG_LEVEL"]["from"] == "default"
    assert "MAX_PARALLEL_NODES" in hybrid("config").out


# --- enqueue, the long way and the short way


def test_enqueue_prints_the_id_alone_and_the_job_is_in_the_queue(hybrid: Hybrid, layout: Layout) -> None:
    found = hybrid("enqueue", "greet", "-p", "name=Zoë", "-p", "times:=2", "--priority", "5", "-l", "team=a")
    assert (found.code, found.err) == (0, "")
    job = queue.read_job(layout.journal(found.out.strip()))
    assert (job.params, job.priority, job.labels, job.trigger) == ({"name": "Zoë", "times": 2}, 5, {"team": "a"}, "cli")
    assert os.listdir(layout.queue) == [queue.name_of(job)]


def test_params_come_from_a_file_and_the_command_line_on_top(hybrid: Hybrid, layout: Layout) -> None:
    Path(layout.home, "params.yaml").write_text("name: file\ntimes: 3\n")
    found = hybrid("enqueue", "greet", "--params-file", "params.yaml", "-p", "name=line", "--json")
    assert found.json["accepted"] is True
    assert queue.read_job(layout.journal(found.json["id"])).params == {"name": "line", "times": 3}


@pytest.mark.parametrize(
    ("name", "content"),
    [("p.yaml", "%YAML 1.3\n---\nname: x"), ("p.yaml", 'name: "\\UFFFFFFFF"'), ("p.json", '{"a":1e9999x}')],
)
def test_params_that_no_parser_can_read_are_one_message(
    hybrid: Hybrid, layout: Layout, name: str, content: str
) -> None:
    Path(layout.home, name).write_text(content)
    found = hybrid("enqueue", "greet", "--params-file", name)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"hybrid: {name}:1:")


def test_templates_that_no_parser_can_read_are_listed_with_their_errors(hybrid: Hybrid, layout: Layout) -> None:
    Path(layout.templates, "a.yaml").write_text("%YAML 1.3\n---\nsteps: 3\n")
    Path(layout.templates, "b.yaml").write_text('description: "\\U80000000"')
    rows = {row["name"]: row for row in hybrid("templates", "list", "--json").json}
    assert "directives are not taken" in rows["a"]["error"]
    assert "is not a character" in rows["b"]["error"]


def test_a_broken_template_is_told_and_its_last_good_version_used(hybrid: Hybrid, layout: Layout) -> None:
    first = hybrid("enqueue", "greet").out.strip()
    Path(layout.templates, "greet.yaml").write_text("name: greet\nsteps: {\n")
    found = hybrid("enqueue", "greet")
    assert found.code == 0
    assert "warning" in found.err
    assert "greet.yaml" in found.err
    jobs = [queue.read_job(layout.journal(name)) for name in (first, found.out.strip())]
    assert jobs[0].version == jobs[1].version


def short(*argv: str) -> int | None:
    return fast.enqueue(list(argv), os.environ)


def test_the_short_way_is_taken_once_the_template_is_known(
    hybrid: Hybrid, layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    assert short("greet") is None
    assert os.listdir(layout.queue) == []
    hybrid("enqueue", "greet")
    assert short("greet", "-p", "times=2", "--label", "a=b", "--key", "k") == 0
    workflow = capsys.readouterr().out.strip()
    job = queue.read_job(layout.journal(workflow))
    assert (job.params, job.labels, job.key) == ({"name": "world", "times": 2}, {"a": "b"}, "k")
    assert short("greet", "--key", "k") == 0
    assert capsys.readouterr().out.strip() == workflow
    assert len(os.listdir(layout.queue)) == 2


def test_the_short_way_leaves_to_the_long_one_what_it_cannot_do(hybrid: Hybrid, layout: Layout) -> None:
    hybrid("enqueue", "greet")
    before = os.listdir(layout.queue)
    assert short("greet", "-p", "times=0") is None
    assert short("greet", "-p", "nmae=x") is None
    assert short("greet", "--delay", "soon") is None
    assert short("greet", "--json") is None
    assert short("other") is None
    Path(layout.settings_file).write_text('user = "ann"\n')
    assert short("greet") is None
    os.unlink(layout.settings_file)
    Path(layout.templates, "greet.yaml").write_text(TEMPLATE.replace("world", "moon"))
    assert short("greet") is None
    assert os.listdir(layout.queue) == before


def test_the_short_way_and_the_long_one_leave_the_same(hybrid: Hybrid, layout: Layout) -> None:
    argv = ["greet", "-p", "name=x", "--priority", "3", "--label", "a=b", "--user", "ann"]
    long = queue.read_job(layout.journal(hybrid("enqueue", *argv).out.strip()))
    done = process("enqueue", *argv, home=layout.home)
    fast_one = queue.read_job(layout.journal(done.stdout.strip()))
    alike = {name: getattr(long, name) for name in ("template", "version", "params", "priority", "labels", "user")}
    assert alike == {name: getattr(fast_one, name) for name in alike}
    assert [job["id"] for job in hybrid("queue", "--json").json] == [long.id, fast_one.id]


def test_the_short_way_imports_nothing_heavy(hybrid: Hybrid, layout: Layout) -> None:
    hybrid("enqueue", "greet")
    script = (
        "import sys, os\nfrom hybrid_engine.cli import fast\n"
        "assert fast.enqueue(['greet', '-p', 'times=2'], os.environ) == 0\n"
        "heavy = {'json', 're', 'typing', 'dataclasses', 'pathlib', 'datetime', 'enum', 'typer', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HYBRID_HOME": layout.home}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "[]"


# --- looking


def test_list_is_plain_and_greppable_and_json_when_asked(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("list")
    lines = found.out.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", "w-new", "w-going", "w-failed", "w-done"]
    assert "step one failed" in lines[3]
    assert "\x1b" not in found.out
    rows = hybrid("list", "--json", "--status", "failed,completed").json_lines
    assert [row["id"] for row in rows] == ["w-failed", "w-done"]
    first = hybrid("list", "-n", "1")
    assert "--after" in first.err
    assert len(first.out.splitlines()) == 2


def test_show_tells_the_story_of_one_workflow(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("show", "w-failed")
    assert "w-failed  failed" in found.out
    assert "step one failed" in found.out
    assert "exit code 1" in found.out
    record = hybrid("show", "w-failed", "--json").json
    assert record == json.loads(Path(story.state("w-failed")).read_text())


def test_why_is_one_line(hybrid: Hybrid, story: Layout) -> None:
    assert len(hybrid("why", "w-new").out.splitlines()) == 1
    assert "hybrid start" in hybrid("why", "w-new", "--json").json["why"]


def test_queue_shows_the_order_of_work(hybrid: Hybrid, story: Layout) -> None:
    assert [job["id"] for job in hybrid("queue", "--json").json] == ["w-going", "w-new"]
    assert [line.split()[0] for line in hybrid("queue").out.splitlines()] == ["PLACE", "1", "2"]


def test_status_without_a_daemon_exits_with_3_and_counts_all_the_same(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("status")
    assert found.code == 3
    assert "no daemon is running" in found.out
    assert "1 queued, 1 running" in found.out
    assert hybrid("status", "--json").json["engine"] is None


def test_status_counts_what_lies_in_the_inbox_and_what_was_rejected(hybrid: Hybrid, story: Layout) -> None:
    Path(story.inbox, "job.yaml").write_text("template: greet")
    Path(story.rejected, "bad.yaml").write_text("x")
    Path(story.rejected, "bad.yaml.reason.json").write_text("{}")
    assert hybrid("status", "--json").json["inbox"] == {"waiting": 1, "rejected": 1}
    assert "1 file not accepted yet" in hybrid("status").out
    assert "1 file (see inbox/rejected/*.reason.json)" in hybrid("status").out


def test_logs_print_what_steps_said_byte_for_byte(story: Layout) -> None:
    folder = Path(story.attempt("w-done", "one", 1))
    folder.mkdir(parents=True)
    (folder / "stdout.log").write_bytes(b"out\xff\n")
    (folder / "stderr.log").write_bytes(b"err\n")
    done = process_bytes("logs", "w-done", home=story.home)
    assert done == b"out\xff\nerr\n"
    assert process_bytes("logs", "w-done", "one", "--stream", "stdout", home=story.home) == b"out\xff\n"


def process_bytes(*argv: str, home: str) -> bytes:
    command = [sys.executable, "-m", "hybrid_engine.cli.main", *argv]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HYBRID_HOME": home}
    return subprocess.run(command, env=env, capture_output=True, check=True, timeout=60).stdout


def test_tail_tells_the_journal_to_people_and_to_programs(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("tail", "w-done")
    assert "workflow completed" in found.out.splitlines()[-1]
    lines = hybrid("tail", "w-done", "--json").out.splitlines()
    assert "\n".join(lines) + "\n" == Path(story.journal("w-done")).read_text()
    assert len(hybrid("tail", "w-going", "--no-follow").out.splitlines()) == 3


def test_wait_exits_with_what_became_of_the_workflows(hybrid: Hybrid, story: Layout) -> None:
    a_workflow(story, "w-gone", e.WorkflowCancelled(), minute=5)
    assert hybrid("wait", "w-done").code == 0
    assert hybrid("wait", "w-done", "w-failed").code == 10
    assert hybrid("wait", "w-done", "w-gone").code == 11
    found = hybrid("wait", "w-done", "w-going", "--timeout", "0")
    assert found.code == 12
    assert found.out.splitlines() == ["w-done completed", "w-going timeout"]
    assert hybrid("wait", "w-gone", "--json").json == [{"id": "w-gone", "status": "cancelled"}]


# --- asking


def test_cancel_leaves_a_signal_and_says_that_no_daemon_runs(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("cancel", "w-going", "--reason", "enough", "--user", "ann")
    assert (found.code, found.out) == (0, "w-going cancel requested\n")
    assert "no daemon is running" in found.err
    [signal] = Path(story.signals("w-going")).iterdir()
    assert json.loads(signal.read_text()) == {"by": "ann", "reason": "enough"}
    assert os.path.exists(story.bell("w-going"))


def test_a_command_that_does_not_fit_is_a_conflict_and_others_are_done_all_the_same(
    hybrid: Hybrid, story: Layout
) -> None:
    assert hybrid("cancel", "w-done").code == 5
    found = hybrid("pause", "w-done", "w-new", "--json")
    assert found.code == 5
    assert found.json[1] == {"id": "w-new", "asked": "pause"}
    assert "already completed" in found.json[0]["error"]


# --- templates and functions


def test_templates_check_tells_place_and_hint_and_exits_with_2(hybrid: Hybrid, layout: Layout) -> None:
    assert hybrid("templates", "check").out == "greet: ok\n"
    Path(layout.templates, "bad.yaml").write_text("name: bad\nsteps:\n  one:\n    rum: echo\n")
    found = hybrid("templates", "check")
    assert found.code == 2
    assert "templates/bad.yaml:4:" in found.out
    assert "greet: ok" in found.out
    assert {row["template"] for row in hybrid("templates", "check", "bad", "--json").json} == {"bad"}


def test_a_call_to_no_function_is_found_by_check(hybrid: Hybrid, layout: Layout) -> None:
    Path(layout.templates, "calls.yaml").write_text("steps:\n  one:\n    call: quality.profil\n")
    Path(layout.functions, "quality.py").write_text(
        "from hybrid_engine import function\n\n@function\ndef profile(path):\n    return {}\n"
    )
    found = hybrid("templates", "check", "calls")
    assert found.code == 2
    assert "quality.profile" in found.out
    assert hybrid("functions", "list", "--json").json[0]["name"] == "quality.profile"
    assert "quality.profile" in hybrid("functions", "list").out


def test_check_of_a_template_fails_only_for_what_it_uses(hybrid: Hybrid, layout: Layout) -> None:
    Path(layout.functions, "broken.py").write_text("def x(:\n")
    Path(layout.functions, "pack").mkdir()
    Path(layout.functions, "pack", "__init__.py").write_text("def y(:\n")
    Path(layout.templates, "calls.yaml").write_text("steps:\n  one: {call: broken.x}\n")
    Path(layout.templates, "deep.yaml").write_text("steps:\n  one: {call: pack.inner.z}\n")
    assert hybrid("templates", "check", "greet").code == 0
    assert "functions/broken.py:1:" in hybrid("templates", "check", "calls").out
    assert "functions/pack/__init__.py:1:" in hybrid("templates", "check", "greet", "deep").out
    assert hybrid("templates", "check").out.count("is not Python") == 2


def test_every_problem_of_a_template_is_told_in_one_pass_one_a_line(hybrid: Hybrid, layout: Layout) -> None:
    Path(layout.templates, "bad.yaml").write_text(
        "params: {n: {type: integer, default: x}}\nsteps:\n  one: {rum: x, retry: 3}\n"
        "  two: {run: 'true', timeout: soon, if: '${{ params.m }}'}\n"
    )
    lines = hybrid("templates", "check", "bad").out.splitlines()
    assert [line.split(": ")[2] for line in lines] == [
        "params.n.default", "steps.one.rum", "steps.one.retry", "steps.two.timeout", "steps.two.if",
    ]  # fmt: skip
    found = hybrid("enqueue", "bad")
    assert found.err.splitlines()[0] == "hybrid: templates/bad.yaml: 5 problems:"
    assert len(found.err.splitlines()) == 6


@pytest.mark.parametrize("value", ["{X: ${{ params.name }}}", "{Y: 1, X: ${{ params.name }}, Z: 2}"])
def test_an_expression_without_quotes_in_a_flow_mapping_is_told_to_be_quoted(
    hybrid: Hybrid, layout: Layout, value: str
) -> None:
    Path(layout.templates, "bare.yaml").write_text(f"params: {{name: {{}}}}\nsteps:\n  one:\n    env: {value}\n")
    found = hybrid("templates", "check", "bare")
    assert found.code == 2
    assert "quote it" in found.out
    assert "bare.yaml:4:" in found.out


def test_templates_are_listed_and_shown(hybrid: Hybrid, layout: Layout) -> None:
    Path(layout.templates, "bad.yaml").write_text("steps: 3\n")
    rows = {row["name"]: row for row in hybrid("templates", "list", "--json").json}
    assert rows["greet"]["error"] is None
    assert "bad.yaml" in rows["bad"]["error"]
    assert "broken" in hybrid("templates", "list").out
    assert "hello" in hybrid("templates", "show", "greet").out
    assert hybrid("templates", "show", "greet", "--json").json["name"] == "greet"


def test_prune_knows_finished_workflows_without_an_index(hybrid: Hybrid, story: Layout) -> None:
    assert not os.path.exists(story.index)
    found = hybrid("prune", "--keep", "1", "--json")
    assert (found.code, found.json["ids"]) == (0, ["w-done"])
    assert not os.path.exists(story.workflow("w-done"))
    assert hybrid("prune", "--max-size", "lots").code == 2
    assert hybrid("prune", "--older-than", "long").code == 2


# --- the daemon


def test_a_lock_held_by_somebody_unknown_is_told_by_stop(hybrid: Hybrid, layout: Layout) -> None:
    with BriefLock(layout):
        Path(layout.home_lock).write_text(json.dumps({"pid": 2**22 + 1, "host": "elsewhere"}))
        found = hybrid("stop")
    assert found.code == 66
    assert "elsewhere" in found.err


@pytest.fixture
def daemon(layout: Layout) -> Iterator[str]:
    started = process("start", "--detach", "--slots", "1", home=layout.home)
    assert started.returncode == 0, started.stderr
    yield layout.home
    process("stop", home=layout.home)


def test_a_daemon_is_started_seen_used_and_stopped(daemon: str, hybrid: Hybrid) -> None:
    found = hybrid("status", "--json")
    assert found.code == 0
    assert found.json["engine"]["slots"] == 1
    second = process("start", home=daemon)
    assert second.returncode == 6
    assert str(found.json["engine"]["pid"]) in second.stderr
    assert "hybrid stop" in second.stderr
    done = hybrid("enqueue", "greet", "-p", "name=you", "--wait", "--timeout", "30")
    assert done.code == 0
    workflow = done.out.strip()
    assert hybrid("show", workflow, "--json").json["status"] == "completed"
    assert "hello you" in process("logs", workflow, home=daemon).stdout
    stopped = process("stop", home=daemon)
    assert (stopped.returncode, stopped.stdout) == (0, "")
    assert hybrid("status").code == 3
    assert hybrid("list", "--status", "completed", "--json").json_lines[0]["id"] == workflow


def test_start_until_idle_does_all_there_is_and_ends(hybrid: Hybrid, layout: Layout) -> None:
    workflow = hybrid("enqueue", "greet").out.strip()
    done = process("start", "--until-idle", home=layout.home)
    assert done.returncode == 0
    assert hybrid("wait", workflow).code == 0
    examined = hybrid("doctor", "--json")
    assert [row for row in examined.json if row["severity"] == "error"] == []
    assert examined.code == 0
    assert hybrid("prune", "--keep", "0", "--dry-run").out.strip() == workflow
    assert hybrid("prune", "--keep", "0", "--json").json["workflows"] == 1
    assert hybrid("list", "--json").json_lines == []
