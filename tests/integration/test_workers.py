"""Function steps: what a function may do to its worker, and that it costs nobody but its own attempt anything."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executing import Bench, eventually, lives, pid_in

from hybrid_engine.execution import calls, leases, processes, worker_channel
from hybrid_engine.execution.worker_channel import Worker
from hybrid_engine.execution.worker_pool import WorkerPool
from hybrid_engine.files.layout import Layout

HEAD = """import asyncio, os, shutil, signal, subprocess, sys, threading, time
from hybrid_engine import context, function
"""


PYTHON = sys.executable


@pytest.fixture
def bench(home: Layout) -> Iterator[Bench]:
    processes.become_subreaper()
    processes.keep_descriptors()
    bench = Bench(home)
    yield bench
    bench.close()


def write(bench: Bench, code: str, module: str = "tools") -> Path:
    path = Path(bench.home.functions, f"{module}.py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEAD + textwrap.dedent(code))
    return path


def write_body(bench: Bench, body: str) -> None:
    """A function `tools.work` with this body."""
    write(bench, "@function\ndef work(**given):\n" + textwrap.indent(textwrap.dedent(body), "    "))


# --- what comes back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ("pass", None),
        ("return 42", 42),
        ("return {'rows': [1, 2.5, None, True], 'a': {'Ünï': {}}}", {"rows": [1, 2.5, None, True], "a": {"Ünï": {}}}),
        ("return (1, 2)", [1, 2]),
        ("return given", {"x": 1, "y": "a'b\"c\n$(id)"}),
        ("return 'x' * 900_000", "x" * 900_000),
        ("return 2**53 + 1", 2**53 + 1),
    ],
)  # fmt: skip
def test_what_a_function_returns_is_the_output(bench: Bench, body: str, output: object) -> None:
    write_body(bench, body)
    outcome = bench.call("tools.work", **({"x": 1, "y": "a'b\"c\n$(id)"} if body == "return given" else {}))
    assert (outcome.kind, outcome.output) == ("completed", output)


def test_an_async_function_is_awaited(bench: Bench) -> None:
    write(bench, "@function\nasync def work(n):\n    await asyncio.sleep(0)\n    return n + 1\n")
    assert bench.call("tools.work", n=1).output == 2
    assert bench.call("tools.work", n=2).output == 3


@pytest.mark.parametrize(
    "body",
    [
        "return object()", "return {1, 2}", "return float('nan')", "return float('inf')", "return {'a': b'x'}",
        "return {(1, 2): 3}", "return {'a': [{1: 2, '1': 3}]}",
        "return {True: 2, 'true': 3}", "return 'x' * 2_000_000", "return '\\ud800'", "return (n for n in range(3))",
        "x = []\nx.append(x)\nreturn x", "return 10 ** 5000", "x = 1\nfor _ in range(5000): x = [x]\nreturn x",
    ],
)  # fmt: skip
def test_a_result_that_is_not_json_fails_the_step(bench: Bench, body: str) -> None:
    write_body(bench, body)
    outcome = bench.call("tools.work")
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error["kind"] == "bad_output"


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ("raise ValueError('the disk is gone')", "exception", "ValueError: the disk is gone"),
        ("raise KeyboardInterrupt", "exception", "KeyboardInterrupt"),
        ("raise BaseException('x')", "exception", "BaseException: x"),
        ("raise ValueError('\\ud800')", "exception", "ValueError"),
        ("1 / 0", "exception", "ZeroDivisionError"),
        ("def f(): f()\nf()", "exception", "RecursionError"),
        ("sys.exit('enough')", "exit", "exit(enough)"),
        ("sys.exit(0)", "exit", "exit(0)"),
        ("raise SystemExit", "exit", "exit(None)"),
        ("os._exit(3)", "exit", "status 3"),
        ("os._exit(0)", "exit", "status 0"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "killed", "SIGTERM"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed", "SIGSEGV"),
        ("work(1)", "exception", "TypeError"),
        ("class E(Exception):\n    def __str__(self): raise RuntimeError('no words')\nraise E", "", ""),
        ("os.close(1)\nos.close(2)\nprint('x')\n1/0", "", ""),
    ],
)  # fmt: skip
def test_a_function_that_fails_says_how_and_the_next_call_is_not_touched(
    bench: Bench, body: str, kind: str, message: str
) -> None:
    write_body(bench, body)
    write(bench, "@function\ndef fine():\n    return 'fine'\n", "other")
    outcome = bench.call("tools.work")
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert kind in str(outcome.error["kind"])
    assert message in str(outcome.error["message"])
    assert bench.call("other.fine").output == "fine"


def test_an_exception_leaves_its_traceback_in_the_log_and_its_place_in_the_error(bench: Bench) -> None:
    path = write(bench, "@function\ndef work():\n    raise ValueError('no')\n")
    attempt = bench.start(function="tools.work")
    outcome = bench.wait(attempt)
    assert outcome.error is not None
    assert outcome.error["where"] == "tools.py:5"
    assert f'File "{path}", line 5' in bench.log(attempt, "stderr")


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "message"),
    [
        ("tools.missing", {}, "not_found", "tools.work"),
        ("nowhere.work", {}, "not_found", "functions/nowhere.py"),
        ("tools.helper", {}, "not_found", "tools.work"),
        ("tools.work", {}, "bad_arguments", "n"),
        ("tools.work", {"n": 1, "m": 2}, "bad_arguments", "m"),
    ],
)
def test_a_call_that_fits_no_function_says_so(
    bench: Bench, name: str, arguments: dict[str, Any], kind: str, message: str
) -> None:
    write(bench, "def helper(): pass\n@function\ndef work(n): return n\n")
    outcome = bench.call(name, **arguments)
    assert outcome.error is not None
    assert outcome.error["kind"] == kind
    assert message in str(outcome.error["message"])


@pytest.mark.parametrize(
    "code", ["def work(:\n", "import no_such_module\n", "raise RuntimeError('at import')\n", "sys.exit(1)\n"]
)
def test_a_module_that_cannot_be_imported_fails_the_step_until_it_is_mended(bench: Bench, code: str) -> None:
    path = write(bench, code)
    assert bench.call("tools.work").kind == "failed"
    path.write_text(HEAD + "@function\ndef work():\n    return 'mended'\n")
    assert bench.call("tools.work").output == "mended"


# --- logs -----------------------------------------------------------------------------------------------------------


def test_all_prints_are_in_the_log_in_order(bench: Bench) -> None:
    write_body(
        bench,
        """
        print("one")
        print("two", file=sys.stderr)
        sys.stdout.write("three\\n")
        subprocess.run(["sh", "-c", "echo four; echo five >&2"], check=True)
        os.system("echo six")
        os.write(1, b"seven\\n")
        sys.stdout.buffer.write(b"eight\\n")
        print("nine", flush=True)
        """,
    )
    attempt = bench.start(function="tools.work")
    assert bench.wait(attempt).kind == "completed"
    assert bench.log(attempt).split() == ["one", "three", "four", "six", "seven", "eight", "nine"]
    assert bench.log(attempt, "stderr").split() == ["two", "five"]


def test_what_only_a_subprocess_prints_is_in_the_log_too(bench: Bench) -> None:
    write_body(bench, "subprocess.run(['sh', '-c', 'echo out; echo err >&2'])")
    first, second = bench.start(function="tools.work"), None
    bench.wait(first)
    second = bench.start(function="tools.work")
    bench.wait(second)
    for attempt in (first, second):
        assert (bench.log(attempt), bench.log(attempt, "stderr")) == ("out\n", "err\n")


def test_a_function_that_says_nothing_leaves_no_files(bench: Bench) -> None:
    write_body(bench, "return 1")
    attempt = bench.start(function="tools.work")
    bench.wait(attempt)
    assert not bench.folder(attempt).exists()


def test_a_function_may_print_a_hundred_megabytes(bench: Bench) -> None:
    write_body(bench, "for _ in range(100): print('x' * 999_999)")
    attempt = bench.start(function="tools.work")
    assert bench.wait(attempt).kind == "completed"
    assert (bench.folder(attempt) / "stdout.log").stat().st_size == 100_000_000


def test_what_a_dying_function_said_last_is_in_its_log(bench: Bench) -> None:
    write_body(bench, "print('last words')\nos.kill(os.getpid(), signal.SIGKILL)")
    attempt = bench.start(function="tools.work")
    bench.wait(attempt)
    assert bench.log(attempt) == "last words\n"


def test_a_function_whose_workflow_was_removed_ends_and_brings_nothing_back(bench: Bench) -> None:
    write_body(
        bench,
        """
        if given:
            shutil.rmtree(os.path.join(os.environ["HYBRID_HOME"], "workflows", context().workflow))
            print("to nobody")
            context().progress(50)
            subprocess.run(["sh", "-c", "echo nor this"])
            return "done"
        subprocess.run(["sh", "-c", "echo mine"])
        """,
    )
    bench.call("tools.work")
    assert bench.call("tools.work", remove=True).output == "done"
    assert os.listdir(bench.home.workflows) == []
    attempt = bench.start(function="tools.work")
    assert bench.wait(attempt).kind == "completed"
    assert bench.log(attempt) == "mine\n"


# --- what one call leaves for the next ------------------------------------------------------------------------------


def test_each_call_finds_the_worker_as_if_it_were_the_first(bench: Bench, tmp_path: Path) -> None:
    write(
        bench,
        f"""
        @function
        def spoil():
            os.environ["SPOILED"] = "yes"
            os.chdir({str(tmp_path)!r})
            os.umask(0o777)
            sys.stdout = sys.stderr = open(os.devnull, "w")
            return os.getpid()

        @function
        def look():
            print("seen")
            return [os.getcwd(), os.umask(0o022), os.environ.get("SPOILED"), context().step, os.environ["HYBRID_STEP"]]
        """,
    )
    bench.call("tools.spoil")
    attempt = bench.start(function="tools.look")
    cwd, umask, spoiled, step, variable = bench.wait(attempt).output
    assert (cwd, umask, spoiled) == (os.getcwd(), 0o022, None)
    assert step == variable == attempt.step
    assert bench.log(attempt) == "seen\n"


def test_an_environment_is_that_of_the_step_alone(bench: Bench) -> None:
    write_body(bench, "return {name: os.environ.get(name) for name in ('A', 'B', 'PATH')}")
    path = os.environ["PATH"]
    first = bench.wait(bench.start(function="tools.work", env={"A": "1", "PATH": "/nowhere"}))
    second = bench.wait(bench.start(function="tools.work", env={"B": "2"}))
    assert first.output == {"A": "1", "B": None, "PATH": "/nowhere"}
    assert second.output == {"A": None, "B": "2", "PATH": path}


def test_a_changed_file_is_called_as_it_is_now(bench: Bench) -> None:
    path = write(bench, "@function\ndef work(): return 1\n")
    assert bench.call("tools.work").output == 1
    path.write_text(HEAD + "@function\ndef work(): return 2 * 1\n")
    assert bench.call("tools.work").output == 2


def test_a_changed_helper_is_seen_too(bench: Bench) -> None:
    helper = write(bench, "ANSWER = 1\n", "helper")
    write(bench, "import helper\n@function\ndef work(): return helper.ANSWER\n")
    assert bench.call("tools.work").output == 1
    helper.write_text("ANSWER = 22\n")
    assert bench.call("tools.work").output == 22


def test_a_helper_that_kept_a_module_from_being_imported_is_read_again_when_mended(bench: Bench) -> None:
    helper = write(bench, "ANSWER = None\n", "helper")
    write(bench, "import helper\nassert helper.ANSWER\n@function\ndef work(): return helper.ANSWER\n")
    assert bench.call("tools.work").kind == "failed"
    helper.write_text("ANSWER = 22\n")
    assert bench.call("tools.work").output == 22


def test_calls_share_warm_workers(bench: Bench) -> None:
    write_body(bench, "return os.getpid()")
    assert len({bench.call("tools.work").output for _ in range(5)}) == 1


# --- ends -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(600)",
        "while True: pass",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)",
        "while True:\n    try: time.sleep(600)\n    except BaseException: pass",
        "os.fork()\ntime.sleep(600)",
    ],
)
def test_a_function_that_hangs_can_be_ended_with_all_it_started(
    bench: Bench, tmp_path: Path, how: str, body: str
) -> None:
    started = f"""
        children = [subprocess.Popen(["sleep", "600"]), subprocess.Popen(["sleep", "600"], start_new_session=True)]
        open({str(tmp_path / "pids")!r}, "w").write(" ".join(str(p) for p in [os.getpid()] + [c.pid for c in children]))
    """
    write_body(bench, textwrap.dedent(started) + textwrap.dedent(body))
    attempt = bench.start(function="tools.work", timeout=1.5 if how == "timeout" else None)
    text = eventually(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text(), "pids")
    pids = [int(word) for word in text.split()]
    if how == "cancelled":
        bench.executor.cancel(attempt.key)
    assert bench.wait(attempt).kind == how
    assert not [pid for pid in pids if lives(pid)]


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_an_answer_that_came_before_anybody_looked_at_the_clock_counts(bench: Bench, size: int) -> None:
    """The engine stood still: when it goes on, the time is up, and the answer waits in the socket, or its beginning."""
    write_body(bench, "return 'x' * given['size']")
    bench.call("tools.work", size=1)
    attempt = bench.start(function="tools.work", arguments={"size": size}, timeout=600)
    handle = bench.executor._handles[attempt.key]
    assert select.select([handle._worker._channel], [], [], 20)[0]
    handle._time_out()
    outcome = bench.wait(attempt)
    assert (outcome.kind, outcome.output) == ("completed", "x" * size)


def test_a_death_before_anybody_looked_at_the_clock_counts(bench: Bench) -> None:
    write_body(bench, "os._exit(given['code'])")
    attempt = bench.start(function="tools.work", arguments={"code": 3}, timeout=600)
    handle = bench.executor._handles[attempt.key]
    eventually(lambda: processes.is_dead_child(handle._worker.pid), "the worker ends")
    handle._time_out()
    assert bench.wait(attempt).exit_code == 3


def test_an_answer_without_an_end_does_not_hold_up_a_timeout(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "ANSWER_WITHIN", 0.01)
    write_body(
        bench,
        """
        channel = int(open("/proc/self/cmdline").read().split("\\0")[3])
        os.write(channel, b"\\0\\0\\0\\x99{")
        time.sleep(600)
        """,
    )
    attempt = bench.start(function="tools.work", timeout=600)
    handle = bench.executor._handles[attempt.key]
    bench.turn(lambda: handle._worker.is_answering, "an answer begins")
    handle._time_out()
    assert bench.wait(attempt).kind == "timeout"


def test_a_function_that_kills_its_worker_takes_its_processes_along(bench: Bench, tmp_path: Path) -> None:
    write_body(
        bench,
        f"""
        child = subprocess.Popen(["sleep", "600"], start_new_session=given["escape"])
        open({str(tmp_path)!r} + "/pid" + str(given["escape"]), "w").write(str(child.pid))
        os._exit(1)
        """,
    )
    for escape in (False, True):
        assert bench.call("tools.work", escape=escape).kind == "failed"
        assert not lives(pid_in(tmp_path / f"pid{escape}"))


def test_what_a_function_left_running_ends_with_its_worker(bench: Bench, tmp_path: Path) -> None:
    path = write(
        bench,
        f"""
        @function
        def work():
            open({str(tmp_path / "pid")!r}, "w").write(str(subprocess.Popen(["sleep", "600"]).pid))
            return os.getpid()
        """,
    )
    first = bench.call("tools.work").output
    child = pid_in(tmp_path / "pid")
    path.write_text(HEAD + "@function\ndef work(): return os.getpid()\n")
    assert bench.call("tools.work").output != first
    bench.turn(lambda: not lives(child), "the child of the worker that went")


def test_a_copy_that_a_function_forks_does_not_answer(bench: Bench) -> None:
    write_body(bench, "pid = os.fork()\nif pid == 0: return 'copy'\nos.waitpid(pid, 0)\nreturn 'original'")
    assert bench.call("tools.work").output == "original"
    assert bench.call("tools.work").output == "original"


def test_an_answer_with_the_key_of_another_attempt_does_not_count(bench: Bench) -> None:
    """A process that an earlier function left behind may still hold the socket."""
    write_body(bench, "return 'mine'")
    attempt = bench.start(function="tools.work")
    call = bench.executor._handles[attempt.key]
    assert isinstance(call, calls.CallHandle)
    call.answered({"key": "w/other/1", "output": "its"})
    assert bench.wait(attempt).output == "mine"


def test_a_worker_that_is_killed_by_a_stranger_costs_one_attempt(bench: Bench, tmp_path: Path) -> None:
    write_body(
        bench, f"open({str(tmp_path)!r} + f'/{{given[\"name\"]}}', 'w').write(str(os.getpid()))\ntime.sleep(given['s'])"
    )
    victim = bench.start(function="tools.work", arguments={"name": "a", "s": 600})
    other = bench.start(function="tools.work", arguments={"name": "b", "s": 0.5})
    os.kill(pid_in(tmp_path / "a"), signal.SIGKILL)
    assert "SIGKILL" in str(bench.wait(victim).error)
    assert bench.wait(other).kind == "completed"


def test_an_idle_worker_that_is_killed_is_replaced(bench: Bench) -> None:
    write_body(bench, "return os.getpid()")
    pid = bench.call("tools.work").output
    os.kill(pid, signal.SIGKILL)
    bench.turn(lambda: pid not in bench.executor._host.children, "the worker's end is seen")
    assert bench.call("tools.work").output != pid


def test_a_call_of_a_megabyte_arrives(bench: Bench) -> None:
    write_body(bench, "return len(given['text'])")
    assert bench.call("tools.work", text="x" * 1_000_000).output == 1_000_000


def test_progress_and_artifacts_of_a_function(bench: Bench) -> None:
    write_body(
        bench,
        """
        context().progress(50, "half\\nway")
        open(os.path.join(context().artifacts, "a.txt"), "w").write("x")
        time.sleep(0.8)
        return context().attempt
        """,
    )
    assert bench.call("tools.work").output == 1
    assert bench.progress == [(50.0, "half way")]
    assert Path(bench.home.artifacts("w1"), "a.txt").read_text() == "x"


# --- the pool's own ends --------------------------------------------------------------------------------------------


def test_a_cancelled_call_is_not_begun_again_by_a_later_worker(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker went because a file had changed, and another one could not be started at once."""
    path = write(bench, f"@function\ndef work(): open({str(tmp_path / 'runs')!r}, 'a').write('x')\n")
    bench.call("tools.work")
    path.write_text(path.read_text() + "\n")
    short = True
    start = WorkerPool.start

    def start_unless_short(pool: WorkerPool) -> Worker:
        if short:
            raise OSError(errno.EAGAIN, "no more processes")
        return start(pool)

    monkeypatch.setattr(WorkerPool, "start", start_unless_short)
    monkeypatch.setattr(calls, "SHORT_AGAIN", 0.01)
    attempt = bench.start(function="tools.work")
    bench.turn(lambda: not bench.executor._host.children, "the worker of the old file goes")
    bench.executor.cancel(attempt.key)
    short = False
    assert bench.wait(attempt).kind == "cancelled"
    write(bench, "@function\ndef work(): return 'next'\n", "other")
    assert bench.call("other.work").output == "next"
    assert (tmp_path / "runs").read_text() == "x"


