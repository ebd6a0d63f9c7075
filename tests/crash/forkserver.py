"""A process that has every import done and runs one half of one case in a forked child: thousands of cases a minute.

Started by runner.py with fault.so preloaded and idle. Requests come as JSON lines on stdin, answers go to stdout. It
stays single-threaded, so that a child may start threads; orphans of a child come to it (subreaper), so that none stays
behind.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from dataclasses import asdict
from typing import Any

from tests.crash.faultlib import Control, Strikes
from tests.crash.scenario import Scenario, load

_SUBREAPER = 36
_GRACE = 1.0


def children() -> list[int]:
    """All living children of this process (orphans of ended cases among them)."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def reap() -> None:
    """Collect those that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def sweep(grace: float) -> list[str]:
    """Wait for orphans for `grace` seconds, then kill what is left; returns the command lines of those killed."""
    end = time.monotonic() + grace
    reap()
    while (left := children()) and time.monotonic() < end:
        time.sleep(0.005)
        reap()
    killed = []
    while left := children():
        for pid in left:
            killed.append(command_line(pid))
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            os.waitpid(pid, 0)
    return killed


def command_line(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip() or "(ended)"
    except OSError:
        return "(ended)"


def be_the_engine(scenario: Scenario, request: dict[str, Any]) -> None:
    """In the child: arm the library and run; never returns."""
    code = 70
    try:
        os.setsid()
        out = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (out, 1), (out, 2)):
            os.dup2(source, target)
        os.chdir(request["home"])
        os.environ.update(request["env"])
        if request["env"].get("FAULT_CHILDREN") != "1":
            os.environ.pop("LD_PRELOAD", None)
        if "FAULT_MODE" in request["env"]:
            ctypes.CDLL(None).fault_arm()
        work = {"warm": scenario.warm, "act": scenario.act, "recover": scenario.recover}[request["what"]]
        code = work(request["home"], request["outside"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def attend(pid: int, request: dict[str, Any], control: Control | None) -> tuple[int, bool]:
    """Wait for the child: (wait status, did it hang). A lasting error is lifted once it has lasted long enough."""
    patience, lift_at = request.get("patience"), None
    end = time.monotonic() + request["limit"]
    fd = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    hung = False
    while not poll.poll(10 if patience is not None else max(1, (end - time.monotonic()) * 1000)):
        now = time.monotonic()
        if now > end and not hung:
            hung = True
            os.kill(pid, signal.SIGABRT if request.get("traceback") else signal.SIGKILL)
        if patience is not None and control and lift_at is None and control.read().fired:
            lift_at = now + patience
        if lift_at is not None and now >= lift_at and control:
            control.lift()
            patience = lift_at = None
    os.close(fd)
    return os.waitpid(pid, 0)[1], hung


def serve_one(scenario: Scenario, request: dict[str, Any]) -> dict[str, Any]:
    control = Control(request["env"]["FAULT_CONTROL"]) if "FAULT_CONTROL" in request["env"] else None
    pid = os.fork()
    if pid == 0:
        be_the_engine(scenario, request)
    status, hung = attend(pid, request, control)
    code = os.waitstatus_to_exitcode(status)
    strikes = Strikes(0, 0, "", "")
    if control:
        strikes = control.read()
        control.close()
    left = sweep(_GRACE if request["sweep"] == "gently" else 0) if request["sweep"] else []
    return {"exit": code, "hung": hung, "strays": left, **asdict(strikes)}


def main() -> None:
    scenario = load(sys.argv[1])
    for module in scenario.preload:
        importlib.import_module(module)
    if len(os.listdir("/proc/self/task")) > 1:
        raise SystemExit(f"importing {', '.join(scenario.preload)} starts a thread: a fork of it would not be whole")
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        answers.write(json.dumps(serve_one(scenario, json.loads(line))) + "\n")
        answers.flush()
    sweep(0)


if __name__ == "__main__":
    main()
