"""Commands about the daemon: start, status, stop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import options
from hybrid_engine.cli.output import complain, emit, note, say, took

if TYPE_CHECKING:
    from hybrid_engine.files.layout import Layout
    from hybrid_engine.settings import Settings

NOT_RUNNING = 3
PATIENCE = 1.0
"""Seconds for which the lock may be held by somebody who is no daemon: a `hybrid enqueue`."""
PAUSE = 0.02


def register(app: typer.Typer) -> None:
    for command in (start, status, stop):
        app.command()(command)


def start(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when nothing is left to do.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Go to the background, once jobs are taken.")] = False,
    slots: Annotated[int | None, typer.Option(help="How many steps run at once; else MAX_PARALLEL_NODES.")] = None,
) -> None:
    """Be the daemon of this home, in the foreground."""
    settings = options.settings()
    if slots is not None:
        settings = settings.but(max_parallel_nodes=slots)
    from hybrid_engine.bootstrap import run_daemon

    if detach:
        _detach(settings, until_idle)
    else:
        run_daemon(settings, until_idle=until_idle)


def _detach(settings: Settings, until_idle: bool) -> None:
    """Start a daemon that outlives this terminal; return when it takes jobs, or raise what kept it from it."""
    from hybrid_engine.errors import HybridError

    readable, writable = os.pipe()
    if os.fork() == 0:
        os.close(readable)
        os.setsid()
        if os.fork():
            os._exit(0)
        _be_detached(settings, until_idle, writable)
    os.close(writable)
    os.wait()
    with os.fdopen(readable, encoding="utf-8") as pipe:
        word, _, rest = pipe.read().partition(" ")
    if word == "ready":
        note(f"the daemon runs, pid {rest}")
        return
    error = HybridError(rest or f"the daemon ended before it was ready: see {settings.layout.daemon_log}")
    error.exit_code = int(word) if word.isdigit() else 1
    raise error


def _be_detached(settings: Settings, until_idle: bool, pipe: int) -> None:
    """The background process. It tells through the pipe, once, that it is ready or why it will never be."""
    from hybrid_engine.bootstrap import run_daemon
    from hybrid_engine.errors import HybridError

    told = False

    def tell(text: str) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(pipe, text.encode())
            os.close(pipe)

    code = 70
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        run_daemon(settings, until_idle=until_idle, ready=lambda: tell(f"ready {os.getpid()}"))
        code = 0
    except HybridError as error:
        code = error.exit_code
        tell(f"{code} {error}")
    except BaseException as error:
        tell(f"{code} the daemon could not start: {type(error).__name__}: {error}")
    finally:
        os._exit(code)


def status(as_json: options.Json = False) -> int:
    """Does a daemon run, and what does it do? Exits with 0 when one runs and with 3 when none does."""
    queries = options.queries()
    engine = queries.home.engine()
    head = queries.home.queue_head()
    found: dict[str, Any] = {
        "running": engine is not None,
        "home": options.settings().home,
        "engine": {**(engine or {}), **(head.get("engine") or {})} if engine is not None else None,
        "queue": head.get("counts") or {},
        "inbox": queries.home.inbox(),
        "workflows": queries.counts(),
    }
    found["problems"] = [*((found["engine"] or {}).get("problems") or []), *_space_problem()]
    if as_json:
        emit(found)
    else:
        _tell_status(found)
    return 0 if engine is not None else NOT_RUNNING


def _space_problem() -> list[str]:
    """A full disk, seen from here: the daemon cannot write its own word of it there."""
    settings = options.settings()
    disk = os.statvfs(settings.home)
    free, wanted = disk.f_bavail * disk.f_frsize, min(settings.min_free, disk.f_blocks * disk.f_frsize // 50)
    return [f"disk: only {free} bytes are free; nothing new is started below {wanted}"] if free < wanted else []


def _tell_status(found: dict[str, Any]) -> None:
    from hybrid_engine.files.dropbox import stamp_now

    engine = found["engine"]
    if engine is None:
        say(f"no daemon runs in {found['home']}")
    else:
        now = stamp_now()
        say(
            f"a daemon runs in {found['home']}: pid {engine.get('pid')} on {engine.get('host')}, "
            f"for {took(engine.get('started_at'), now)}"
        )
        running = engine.get("running") or []
        say(f"slots: {len(running)} of {engine.get('slots', '?')} busy")
        for attempt in running:
            since = took(attempt.get("since"), now)
            say(f"  {attempt['workflow']}/{attempt['step']} attempt {attempt['attempt']}, for {since}")
        for pool, holders in (engine.get("pools") or {}).items():
            say(f"pool {pool}: held by {', '.join(holders)}")
    for problem in found["problems"]:
        say(f"problem: {problem}")
    told = [f"{count} {word}" for word, count in found["queue"].items() if count and word != "total"]
    say(f"queue: {', '.join(told) or 'empty'}")
    if found["inbox"]["waiting"]:
        say(f"inbox: {found['inbox']['waiting']} not taken yet")
    if found["inbox"]["rejected"]:
        say(f"rejected: {found['inbox']['rejected']} (see inbox/rejected/*.reason.json)")
    ended = [f"{found['workflows'].get(word, 0)} {word}" for word in ("completed", "failed", "cancelled")]
    say(f"finished: {', '.join(ended)}")


def stop(
    timeout: Annotated[float, typer.Option(help="Seconds to wait for its end.")] = 30.0,
    as_json: options.Json = False,
) -> int:
    """End the daemon. Steps that run go on; the next daemon takes them over."""
    layout = options.settings().layout
    pid, ended = _end_engine(layout, timeout)
    if as_json:
        emit({"pid": pid, "stopped": ended})
    if pid is None:
        complain(f"no daemon runs in {layout.home}")
        return NOT_RUNNING
    if not ended:
        complain(f"the daemon (pid {pid}) was asked to end and still runs after {timeout:g} s")
        return 1
    if not as_json:
        note(f"the daemon (pid {pid}) has ended")
    return 0


def _end_engine(layout: Layout, timeout: float) -> tuple[int | None, bool]:
    """(its pid, has it ended?); no pid when none runs. A lock that is held only for a moment is waited for."""
    import socket
    import time

    from hybrid_engine.errors import HomeError
    from hybrid_engine.execution.stopping import end_holder
    from hybrid_engine.files.lock import holder
    from hybrid_engine.files.place import check_is_home

    check_is_home(layout, ours=False)
    deadline = time.monotonic() + PATIENCE
    while (who := holder(layout)) is not None:
        pid = who.get("pid")
        if isinstance(pid, int):
            ended = end_holder(pid, layout.home_lock, timeout)
            if ended is not None:
                return pid, ended
        if time.monotonic() > deadline:
            place = f" on {who['host']}" if who.get("host") not in (None, socket.gethostname()) else ""
            raise HomeError(f"{layout.lock} is held by a process that is not to be seen from here{place}")
        time.sleep(PAUSE)
    return None, True
