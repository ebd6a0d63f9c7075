"""Adoption: attempts outlive their engine, killed or stopped, and the next one takes them over.

The engines here are processes of their own. Steps wait on named pipes, never on a clock.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from executing import Bench, EngineProcess, eventually, lives, pid_in

from hybrid_engine.execution import leases
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.stamps import stamp

FUNCTIONS = """
import os, signal, subprocess, time
from hybrid_engine import function

@function
def wait(gate, pid):
    with open(pid, "w") as file:
        file.write(str(os.getpid()))
    with open(gate) as file:
        file.read()
    return {"answer": 42}

@function
def hang(pid, stubborn=False):
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"])
    with open(pid, "w") as file:
        file.write(f"{os.getpid()}\\n{child.pid}")
    time.sleep(600)
"""


class Scene:
    """Attempts that wait at a gate, and the engines they meet."""

    def __init__(self, home: Layout, folder: Path) -> None:
        self.home = home
        self.gate, self.pid_file = folder / "gate", folder / "pid"
        os.mkfifo(self.gate)
        Path(home.functions, "tools.py").write_text(FUNCTIONS)
        self.engines: list[EngineProcess] = []

    def engine(self) -> EngineProcess:
        self.engines.append(EngineProcess(self.home))
        return self.engines[-1]

    def attempt(self, kind: str, **fields: Any) -> Attempt:
        given: dict[str, Any] = {"started_at": stamp(datetime.now(UTC)), "grace": 0.3, **fields}
        if kind == "function":
            arguments = {"gate": str(self.gate), "pid": str(self.pid_file)}
            return Attempt("w1", "held", 1, function="tools.wait", arguments=arguments, **given)
        script = f'echo $$ > {self.pid_file}; read -r _ < {self.gate} || true; echo answer=42 > "$HYBRID_OUTPUT"'
        return Attempt("w1", "held", 1, script=script, **given)

    def open(self) -> None:
        eventually(self._opened, "the step waits at its gate")

    def _opened(self) -> bool:
        try:
            descriptor = os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        os.close(descriptor)
        return True

    def pid(self) -> int:
        return pid_in(self.pid_file)


@pytest.fixture
def scene(home: Layout, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(home, tmp_path)
    yield scene
    for engine in scene.engines:
        engine.__exit__(None, None, None)
    for name in os.listdir(home.workers):
        eventually(lambda name=name: not leases.is_held(os.path.join(home.workers, name)), "workers go")


ENDS = pytest.mark.parametrize("how", ["kill", "stop"])
KINDS = pytest.mark.parametrize("kind", ["shell", "function"])
ANSWER = {"shell": {"answer": "42"}, "function": {"answer": 42}}


@ENDS
@KINDS
def test_an_attempt_outlives_its_engine_and_is_taken_over(scene: Scene, kind: str, how: str) -> None:
    first = scene.engine()
    attempt = first.submit(scene.attempt(kind))
    pid = scene.pid()
    getattr(first, how)()
    assert lives(pid)
    second = scene.engine()
    assert second.attach(attempt)
    scene.open()
    outcome = second.outcome(attempt)
    assert (outcome["kind"], outcome["output"]) == ("completed", ANSWER[kind])


@ENDS
@KINDS
def test_an_attempt_that_ends_while_there_is_no_engine_is_taken_over_too(scene: Scene, kind: str, how: str) -> None:
    first = scene.engine()
    attempt = first.submit(scene.attempt(kind))
    pid = scene.pid()
    getattr(first, how)()
    scene.open()
    eventually(lambda: not lives(pid), "the step ends")
    second = scene.engine()
    assert second.attach(attempt)
    outcome = second.outcome(attempt)
    assert (outcome["kind"], outcome["output"]) == ("completed", ANSWER[kind])


@KINDS
def test_an_attempt_outlives_two_engines(scene: Scene, kind: str) -> None:
    first = scene.engine()
    attempt = first.submit(scene.attempt(kind))
    scene.pid()
    first.kill()
    second = scene.engine()
    assert second.attach(attempt)
    second.stop() if kind == "shell" else second.kill()
    third = scene.engine()
    assert third.attach(attempt)
    scene.open()
    assert third.outcome(attempt)["kind"] == "completed"


@KINDS
def test_an_attempt_that_was_killed_with_its_engine_is_not_known(scene: Scene, kind: str) -> None:
    first = scene.engine()
    attempt = first.submit(scene.attempt(kind))
    pid = scene.pid()
    first.kill()
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    eventually(lambda: not lives(pid), "the step is dead")
    assert not scene.engine().attach(attempt)


@KINDS
def test_an_attempt_that_never_began_is_not_known(scene: Scene, kind: str) -> None:
    assert not scene.engine().attach(scene.attempt(kind))


@KINDS
def test_an_attempt_that_dies_after_it_was_taken_over_is_lost(scene: Scene, kind: str) -> None:
    first = scene.engine()
    attempt = first.submit(scene.attempt(kind))
    pid = scene.pid()
    first.kill()
    second = scene.engine()
    assert second.attach(attempt)
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    assert second.outcome(attempt)["kind"] == "lost"


def test_a_failure_while_there_is_no_engine_is_known_as_one(scene: Scene) -> None:
    first = scene.engine()
    attempt = first.submit(
        replace(scene.attempt("shell"), script=f"echo $$ > {scene.pid_file}; read -r _ < {scene.gate} || exit 3")
    )
    pid = scene.pid()
    first.kill()
    scene.open()
    eventually(lambda: not lives(pid), "the step ends")
    second = scene.engine()
    assert second.attach(attempt)
    outcome = second.outcome(attempt)
    assert (outcome["kind"], outcome["exit_code"]) == ("failed", 3)


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_shell_attempt_that_was_taken_over_can_be_ended(scene: Scene, how: str, stubborn: bool) -> None:
    """With its grandchildren; those that left the group still hold the lease."""
    trap = "trap '' TERM;" if stubborn else ""
    script = f"{trap} sleep 600 & setsid sleep 600 & echo $$ $! > {scene.pid_file}; wait"
    first = scene.engine()
    attempt = first.submit(replace(scene.attempt("shell"), script=script, timeout=30.0))
    pids = [
        int(word) for word in eventually(lambda: scene.pid_file.exists() and scene.pid_file.read_text(), "pids").split()
    ]
    first.kill()
    second = scene.engine()
    if how == "timeout":
        rewrite_lease(scene, attempt, 40.0)
    assert second.attach(attempt)
    if how == "cancelled":
        second.cancel(attempt)
    assert second.outcome(attempt)["kind"] == how
    assert not [pid for pid in pids if lives(pid)]
    assert not leases.is_held(os.path.join(scene.home.attempt("w1", "held", 1), "lease"))


def rewrite_lease(scene: Scene, attempt: Attempt, seconds: float) -> None:
    """As if the attempt had begun so much earlier by the clock of the machine's start."""
    if attempt.kind == "shell":
        path = Path(scene.home.attempt("w1", "held", 1), "lease")
        pid, began = path.read_text().split()
        text = f"{pid} {max(0.0, float(began) - seconds):.2f}\n"
    else:
        path = next(path for path in Path(scene.home.workers).iterdir() if "." not in path.name)
        pid, key, began = path.read_text().split()
        text = f"{pid} {key} {max(0.0, float(began) - seconds):.2f}".ljust(512)
    with open(path, "r+b") as file:  # in place: the lock is that of this very file
        file.write(text.encode())
        file.truncate()