def test_a_stale_event_of_a_living_worker_does_not_hold_up_the_engine(bench: Bench) -> None:
    """A descriptor's number may be given away again within one round of the reactor."""
    write_body(bench, "return os.getpid()")
    pid = bench.call("tools.work").output
    [worker] = bench.executor._runners["function"].pool.workers.values()
    worker._died()
    assert lives(pid)
    assert bench.call("tools.work").output == pid


BROKEN = {
    "missing": (None, "No such file or directory"),
    "not executable": ("no program", "Permission denied"),
    "ends at once": (
        "#!/bin/sh\necho no module of that name >&2\nexit 3\n",
        "ended with status 3: no module of that name",
    ),
    "is killed": ("#!/bin/sh\nkill -SEGV $$\n", "killed by SIGSEGV"),
    "hangs": ("#!/bin/sh\nexec sleep 600\n", "not ready within"),
}


@pytest.fixture
def broken(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Python that does not work. Gives what an error should say about it."""
    text, why = BROKEN[request.param]
    python = tmp_path / "python"
    if text is not None:
        python.write_text(text)
        python.chmod(0o700 if text.startswith("#!") else 0o600)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(calls, "START_AGAIN", (0.01, 0.02))
    monkeypatch.setattr(worker_channel, "READY_WITHIN", 0.05 if "hangs" in request.param else 20.0)
    return f"{python} -m hybrid_engine.execution.worker_process: {why}"


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_a_python_that_does_not_work_fails_the_call_and_says_how(bench: Bench, broken: str) -> None:
    attempt = bench.start(function="tools.work")
    assert bench.run("true").kind == "completed"
    outcome = bench.wait(attempt)
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error["kind"] == "start"
    assert broken in str(outcome.error["message"])


@pytest.mark.parametrize("broken", ["missing", "ends at once"], indirect=True)
def test_a_python_that_works_again_makes_the_call(
    bench: Bench, broken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(calls, "START_AGAIN", (0.01,) * 1000)
    write_body(bench, "return 42")
    attempt = bench.start(function="tools.work")
    handle = bench.executor._handles[attempt.key]
    bench.turn(lambda: handle._failures > 2, "some tries")
    (tmp_path / "python").unlink(missing_ok=True)
    (tmp_path / "python").symlink_to(PYTHON)
    assert bench.wait(attempt).output == 42


@pytest.mark.parametrize("broken", ["missing", "ends at once", "hangs"], indirect=True)
@pytest.mark.parametrize("how", ["cancelled", "timeout"])
def test_a_call_that_waits_for_a_worker_can_be_ended(
    bench: Bench, broken: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "START_AGAIN", (600.0,))
    attempt = bench.start(function="tools.work", timeout=0.3 if how == "timeout" else None)
    if how == "cancelled":
        bench.executor.cancel(attempt.key)
    assert bench.wait(attempt).kind == how


def test_a_lease_of_an_earlier_engine_with_the_same_pid_is_left_alone(bench: Bench) -> None:
    """In a container every daemon may have the same pid; a worker of the one before still holds its lease."""
    write_body(bench, "return 42")
    held = os.path.join(bench.home.workers, f"{os.getpid()}-1")
    lease = leases.take(held)
    os.write(lease, b"1 w1/other/1")
    try:
        assert bench.call("tools.work").output == 42
        assert Path(held).read_text() == "1 w1/other/1"
    finally:
        os.close(lease)
        os.unlink(held)


def test_a_thread_that_a_function_left_does_not_keep_its_worker(bench: Bench) -> None:
    write_body(bench, "threading.Thread(target=threading.Event().wait).start()\nreturn os.getpid()")
    pid = bench.call("tools.work").output
    pool = bench.executor._runners["function"].pool
    pool._idle_seconds = 0.0
    pool._retire()
    bench.turn(lambda: not pool.workers, "the worker goes")
    assert not lives(pid)
