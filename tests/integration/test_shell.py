"""Shell steps: how they end, what they see, what they leave, and that nothing of them is left running."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from executing import Bench, eventually, lives, pid_in

from hybrid_engine.execution import handles, leases, processes, results
from hybrid_engine.files import strict
from hybrid_engine.files.layout import Layout


@pytest.fixture
def bench(home: Layout) -> Iterator[Bench]:
    processes.become_subreaper()
    processes.keep_descriptors()
    bench = Bench(home)
    yield bench
    bench.close()


# --- how they end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("true", 0),
        ("/bin/true", 0),
        ("false", 1),
        ("exit 3", 3),
        ("exec sh -c 'exit 4'", 4),
        ("sh -c 'exit 255'", 255),
        ("trap 'exit 5' EXIT; true", 5),
        ("trap '' TERM; exit 6", 6),
        ("set +e; false; true", 0),
        ("false || true", 0),
        ("if false; then :; fi", 0),
        ("no-such-command-at-all", 127),
        ("/etc/passwd", 126),
        ("(exit 7)", 7),
        ("set -- a b c; shift 2; test \"$1\" = c", 0),
        ("unset HYBRID_OUTPUT; exit 8", 8),
        ("f() { return 9; }; f", 9),
        ("return 10", 10),
        ("set -u; echo $nothing_of_this_name", 2),
        ("readonly r=1; exit 11", 11),
    ],
)  # fmt: skip
def test_the_exit_code_is_that_of_the_script(bench: Bench, script: str, code: int) -> None:
    outcome = bench.run(script)
    assert outcome.exit_code == code
    assert outcome.kind == ("completed" if code == 0 else "failed")
    assert outcome.error is None if code == 0 else outcome.error


def test_the_first_command_that_fails_ends_the_script(bench: Bench) -> None:
    attempt = bench.start("echo one; false; echo two")
    assert bench.wait(attempt).exit_code == 1
    assert bench.log(attempt) == "one\n"


@pytest.mark.parametrize("script", ["if", "echo 'never closed", "f() {", "a ) b"])
def test_a_script_that_is_no_shell_script_fails_and_says_why(bench: Bench, script: str) -> None:
    outcome = bench.run(script)
    assert outcome.kind == "failed"
    assert outcome.exit_code
    assert "yntax" in str(outcome.error) or "nterminated" in str(outcome.error)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_command_that_is_killed_fails_with_the_name_of_the_signal(bench: Bench, number: signal.Signals) -> None:
    outcome = bench.run(f"sh -c 'kill -{int(number)} $$'")
    assert (outcome.kind, outcome.exit_code) == ("failed", 128 + number)
    assert number.name in str(outcome.error)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_shell_that_is_killed_by_a_stranger_fails_and_leaves_nothing_running(
    bench: Bench, tmp_path: Path, number: signal.Signals
) -> None:
    attempt = bench.start(f"sleep 600 & echo $! > {tmp_path}/pid; wait; echo never")
    child = pid_in(tmp_path / "pid")
    leader = leases.read(str(bench.folder(attempt) / "lease")).pid
    assert leader is not None
    os.kill(leader, number)
    outcome = bench.wait(attempt)
    assert outcome.kind == "failed"
    assert outcome.exit_code == -number
    assert not lives(child)


def test_an_error_tells_the_last_words_without_control_characters(bench: Bench) -> None:
    outcome = bench.run("printf 'all is well\\n\\033[31mthe disk\\007 is gone\\033[0m\\n\\n' >&2; exit 1")
    assert outcome.error == {"kind": "exit", "message": "exit code 1: the disk is gone"}


def test_submitting_an_attempt_twice_makes_it_once(bench: Bench, tmp_path: Path) -> None:
    attempt = bench.start(f"echo x >> {tmp_path}/runs")
    bench.executor.submit(attempt)
    bench.wait(attempt)
    bench.run("true")
    assert (tmp_path / "runs").read_text() == "x\n"


# --- what they see --------------------------------------------------------------------------------------------------


def test_a_step_sees_who_it_is(bench: Bench) -> None:
    attempt = bench.start("env | grep ^HYBRID_ | sort")
    bench.wait(attempt)
    folder = bench.folder(attempt)
    assert dict(line.split("=", 1) for line in bench.log(attempt).splitlines()) == {
        "HYBRID_ARTIFACTS": bench.home.artifacts("w1"),
        "HYBRID_ATTEMPT": "1",
        "HYBRID_HOME": bench.home.home,
        "HYBRID_KEY": f"w1/{attempt.step}",
        "HYBRID_OUTPUT": str(folder / "output"),
        "HYBRID_PROGRESS": str(folder / "progress"),
        "HYBRID_STEP": attempt.step,
        "HYBRID_WORKFLOW": "w1",
    }


HOSTILE = [
    "$(touch {side})", "`touch {side}`", "; touch {side}", "& touch {side} &", "| touch {side}", "|| touch {side}",
    "'; touch {side}; '", '"; touch {side}; "', "\n touch {side}\n", "\r\ntouch {side}", "$(>{side})", "${{IFS}}touch",
    "a' b\" c\\ d\\\\", "\\$(touch {side})", "-n", "-e \\x41", "--help", "*", "~", "!!", "%s%n%d", "$HOME", "${{PATH}}",
    "\x01\x02\x1b[31m\x7f", "Ünïcödé ☃ 😀", "\u202e\u200b", "a=b", "=", "", " leading and trailing ", "\t",
    "$((1+1))", "<(touch {side})", "() {{ :; }}; touch {side}", "{{touch,{side}}}", "x" * 100_000,
]  # fmt: skip


def test_hostile_values_arrive_as_they_are_and_run_nothing(bench: Bench, tmp_path: Path) -> None:
    side = tmp_path / "side"
    values = [text.format(side=side) if "{" in text else text for text in HOSTILE]
    attempts = []
    for number, value in enumerate(values):
        script = f'printf %s "$VALUE" > {tmp_path}/{number}; eval ": \\"\\$VALUE\\""; test "$VALUE" = "$OTHER"'
        attempts.append(bench.start(script, env={"VALUE": value, "OTHER": value}))
    for attempt in attempts:
        assert bench.wait(attempt).kind == "completed"
    for number, value in enumerate(values):
        assert (tmp_path / str(number)).read_bytes() == value.encode()
    assert not side.exists()


def test_a_plain_command_gets_its_words_from_the_environment_unchanged(bench: Bench, tmp_path: Path) -> None:
    side = tmp_path / "side"
    attempt = bench.start('/usr/bin/printf %s "$VALUE"', env={"VALUE": f"$(touch {side})'\"\\"})
    assert bench.wait(attempt).kind == "completed"
    assert bench.log(attempt) == f"$(touch {side})'\"\\"
    assert not side.exists()


def test_stdin_is_empty(bench: Bench) -> None:
    attempt = bench.start("cat; read -r line || echo nothing to read; readlink /proc/self/fd/0")
    assert bench.wait(attempt).kind == "completed"
    assert bench.log(attempt) == "nothing to read\n/dev/null\n"


def test_a_step_inherits_no_descriptor_but_its_own(bench: Bench) -> None:
    attempt = bench.start("for fd in /proc/$$/fd/*; do readlink $fd; done")
    assert bench.wait(attempt).kind == "completed"
    files = [str(bench.folder(attempt) / name) for name in ("stdout.log", "stderr.log", "lease")]
    assert bench.log(attempt).split() == ["/dev/null", *files]


def test_a_step_has_the_signals_of_a_fresh_program(bench: Bench) -> None:
    attempt = bench.start("grep -E '^Sig(Blk|Ign)' /proc/self/status")
    assert bench.wait(attempt).kind == "completed"
    of_the_library = 0b11 << 31  # 32 and 33: nobody can set these, and whoever started us may have left them ignored
    blocked, ignored = (int(line.split()[1], 16) & ~of_the_library for line in bench.log(attempt).splitlines())
    assert (blocked, ignored) == (0, 0)


def test_a_step_is_a_session_of_its_own_so_that_no_key_press_reaches_it(bench: Bench) -> None:
    attempt = bench.start("ps -o sid= -p $$; cut -d' ' -f7 /proc/self/stat")
    assert bench.wait(attempt).kind == "completed"
    session, terminal = bench.log(attempt).split()
    assert int(session) != os.getsid(0)
    assert int(terminal) == 0


def test_a_step_whose_environment_is_too_large_is_refused_and_leaves_nothing(bench: Bench) -> None:
    attempt = bench.attempt(script="true", env={"VALUE": "x" * 200_000})
    with pytest.raises(OSError, match="too long") as caught:
        bench.executor.submit(attempt)
    assert caught.value.errno == errno.E2BIG
    assert not bench.executor.running
    bench.executor.submit(bench.attempt(script="true"))


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_no_environment_can_hold_is_refused_and_leaves_nothing(bench: Bench, value: str) -> None:
    with pytest.raises(ValueError):
        bench.executor.submit(bench.attempt(script="true", env={"VALUE": value}))
    assert not bench.executor.running


# --- what they leave ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "output"),
    [
        ("true", None),
        (': > "$HYBRID_OUTPUT"', None),
        ('echo rows=7 >> "$HYBRID_OUTPUT"; echo "name=a b = c" >> "$HYBRID_OUTPUT"', {"rows": "7", "name": "a b = c"}),
        ('printf a=1 > "$HYBRID_OUTPUT"', {"a": "1"}),
        ('printf "a=1\\n\\na=2\\n" > "$HYBRID_OUTPUT"', {"a": "2"}),
        ('echo \'{"rows": 7, "deep": [1, {"x": null}]}\' > "$HYBRID_OUTPUT"', {"rows": 7, "deep": [1, {"x": None}]}),
        ('printf "\\n  {}" > "$HYBRID_OUTPUT"', {}),
        ('printf "empty=\\n" > "$HYBRID_OUTPUT"', {"empty": ""}),
        ('printf "text=\\303\\234\\n" > "$HYBRID_OUTPUT"', {"text": "Ü"}),
    ],
)
def test_the_output_is_what_the_step_wrote(bench: Bench, script: str, output: object) -> None:
    outcome = bench.run(script)
    assert (outcome.kind, outcome.output) == ("completed", output)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('echo hello > "$HYBRID_OUTPUT"', "not name=value"),
        ('printf "a=1\\nhello\\n" > "$HYBRID_OUTPUT"', "output:2"),
        ('echo =1 > "$HYBRID_OUTPUT"', "not name=value"),
        ('echo "{" > "$HYBRID_OUTPUT"', "too early"),
        ('echo \'{"a": NaN}\' > "$HYBRID_OUTPUT"', "NaN"),
        ('echo \'{"a": 1, "a": 2}\' > "$HYBRID_OUTPUT"', "twice"),
        ('echo \'{"a": 1} {"b": 2}\' > "$HYBRID_OUTPUT"', "output:1"),
        ('printf "a=\\377\\n" > "$HYBRID_OUTPUT"', "UTF-8"),
        ('head -c 2000000 /dev/zero | tr "\\0" a > "$HYBRID_OUTPUT"', "larger than"),
        ('ln -s /etc/passwd "$HYBRID_OUTPUT"', "cannot be read"),
        ('mkdir "$HYBRID_OUTPUT"', "cannot be read"),
        ('mkfifo "$HYBRID_OUTPUT"', "cannot be read"),
        ('truncate -s 100G "$HYBRID_OUTPUT"', "larger than"),
    ],
)
def test_an_output_that_is_none_fails_the_step_and_says_where(bench: Bench, script: str, why: str) -> None:
    outcome = bench.run(script)
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error["kind"] == "bad_output"
    assert why in str(outcome.error["message"])


def test_whatever_a_parser_raises_the_step_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(data: bytes, file: str) -> None:
        raise OverflowError("too large a number")

    monkeypatch.setattr(strict, "parse_json", parse)
    outcome = bench.run('echo "{}" > "$HYBRID_OUTPUT"')
    assert outcome.error is not None
    assert (outcome.error["kind"], "too large" in str(outcome.error["message"])) == ("bad_output", True)


def test_an_output_that_cannot_be_read_is_tried_again_and_not_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def read(path: str) -> None:
        reads.append(path)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(results, "read_output", read)
    monkeypatch.setattr(handles, "READ_AGAIN", 0.01)
    monkeypatch.setattr(handles, "READ_WITHIN", 0.05)
    outcome = bench.run("true")
    assert outcome.error is not None
    assert (outcome.error["kind"], "Input/output" in str(outcome.error["message"])) == ("bad_output", True)
    assert len(reads) > 1


def test_the_end_of_a_step_that_could_not_be_watched_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor(pid: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", no_descriptor)
    assert bench.run("exit 3").exit_code == 3


@pytest.mark.parametrize("name", ["HYBRID_PROGRESS", "HYBRID_OUTPUT"])
@pytest.mark.parametrize("what", ["mkfifo", "mkdir", "ln -s /dev/zero"])
def test_no_file_that_a_step_makes_can_hold_up_the_engine(bench: Bench, name: str, what: str) -> None:
    attempt = bench.start(f'{what} "${name}"; sleep 0.8')
    assert bench.wait(attempt, 5.0).kind in ("completed", "failed")


@pytest.mark.parametrize(
    ("what", "name"),
    [*product(("mkfifo", "mkdir", "ln -s /dev/zero", ":"), ("stderr.log", "lease", "exit"))],
)
def test_not_even_a_step_that_replaces_the_engines_own_files_can(bench: Bench, what: str, name: str) -> None:
    attempt = bench.start(f'cd "$(dirname "$HYBRID_OUTPUT")"; rm -f {name}; {what} {name}; exit 3')
    outcome = bench.wait(attempt, 5.0)
    assert (outcome.kind, outcome.exit_code) == ("failed", 3)


@pytest.mark.parametrize("script", ["exit 3", "/bin/false", "printf 'exit 5\\n' >&9; exit 3", "printf x >&9; exit 3"])
def test_the_lease_says_who_ran_and_at_last_how_it_ended(bench: Bench, script: str) -> None:
    attempt = bench.start(script)
    code = bench.wait(attempt).exit_code
    lease = bench.folder(attempt) / "lease"
    record = leases.read(str(lease))
    assert record.pid == int(lease.read_text().split()[0])
    assert record.status == code
    assert not (bench.folder(attempt) / "exit").exists()


def test_a_step_that_removes_its_own_folder_ends_as_it_ended(bench: Bench) -> None:
    assert bench.run('rm -r "$(dirname "$HYBRID_OUTPUT")"; exit 4').exit_code == 4


def test_logs_are_the_steps_own_descriptors_and_take_a_hundred_megabytes(bench: Bench) -> None:
    attempt = bench.start("head -c 100000000 /dev/zero; echo done >&2")
    assert bench.wait(attempt).kind == "completed"
    assert (bench.folder(attempt) / "stdout.log").stat().st_size == 100_000_000
    assert bench.log(attempt, "stderr") == "done\n"


def test_logs_of_two_processes_do_not_overwrite_each_other(bench: Bench) -> None:
    attempt = bench.start("for n in 1 2 3; do (echo child $n) & wait; echo parent $n; done")
    assert bench.wait(attempt).kind == "completed"
    assert bench.log(attempt).splitlines() == [f"{who} {n}" for n in (1, 2, 3) for who in ("child", "parent")]


def test_a_step_makes_no_more_files_and_folders_than_it_needs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    mkdir = os.mkdir

    def counting(path: str, mode: int = 0o777) -> None:
        made.append(os.path.relpath(path, bench.home.workflow("w1")))
        mkdir(path, mode)

    first, second = bench.attempt(script="env >/dev/null; echo x"), bench.attempt(script="echo y")
    third = replace(second, number=2)
    monkeypatch.setattr(os, "mkdir", counting)
    for attempt, folders in (
        (first, {"steps", "steps/step1", "steps/step1/1", "artifacts"}),
        (second, {"steps/step2", "steps/step2/1"}),
        (third, {"steps/step2/2"}),
    ):
        made.clear()
        bench.executor.submit(attempt)
        bench.wait(attempt)
        assert set(made) == folders
        assert len(made) <= len(folders) + (2 if attempt is first else 0), "calls that fail cost as much"
        assert sorted(os.listdir(bench.folder(attempt))) == ["lease", "stderr.log", "stdout.log"]


def test_a_workflow_that_was_removed_and_is_made_again_gets_its_artifacts_again(bench: Bench) -> None:
    """A job's key may give the same id again."""
    bench.run("true")
    shutil.rmtree(bench.home.workflow("w1"))
    assert bench.run('echo x > "$HYBRID_ARTIFACTS/a"').kind == "completed"