@pytest.mark.parametrize("how", ["cancelled", "timeout"])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_call_that_was_taken_over_can_be_ended(scene: Scene, how: str, stubborn: bool) -> None:
    first = scene.engine()
    arguments = {"pid": str(scene.pid_file), "stubborn": stubborn}
    attempt = first.submit(replace(scene.attempt("function"), function="tools.hang", arguments=arguments, timeout=30.0))
    text = eventually(
        lambda: scene.pid_file.exists() and scene.pid_file.read_text().count("\n") and scene.pid_file.read_text(),
        "pids",
    )
    pids = [int(word) for word in text.split()]
    first.kill()
    second = scene.engine()
    if how == "timeout":
        rewrite_lease(scene, attempt, 40.0)
    assert second.attach(attempt)
    if how == "cancelled":
        second.cancel(attempt)
    assert second.outcome(attempt)["kind"] == how
    assert not [pid for pid in pids if lives(pid)]


def test_what_is_left_of_a_timeout_is_not_all_of_it_again(scene: Scene) -> None:
    first = scene.engine()
    attempt = first.submit(replace(scene.attempt("shell"), timeout=30.0))
    scene.pid()
    first.kill()
    second = scene.engine()
    rewrite_lease(scene, attempt, 29.5)
    assert second.attach(attempt)
    assert second.outcome(attempt)["kind"] == "timeout"


