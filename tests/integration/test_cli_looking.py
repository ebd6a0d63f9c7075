"""Looking by the command line: lists and their widths, short ids, logs, waiting; on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commandline import Hybrid, add_story, greeting_home, on_a_terminal, process
from homes import FAILED, STARTED, VERSION, a_workflow, at, freeze

from hybrid_engine.cli import completion, tables, waiting, words
from hybrid_engine.cli.logs import start_of_last
from hybrid_engine.files import heartbeat
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.model import events as e
from hybrid_engine.opening import open_queries
from hybrid_engine.settings import load

LONG = "user-anonymous-20261120T0800{:02}000000Z-{:06x}"
ESCAPE = "\x1b["


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    found = greeting_home(tmp_path, monkeypatch)
    freeze(found, VERSION)
    return found


@pytest.fixture
def hybrid(layout: Layout, capsys: pytest.CaptureFixture[str]) -> Hybrid:
    return Hybrid(capsys)


@pytest.fixture
def story(layout: Layout) -> Layout:
    return add_story(layout)


@pytest.fixture
def crowd(layout: Layout) -> Layout:
    """Six workflows whose names and errors are long."""
    error = {"message": "step one failed: " + "because of a very long story " * 5}
    for number in range(6):
        name = LONG.format(number, 0xABC000 + number)
        a_workflow(layout, name, *FAILED[:-1], e.WorkflowFailed(error), minute=number, template="t" * 64)
    return layout


# --- list


def test_a_list_fits_80_columns_and_its_ids_lead_back(hybrid: Hybrid, crowd: Layout) -> None:
    lines = hybrid("list").out.splitlines()
    assert max(map(len, lines)) <= 80
    short = [line.split()[0] for line in lines[1:]]
    assert short == [f"abc00{number}" for number in range(5, -1, -1)]
    for text in short:
        assert hybrid("show", text, "--json").json["id"].endswith(text)
    assert "…" in lines[1]


def test_a_list_takes_the_width_that_there_is_and_cuts_nothing_when_it_is_wide(
    hybrid: Hybrid, crowd: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    widest = max(map(len, hybrid("list").out.splitlines()))
    assert 80 < widest <= 100
    found = hybrid("list", "--wide").out
    assert LONG.format(5, 0xABC005) in found
    assert "t" * 64 in found
    assert "…" not in found
    assert "2026-11-20T08:05:00Z" in found


def test_columns_and_order_of_a_list_are_chosen(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("list", "--columns", "status,id", "--sort", "status")
    lines = [line.split() for line in found.out.splitlines()]
    assert lines[0] == ["STATUS", "ID"]
    assert [line[0] for line in lines[1:]] == ["completed", "failed", "queued", "running"]
    ids = [row["id"] for row in hybrid("list", "--sort", "-queued", "--json").json_lines]
    assert ids == ["w-done", "w-failed", "w-going", "w-new"]
    assert "did you mean 'status'" in hybrid("list", "--columns", "statsu").err
    assert "one of: queued" in hybrid("list", "--sort", "size").err


def test_a_list_that_leaves_something_out_says_so(hybrid: Hybrid, story: Layout) -> None:
    for more in ([], ["--json"], ["--sort", "id"]):
        found = hybrid("list", "-n", "3", *more)
        assert "only the first 3 are shown" in found.err
        assert len(found.out.splitlines()) == (3 if more == ["--json"] else 4)
    for all_of_them in (["-n", "4"], ["-n", "0"], []):
        found = hybrid("list", "--json", *all_of_them)
        assert (found.err, len(found.json_lines)) == ("", 4)


def test_the_cursor_that_is_told_continues(hybrid: Hybrid, story: Layout) -> None:
    cursor = hybrid("list", "-n", "3").err.split("'")[1]
    assert [row["id"] for row in hybrid("list", "--after", cursor, "--json").json_lines] == ["w-done"]


def test_the_queue_says_when_it_leaves_something_out(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("queue", "-n", "1")
    assert len(found.out.splitlines()) == 2
    assert "--limit 0" in found.err
    assert hybrid("queue", "-n", "0").err == ""


# --- terminals and colors


def test_a_terminal_gets_color_unless_somebody_does_not_want_it(story: Layout) -> None:
    home = story.home
    assert ESCAPE + "32mcompleted" in on_a_terminal("list", home=home)[1]
    for argv, env in ((["list", "--color", "never"], {}), (["list"], {"NO_COLOR": "1"})):
        assert ESCAPE + "3" not in on_a_terminal(*argv, home=home, **env)[1]
    assert ESCAPE not in on_a_terminal("list", home=home, TERM="dumb")[1]
    assert ESCAPE not in process("list", home=home).stdout
    assert ESCAPE + "32mcompleted" in process("--color", "always", "list", home=home).stdout


def test_a_table_wraps_what_is_long_on_a_terminal(story: Layout) -> None:
    printed = on_a_terminal("doctor", home=story.home, columns=60, NO_COLOR="1")[1]
    assert max(map(len, printed.replace(ESCAPE + "1m", "").replace(ESCAPE + "0m", "").splitlines())) <= 60


def test_a_cell_pads_others_only_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    tables.table([{"a": "x" * 200, "b": "c"}, {"a": "y", "b": "c"}], {"a": "a", "b": "b"})
    assert capsys.readouterr().out.splitlines() == ["A  B", "x" * 200 + "  c", "y  c"]


def test_wide_letters_count_twice_and_cutting_never_splits_them() -> None:
    assert tables.columns_of("日本") == 4
    assert tables.columns_of("e\u0301") == 1
    assert tables.shortened("日本語", 5) == "日本…"
    assert tables.shortened("日本語", 6) == "日本語"


def test_an_unknown_choice_of_color_is_refused(hybrid: Hybrid) -> None:
    found = hybrid("--color", "red", "list")
    assert found.code == 2
    assert "auto, always, never" in found.err


# --- moments


@pytest.mark.parametrize(
    ("minutes", "told"), [(0, "0 s ago"), (1.5, "1 min ago"), (119, "1 h ago"), (4320, "3 d ago"), (-5, "in 5 min")]
)
def test_a_moment_is_told_by_its_distance(minutes: float, told: str) -> None:
    assert words.ago(at(0), at(minutes)) == told


# --- show


def test_a_cancelled_workflow_shows_what_was_done_and_who_cancelled_it(hybrid: Hybrid, layout: Layout) -> None:
    asked = e.CancelRequested("ann", "no need")
    a_workflow(layout, "w-gone", *STARTED, asked, e.StepCancelled("one", 1), e.WorkflowCancelled())
    found = hybrid("show", "w-gone").out
    assert "0 of 1 step completed, 1 cancelled" in found
    assert "100 %" not in found
    assert f"{at(0)[:19]}Z by ann: no need" in found
    assert hybrid("why", "w-gone").out == f"cancelled at {at(0)} by ann (no need)\n"


def test_a_running_step_shows_for_how_long(hybrid: Hybrid, story: Layout) -> None:
    line = hybrid("show", "w-going").out.splitlines()[-1]
    assert line.split()[:4] != ["one", "running", "1", "-"]
    assert line.startswith("one")


def test_status_tells_uptime_version_and_running_steps(hybrid: Hybrid, story: Layout) -> None:
    with BriefLock(story) as mine:
        assert mine
        Path(story.home_lock).write_text(json.dumps({"pid": 1, "host": "here", "started_at": at(0), "version": "9.9"}))
        running = [{"workflow": "w-going", "step": "one", "attempt": 2, "since": at(0)}]
        engine = {"slots": 4, "running": running, "pools": {}, "problems": ["space: little"]}
        Path(story.queue_state).write_text(
            json.dumps({"counts": {"running": 1}, "engine": engine})[:-1] + ',\n  "jobs": []}'
        )
        found = hybrid("status")
        assert found.code == 0
        for told in ("uptime:", "version: 9.9", "1 running, 4 slots", "w-going/one: running for", "attempt 2"):
            assert told in found.out
        assert "problem: space: little" in found.out
        assert hybrid("status", "--json").json["version"]


@contextmanager
def seeming_engine(layout: Layout, **head: Any) -> Iterator[None]:
    """Somebody holds the lock and says that he is the engine."""
    with BriefLock(layout) as mine:
        assert mine
        Path(layout.home_lock).write_text(json.dumps({"pid": 1, "host": "here", "started_at": at(0)}))
        Path(layout.queue_state).write_text(json.dumps({"engine": {}, **head})[:-1] + ',\n  "jobs": []}')
        yield


def problems(hybrid: Hybrid) -> list[str]:
    found = hybrid("status", "--json").json["problems"]
    told = hybrid("status").out
    assert all(f"problem: {text}" in told for text in found)
    return list(found)


def test_status_says_that_a_daemon_gives_no_sign_of_life(hybrid: Hybrid, story: Layout) -> None:
    queued = len(os.listdir(story.queue))
    page = heartbeat._PAGE.pack(heartbeat._MAGIC, heartbeat.now() - 60, 0.0, 0.0, 1, 1)
    Path(story.heartbeat).write_bytes(page)
    with seeming_engine(story, counts={"total": queued}):
        (told,) = problems(hybrid)
    assert told.startswith("daemon: the daemon has given no sign of life for 6")
    assert problems(hybrid) == []


@pytest.mark.parametrize(
    ("seconds", "shown", "is_known", "is_late"),
    [(3600, 7, False, True), (1, 7, False, False), (3600, None, False, False), (3600, 7, True, False)],
    ids=["late", "on its way", "of a queue at rest", "of this very queue"],
)
def test_status_says_that_the_view_of_the_queue_is_late(
    hybrid: Hybrid, story: Layout, seconds: float, shown: int | None, is_known: bool, is_late: bool
) -> None:
    queued = len(os.listdir(story.queue))
    assert queued != 7
    os.utime(story.queue, (time.time() - seconds,) * 2)
    mark = os.stat(story.queue).st_mtime_ns if is_known else 5
    with seeming_engine(story, counts={"total": shown or queued}, queue_mtime_ns=mark, updated_at=at(0)):
        late = f"queue-state.json: it is late: it shows 7 jobs as of {at(0)}, and {queued} are in the queue"
        assert problems(hybrid) == [late] * is_late


def test_status_says_that_no_more_files_can_be_made(
    hybrid: Hybrid, story: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    statvfs = os.statvfs

    def full(path: str) -> Any:
        return os.statvfs_result((*statvfs(path)[:5], 1_000_000, 9, 9, *statvfs(path)[8:]))

    monkeypatch.setattr(os, "statvfs", full)
    assert problems(hybrid) == ["disk: only 9 more files can be made on this file system: it has no more inodes"]


@pytest.mark.parametrize("part", ["home", "workflows", "log"])
def test_status_says_which_part_of_the_home_cannot_be_written_to(
    hybrid: Hybrid, story: Layout, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    shut = getattr(story, part)
    monkeypatch.setattr(os, "access", lambda path, mode: path != shut)
    assert problems(hybrid) == [f"home: {shut} cannot be written to"]


# --- logs


@pytest.fixture
def logged(story: Layout) -> Layout:
    for name in ("w-done", "w-going"):
        folder = Path(story.attempt(name, "one", 1))
        folder.mkdir(parents=True)
        (folder / "stdout.log").write_text("".join(f"line {n}\n" for n in range(1, 6)))
        (folder / "stderr.log").write_text("oops\n")
    return story


def test_logs_are_only_the_logs_in_a_pipe_and_have_heads_on_a_terminal(logged: Layout) -> None:
    piped = process("logs", "w-done", home=logged.home).stdout
    assert piped == "line 1\nline 2\nline 3\nline 4\nline 5\noops\n"
    assert "==> one, attempt 1, stderr <==\noops\n" in on_a_terminal("logs", "w-done", home=logged.home)[1]
    assert on_a_terminal("logs", "w-done", "--stream", "stderr", home=logged.home)[1] == "oops\n"


def test_logs_take_the_last_lines_and_the_only_running_workflow(logged: Layout) -> None:
    assert process("logs", "w-done", "--lines", "2", home=logged.home).stdout == "line 4\nline 5\noops\n"
    assert process("logs", "-n", "1", "--stream", "stdout", home=logged.home).stdout == "line 5\n"


def test_logs_without_an_id_name_the_running_workflows_when_there_are_several(hybrid: Hybrid, logged: Layout) -> None:
    a_workflow(logged, "w-other", *STARTED, minute=9)
    found = hybrid("logs")
    assert found.code == 2
    assert "w-going  report" in found.err
    assert "w-other  report" in found.err


def test_logs_without_an_id_and_nothing_running_are_not_found(hybrid: Hybrid, layout: Layout) -> None:
    assert hybrid("logs").code == 4


def test_a_stream_that_is_none_is_refused_with_the_right_names(hybrid: Hybrid, logged: Layout) -> None:
    found = hybrid("logs", "w-done", "--stream", "out")
    assert (found.code, found.out) == (2, "")
    assert "stdout" in found.err
    assert "known: stdout, stderr" in hybrid("logs", "w-done", "--stream", "x").err


@pytest.mark.parametrize(
    ("text", "count", "left"),
    [(b"a\nb\nc\n", 2, b"b\nc\n"), (b"a\nb", 1, b"b"), (b"a\n", 5, b"a\n"), (b"\n\n", 1, b"\n"), (b"", 3, b""),
     (b"x" * 70_000 + b"\nb\n", 2, b"x" * 70_000 + b"\nb\n"), (b"a\n" + b"y" * 70_000, 1, b"y" * 70_000),
     (b"a\nb\n", 0, b"")],
)  # fmt: skip
def test_the_last_lines_are_found_from_the_end(text: bytes, count: int, left: bytes) -> None:
    assert text[start_of_last(io.BytesIO(text), count) :] == left


# --- wait


def test_wait_exits_with_10_for_a_rejected_job_and_12_beats_10(hybrid: Hybrid, story: Layout) -> None:
    Path(story.rejected, "w-bad.json").write_text('{"id":"w-bad","template":"gone"}')
    Path(story.rejected, "w-bad.json.reason.json").write_text('{"reason": "there is no template gone"}')
    assert waiting.wait_for(["w-bad"], 0, False) == 10
    assert waiting.wait_for(["w-failed", "w-going"], 0, False) == 12
    assert waiting.exit_code({"cancelled", "rejected"}) == 10
    assert waiting.exit_code({"cancelled", "completed"}) == 11
    assert waiting.exit_code({"timeout", "failed", "cancelled"}) == 12


def test_wait_ends_with_a_summary(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("wait", "w-done", "w-failed")
    assert found.out.splitlines() == ["w-done completed", "w-failed failed"]
    assert found.err == "2 workflows: 1 completed, 1 failed\n"
    code, printed = on_a_terminal("wait", "w-failed", home=story.home, NO_COLOR="1")
    assert code == 10
    assert "0 of 1 step completed, 1 failed: step one failed" in printed


def test_the_live_line_says_what_is_done_and_what_runs(story: Layout) -> None:
    queries = open_queries(load())
    short = queries.short_ids(["w-going", "w-done"])
    line = waiting.live_line(queries, ["w-going"], short)
    assert line.startswith("1 of 2 ended; w-going running, 0 %, 0 of 1 step, one for ")


# --- completion


class Context:
    def __init__(self, **params: object) -> None:
        self.params = params


def test_completion_offers_what_fits_the_command(story: Layout) -> None:
    nothing = Context()
    assert completion.statuses(nothing, "failed,ca") == ["failed,cancelled"]
    assert completion.params(Context(template="greet"), "t") == [("times=", "integer")]
    assert completion.steps(Context(workflow="w-done"), "o") == [("one", "completed")]
    assert completion.streams(nothing, "stdo") == ["stdout"]
    assert completion.templates(nothing, "") == ["greet"]
    assert [name for name, _ in completion.unfinished(nothing, "")] == ["w-new", "w-going"]
    assert [name for name, _ in completion.finished(nothing, "w-d")] == ["w-done"]
    assert [name for name, _ in completion.can_retry(Context(workflows=[]), "")] == ["w-failed"]
    assert completion.can_retry(Context(workflows=["w-failed"]), "") == []
    assert completion.columns(nothing, "id,sta") == ["id,status", "id,started"]


def test_completion_offers_nothing_rather_than_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_HOME", str(tmp_path / "none"))
    assert completion.any_workflow(Context(), "") == []
    assert completion.params(Context(), "") == []


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("hybrid cancel w", ["w-new", "w-going"]),
        ("hybrid enqueue greet -p t", ["times="]),
        ("hybrid enqueue greet -l a=b --param n", ["name="]),
        ("hybrid logs w-done o", ["one"]),
        ("hybrid list --sort to", ["took"]),
        ("hybrid --color ne", ["never"]),
    ],
)
def test_the_shell_completes_what_a_command_takes(story: Layout, line: str, offers: list[str]) -> None:
    env = {"_HYBRID_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    assert process(home=story.home, **env).stdout.split() == offers


def test_a_large_output_shows_where_it_is_and_how_large(hybrid: Hybrid, layout: Layout) -> None:
    reference = {"path": "steps/one/1/output.json", "bytes": 1_048_000, "sha256": "0" * 64}
    a_workflow(layout, "big", *STARTED, e.StepCompleted("one", 1, None, 0, reference), e.WorkflowCompleted())
    assert "1023.4 KiB in steps/one/1/output.json" in hybrid("show", "big").out
    assert hybrid("show", "big", "--json").json["steps"]["one"]["output_ref"] == reference