def test_files_and_folders_of_an_attempt_are_for_nobody_else(bench: Bench) -> None:
    old = os.umask(0o077)  # the engine's; the steps have another
    try:
        attempt = bench.start("echo x; echo y >&2; exit 0")
        bench.wait(attempt)
    finally:
        os.umask(old)
    folder = bench.folder(attempt)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
        ("stdout.log", "stderr.log", "lease"), 0o600
    )


def test_a_step_makes_files_under_the_users_umask(bench: Bench, tmp_path: Path) -> None:
    bench.run(f"umask; touch {tmp_path}/made")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o644


def test_progress_is_told_as_it_comes(bench: Bench, tmp_path: Path) -> None:
    for number in (1, 2):
        os.mkfifo(tmp_path / f"go{number}")
    attempt = bench.start(
        f'echo 10 > "$HYBRID_PROGRESS"; read -r _ < {tmp_path}/go1; echo "55.5% half way" >> "$HYBRID_PROGRESS";'
        f'read -r _ < {tmp_path}/go2; echo "101 nonsense" > "$HYBRID_PROGRESS"; sleep 0.7'
    )
    for number, told in enumerate(((10.0, None), (55.5, "half way")), 1):
        bench.turn(lambda told=told: bench.progress and bench.progress[-1] == told, f"progress {told}")
        (tmp_path / f"go{number}").write_text("go\n")
    bench.wait(attempt)
    assert bench.progress == [(10.0, None), (55.5, "half way")]