@KINDS
@pytest.mark.parametrize("hours", [1, -1, 24 * 3650])
def test_a_wall_clock_that_was_set_costs_no_attempt_its_timeout(scene: Scene, kind: str, hours: int) -> None:
    first = scene.engine()
    attempt = first.submit(replace(scene.attempt(kind), timeout=600.0))
    scene.pid()
    first.kill()
    second = scene.engine()
    assert second.attach(replace(attempt, started_at=stamp(datetime.now(UTC) - timedelta(hours=hours))))
    scene.open()
    assert second.outcome(attempt)["kind"] == "completed"


@pytest.fixture
def bench(scene: Scene) -> Iterator[Bench]:
    bench = Bench(scene.home)
    yield bench
    bench.close()


@KINDS
def test_what_ended_before_anybody_looked_at_the_clock_has_not_timed_out(scene: Scene, bench: Bench, kind: str) -> None:
    """The engine that took it over stood still: when it goes on, the time is up, and the end was in time."""
    first = scene.engine()
    attempt = first.submit(scene.attempt(kind, timeout=600.0))
    pid = scene.pid()
    first.kill()
    assert bench.executor.attach(attempt)
    handle = bench.executor._handles[attempt.key]
    bench.turn(lambda: handle._pidfd >= 0, "it is watched")
    scene.open()
    eventually(lambda: not lives(pid), "it ends")
    handle._time_out()
    assert bench.wait(attempt).output == ANSWER[kind]


def test_a_result_that_lies_there_counts_more_than_the_clock(scene: Scene, bench: Bench) -> None:
    """Its worker has left word, and has not gone yet."""
    first = scene.engine()
    attempt = first.submit(scene.attempt("function", timeout=600.0))
    pid = scene.pid()
    first.kill()
    assert bench.executor.attach(attempt)
    folder = Path(scene.home.attempt("w1", "held", 1))
    folder.mkdir(parents=True)
    (folder / "exit").write_text('{"output": 42}')
    bench.executor._handles[attempt.key]._time_out()
    assert bench.wait(attempt).output == 42
    assert not lives(pid)


def test_an_exit_file_of_format_1_cut_short_is_no_result(scene: Scene) -> None:
    folder = Path(scene.home.attempt("w1", "held", 1))
    folder.mkdir(parents=True)
    (folder / "lease").write_text("")
    second = scene.engine()
    for content in (b"", b"\n", b"x", b"-1", b"1", b"12", b"9999\n", b"\xff", "²".encode()):
        (folder / "exit").write_bytes(content)
        assert not second.attach(scene.attempt("shell")), content


@pytest.mark.parametrize(
    "text", ["", "1\n", "1\nexit", "1\nexit 0", "1\nexit -1\n", "1\nexit 1234\n", "1\nexit \n", "1\nexit 0\nx", "\xff"]
)
def test_a_lease_that_says_of_no_end_is_no_result(scene: Scene, text: str) -> None:
    folder = Path(scene.home.attempt("w1", "held", 1))
    folder.mkdir(parents=True)
    (folder / "lease").write_text(text)
    assert not scene.engine().attach(scene.attempt("shell"))


FORMAT_1 = 'echo $$ >&9; (umask "$3"; set -e; eval "$2"); r=$?; echo $r >"$1"; exit $r'
"""What the engine of format 1 had its shells run: the status goes into a file of its own."""