# --- what they start ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "escape",
    [
        "sleep 600 &",
        "(trap '' HUP TERM; sleep 600) &",
        "setsid sleep 600 &",
        "setsid sh -c 'exec 9>&- >/dev/null 2>&1; sleep 600' & ",
        "(setsid sh -c 'sleep 600 & echo $!' > {pid}.2) & ",
        "nohup sleep 600 >/dev/null 2>&1 &",
    ],
)
@pytest.mark.parametrize("how", ["ends", "is cancelled", "times out"])
def test_nothing_that_a_step_started_outlives_it(bench: Bench, tmp_path: Path, escape: str, how: str) -> None:
    """…and the outcome is told only when nothing of it runs any more."""
    tail = "true" if how == "ends" else "sleep 600"
    script = escape.format(pid=tmp_path / "pid") + f" echo $! > {tmp_path}/pid; {tail}"
    attempt = bench.start(script, timeout=0.5 if how == "times out" else None)
    child = pid_in(tmp_path / "pid")
    if how == "is cancelled":
        bench.executor.cancel(attempt.key)
    outcome = bench.wait(attempt)
    assert outcome.kind == {"ends": "completed", "is cancelled": "cancelled", "times out": "timeout"}[how]
    assert not lives(child)
    second = tmp_path / "pid.2"  # empty when its shell was ended before it came to say whom it had started
    if second.exists() and second.read_text().strip():
        assert not lives(pid_in(second))