class Earlier:
    """A shell step as the engine of format 1 started it, which has gone since."""

    def __init__(self, scene: Scene, script: str) -> None:
        self.folder = Path(scene.home.attempt("w1", "held", 1))
        self.folder.mkdir(parents=True)
        lease = leases.take(str(self.folder / "lease"))
        self.pid = os.posix_spawn(
            "/bin/sh", ["sh", "-c", FORMAT_1, "hybrid-step", str(self.folder / "exit"), script, "0022"],
            {**os.environ, "HYBRID_OUTPUT": str(self.folder / "output")},
            file_actions=[(os.POSIX_SPAWN_DUP2, lease, 9)], setsid=True,
        )  # fmt: skip
        os.close(lease)

    def collect(self) -> None:
        os.waitpid(self.pid, 0)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_step_that_was_started_by_the_engine_of_format_1_is_taken_over(scene: Scene, when: str) -> None:
    attempt = scene.attempt("shell")
    earlier = Earlier(scene, str(attempt.script))
    scene.pid()
    second = scene.engine()
    if when == "before":
        scene.open()
        earlier.collect()
        assert second.attach(attempt)
    else:
        assert second.attach(attempt)
        scene.open()
        earlier.collect()
    outcome = second.outcome(attempt)
    assert (outcome["kind"], outcome["output"]) == ("completed", ANSWER["shell"])


def test_a_step_of_format_1_whose_child_lives_on_is_taken_over_with_it(scene: Scene) -> None:
    script = f"setsid sleep 600 & echo $! > {scene.pid_file}; exit 3"
    earlier = Earlier(scene, script)
    child = scene.pid()
    earlier.collect()
    second = scene.engine()
    attempt = scene.attempt("shell")
    assert second.attach(attempt)
    assert second.outcome(attempt)["exit_code"] == 3
    assert not lives(child)


def test_a_timeout_of_a_step_of_format_1_follows_the_wall_clock(scene: Scene) -> None:
    """Its lease does not say when it began; a clock that was set back costs at most the whole time-out."""
    attempt = scene.attempt("shell")
    earlier = Earlier(scene, str(attempt.script))
    scene.pid()
    second = scene.engine()
    future = stamp(datetime.now(UTC) + timedelta(days=300))
    assert second.attach(replace(attempt, timeout=0.3, started_at=future))
    eventually(lambda: not lives(earlier.pid), "its end")
    earlier.collect()
    assert second.outcome(attempt)["kind"] == "timeout"


def test_a_pid_that_is_now_somebody_elses_is_not_ended(scene: Scene) -> None:
    """The lease names a process that has long gone; its number was given to another."""
    folder = Path(scene.home.attempt("w1", "held", 1))
    folder.mkdir(parents=True)
    stranger = os.posix_spawn("/bin/sleep", ["sleep", "600"], dict(os.environ), setsid=True)
    try:
        (folder / "lease").write_text(f"{stranger}\n")
        second = scene.engine()
        attempt = scene.attempt("shell")
        assert not second.attach(attempt)
        (folder / "lease").write_text(f"{stranger}\nexit 0\n")
        assert second.attach(attempt)
        second.cancel(attempt)
        assert second.outcome(attempt)["kind"] == "completed"
        assert lives(stranger)
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)


def test_an_escaped_child_that_holds_the_lease_is_waited_for_and_ended(scene: Scene) -> None:
    """The shell has gone and left its status; a child of another session still runs."""
    pid_file, gate = scene.pid_file, scene.gate
    script = f"setsid sleep 600 & echo $! > {pid_file}.child; echo $$ > {pid_file}; read -r _ < {gate} || true"
    first = scene.engine()
    attempt = first.submit(replace(scene.attempt("shell"), script=script))
    pid, child = scene.pid(), pid_in(f"{scene.pid_file}.child")
    first.kill()
    scene.open()
    eventually(lambda: not lives(pid), "the shell ends")
    second = scene.engine()
    assert second.attach(attempt)
    assert second.outcome(attempt)["kind"] == "completed"
    assert not lives(child)