def test_a_timeout_is_told_with_its_length(bench: Bench) -> None:
    outcome = bench.wait(bench.start("sleep 600", timeout=0.2))
    assert outcome.error == {"kind": "timeout", "message": "ran longer than its timeout of 0.2 s"}


@pytest.mark.parametrize("is_watched", [True, False])
def test_a_step_that_ended_before_anybody_looked_at_the_clock_has_not_timed_out(bench: Bench, is_watched: bool) -> None:
    """The engine stood still: when it goes on, the time is up, and the end was in time."""
    attempt = bench.start("exit 3", timeout=600)
    handle = bench.executor._handles[attempt.key]
    if not is_watched:
        handle._unwatch()
    eventually(lambda: processes.is_dead_child(handle._pid), "the step ends")
    handle._time_out()
    outcome = bench.wait(attempt)
    assert (outcome.kind, outcome.exit_code) == ("failed", 3)


def test_a_step_may_use_its_grace_to_clean_up(bench: Bench, tmp_path: Path) -> None:
    script = f"trap 'echo cleaned > {tmp_path}/cleaned; exit 0' TERM; echo $$ > {tmp_path}/pid; sleep 600 & wait"
    attempt = bench.start(script, grace=10.0)
    pid_in(tmp_path / "pid")
    bench.executor.cancel(attempt.key)
    assert bench.wait(attempt).kind == "cancelled"
    assert (tmp_path / "cleaned").exists()


def test_a_stopped_step_can_be_ended(bench: Bench, tmp_path: Path) -> None:
    attempt = bench.start(f"echo $$ > {tmp_path}/pid; kill -STOP $$; sleep 600")
    pid = pid_in(tmp_path / "pid")
    eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
    bench.executor.cancel(attempt.key)
    assert bench.wait(attempt).kind == "cancelled"


def test_cancelling_twice_and_after_the_end_is_harmless(bench: Bench) -> None:
    attempt = bench.start("sleep 600")
    bench.executor.cancel(attempt.key)
    bench.executor.cancel(attempt.key)
    assert bench.wait(attempt).kind == "cancelled"
    bench.executor.cancel(attempt.key)
    bench.run("true")


def test_the_end_of_one_step_does_not_end_another(bench: Bench, tmp_path: Path) -> None:
    other = bench.start(f"sleep 600 & echo $! > {tmp_path}/pid; wait")
    child = pid_in(tmp_path / "pid")
    for _ in range(3):
        bench.run("setsid sleep 600 & true")
    cancelled = bench.start("sleep 600")
    bench.executor.cancel(cancelled.key)
    bench.wait(cancelled)
    assert lives(child)
    assert other.key not in bench.outcomes


def test_steps_leave_no_zombies(bench: Bench) -> None:
    for _ in range(5):
        bench.run("(sleep 0.01 &) ; setsid true & true")
    assert not processes.strays([])
    assert not bench.executor.running