def test_a_pid_of_a_worker_that_has_gone_is_nobodys(scene: Scene, bench: Bench) -> None:
    """The workers of earlier engines are looked for once; an attempt may be asked for much later."""
    first = scene.engine()
    attempt = first.submit(scene.attempt("function"))
    pid = scene.pid()
    first.kill()
    assert not bench.executor.attach(replace(attempt, step="other"))
    os.killpg(pid, signal.SIGKILL)
    eventually(lambda: not lives(pid), "the worker is dead")
    found = bench.executor._runners["function"]._earlier
    found[attempt.key] = replace(found[attempt.key], pid=os.getpid())
    assert not bench.executor.attach(attempt)
    for name in os.listdir(scene.home.workers):
        os.unlink(os.path.join(scene.home.workers, name))


def test_a_worker_that_is_idle_when_its_engine_dies_goes(scene: Scene) -> None:
    first = scene.engine()
    attempt = first.submit(scene.attempt("function"))
    pid = scene.pid()
    scene.open()
    first.outcome(attempt)
    assert lives(pid)
    first.kill()
    eventually(lambda: not lives(pid), "the worker goes")
    assert not os.listdir(scene.home.workers)


@pytest.mark.parametrize("is_idle", [True, False])
def test_a_worker_does_not_bring_back_a_workflow_that_was_removed(scene: Scene, is_idle: bool) -> None:
    first = scene.engine()
    attempt = first.submit(scene.attempt("function"))
    pid = scene.pid()
    if is_idle:
        scene.open()
        first.outcome(attempt)
    shutil.rmtree(scene.home.workflow("w1"))
    first.kill()
    if not is_idle:
        scene.open()
    eventually(lambda: not lives(pid), "the worker goes")
    assert os.listdir(scene.home.workflows) == []


def test_an_answer_that_the_engine_did_not_live_to_take_is_found(scene: Scene) -> None:
    """The engine stands still when the answer comes, and dies so."""
    first = scene.engine()
    attempt = first.submit(scene.attempt("function"))
    pid = scene.pid()
    os.kill(first.pid, signal.SIGSTOP)
    scene.open()
    eventually(lambda: os.listdir(f"/proc/{pid}/task") and _waits_for_work(pid), "the worker has answered")
    first.kill()
    second = scene.engine()
    assert second.attach(attempt)
    assert second.outcome(attempt)["output"] == {"answer": 42}


def _waits_for_work(pid: int) -> bool:
    """Does it wait for its socket, and no longer at the gate?"""
    return "unix" in Path(f"/proc/{pid}/wchan").read_text() or "sk" in Path(f"/proc/{pid}/wchan").read_text()


def test_a_call_that_had_not_begun_when_the_engine_died_is_not_begun(scene: Scene) -> None:
    """Else the next engine would make the attempt again beside it."""
    first = scene.engine()
    warm = first.submit(scene.attempt("function"))
    pid = scene.pid()
    scene.open()
    first.outcome(warm)
    scene.pid_file.unlink()
    os.kill(pid, signal.SIGSTOP)
    late = first.submit(replace(warm, step="late"))
    first.kill()
    os.kill(pid, signal.SIGCONT)
    eventually(lambda: not lives(pid), "the worker goes")
    assert not scene.pid_file.exists()
    assert not scene.engine().attach(late)


def test_a_call_that_had_not_begun_when_the_engine_stopped_is_made(scene: Scene) -> None:
    first = scene.engine()
    warm = first.submit(scene.attempt("function"))
    pid = scene.pid()
    scene.open()
    first.outcome(warm)
    scene.pid_file.unlink()
    os.kill(pid, signal.SIGSTOP)
    late = first.submit(replace(warm, step="late"))
    first.stop()
    os.kill(pid, signal.SIGCONT)
    scene.open()
    eventually(lambda: not lives(pid), "the worker goes")
    second = scene.engine()
    assert second.attach(late)
    assert second.outcome(late)["output"] == {"answer": 42}