def test_many_steps_at_once_all_end(bench: Bench) -> None:
    attempts = [bench.start(f"exit {number % 7}") for number in range(60)]
    assert [bench.wait(attempt).exit_code for attempt in attempts] == [number % 7 for number in range(60)]


def test_a_stale_event_of_a_living_step_does_not_hold_up_the_engine(bench: Bench, tmp_path: Path) -> None:
    """A descriptor's number may be given away again within one round of the reactor."""
    os.mkfifo(tmp_path / "gate")
    attempt = bench.start(f"read -r _ < {tmp_path}/gate; exit 3")
    bench.executor._handles[attempt.key]._pid_event()
    assert attempt.key not in bench.outcomes
    (tmp_path / "gate").write_text("go\n")
    assert bench.wait(attempt).exit_code == 3


def test_the_child_of_an_orphan_that_ends_during_the_look_is_found(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/pid; wait"
    parent = os.posix_spawn("/bin/sh", ["sh", "-c", script], dict(os.environ), setsid=True)
    child = pid_in(tmp_path / "pid")
    waitpid = os.waitpid

    def end_first(pid: int, options: int) -> tuple[int, int]:
        if pid == parent:
            os.kill(parent, signal.SIGKILL)
            os.waitid(os.P_PID, parent, os.WEXITED | os.WNOWAIT)
        return waitpid(pid, options)

    monkeypatch.setattr(os, "waitpid", end_first)
    try:
        assert processes.strays([]) == [child]
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_step_has_not_ended_while_an_orphan_may_be_its_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([processes.Orphans([], is_certain=False)] * 3)
    find = processes.orphans_of
    monkeypatch.setattr(processes, "orphans_of", lambda key, known: next(looks, None) or find(key, known))
    assert bench.run("exit 3").exit_code == 3
    assert next(looks, None) is None
