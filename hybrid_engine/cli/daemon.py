"""Commands about the daemon: start, status, stop."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine import __version__
from hybrid_engine.cli import options
from hybrid_engine.cli.output import complain, emit, facts, note, one_line, say, say_styled
from hybrid_engine.cli.words import count, size, took

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hybrid_engine.engine.queries import Queries
    from hybrid_engine.files.layout import Layout
    from hybrid_engine.settings import Settings

NOT_RUNNING = 3
PATIENCE = 1.0
"""Seconds for which the lock may be held by somebody who is no daemon: a `hybrid enqueue`."""
PAUSE = 0.02
FEW_INODES = 100
"""Below this the daemon says so, too."""


def start(
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Exit when all jobs are done.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Run in the background; return when jobs are accepted.")
    ] = False,
    slots: Annotated[
        int | None, typer.Option(help="Number of steps that run in parallel; else MAX_PARALLEL_NODES.")
    ] = None,
) -> None:
    """Run the daemon in the foreground."""
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
        note(f"the daemon is running, pid {rest}")
        return
    error = HybridError(rest or f"the daemon exited before it was ready: see {settings.layout.daemon_log}")
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
    """Show what the daemon does, and problems. Exits with 0 when it is running and with 3 when it is not."""
    queries = options.queries()
    engine = queries.home.engine()
    head = queries.home.queue_head()
    found: dict[str, Any] = {
        "running": engine is not None,
        "home": options.settings().home,
        "version": __version__,
        "engine": {**(engine or {}), **(head.get("engine") or {})} if engine is not None else None,
        "queue": head.get("counts") or {},
        "inbox": queries.home.inbox(),
        "workflows": queries.counts(),
    }
    found["problems"] = [*((found["engine"] or {}).get("problems") or []), *queries.home.troubles(), *_home_problems()]
    if as_json:
        emit(found)
    else:
        _tell_engine(found, queries)
        _tell_rest(found)
    return 0 if engine is not None else NOT_RUNNING


def _home_problems() -> list[str]:
    """What is seen of the disk from here: the daemon cannot write its own word of it there."""
    settings = options.settings()
    layout = settings.layout
    told: list[str] = []
    for folder in (layout.home, layout.workflows):
        try:
            told += _disk_problems(os.statvfs(folder), settings.min_free)
        except OSError as error:
            told.append(f"home: {folder} cannot be looked at: {error.strerror}")
    parts = (layout.home, layout.private, layout.log, layout.inbox, layout.queue, layout.workflows)
    shut = next((folder for folder in parts if os.path.isdir(folder) and not os.access(folder, os.W_OK)), None)
    if shut is not None:
        told.append(f"home: {shut} cannot be written to")
    return list(dict.fromkeys(told))


def _disk_problems(disk: os.statvfs_result, min_free: int) -> Iterator[str]:
    free, wanted = disk.f_bavail * disk.f_frsize, min(min_free, disk.f_blocks * disk.f_frsize // 50)
    if free < wanted:
        yield f"disk: only {size(free)} are free; nothing new is started below {size(wanted)}"
    if disk.f_files and disk.f_favail < FEW_INODES:
        yield f"disk: only {disk.f_favail} more files can be made on this file system: it has no more inodes"


def _tell_engine(found: dict[str, Any], queries: Queries) -> None:
    from hybrid_engine.files.dropbox import stamp_now

    engine, now = found["engine"], stamp_now()
    if engine is None:
        say(f"no daemon is running in {found['home']} (version {found['version']})")
        return
    running = engine.get("running") or []
    say(f"a daemon is running in {found['home']}")
    facts(
        {
            "pid": f"{engine.get('pid')} on {engine.get('host')}",
            "uptime": took(engine.get("started_at"), now),
            "version": engine.get("version"),
            "steps": f"{len(running)} running, {engine.get('slots', '?')} slots",
        }
    )
    short = queries.short_ids(attempt["workflow"] for attempt in running)
    for attempt in running:
        number = f", attempt {attempt['attempt']}" if attempt["attempt"] > 1 else ""
        since = took(attempt.get("since"), now)
        say(f"  {short[attempt['workflow']]}/{attempt['step']}: running for {since}{number}")
    for pool, holders in (engine.get("pools") or {}).items():
        say(f"pool {pool}: held by {', '.join(holders)}")


def _tell_rest(found: dict[str, Any]) -> None:
    for problem in found["problems"]:
        say_styled(("problem: ", "red"), (one_line(str(problem)), ""))
    told = [f"{number} {word}" for word, number in found["queue"].items() if number and word != "total"]
    ended = [f"{found['workflows'].get(word, 0)} {word}" for word in ("completed", "failed", "cancelled")]
    waiting, rejected = found["inbox"]["waiting"], found["inbox"]["rejected"]
    facts(
        {
            "queue": ", ".join(told) or "empty",
            "inbox": f"{count(waiting, 'file')} not accepted yet" if waiting else None,
            "rejected": f"{count(rejected, 'file')} (see inbox/rejected/*.reason.json)" if rejected else None,
            "finished": ", ".join(ended),
        }
    )


def stop(
    timeout: Annotated[float, typer.Option(help="Seconds to wait for it to exit.")] = 30.0,
    as_json: options.Json = False,
) -> int:
    """Stop the daemon. Running steps continue; the next daemon adopts them."""
    layout = options.settings().layout
    pid, ended = _end_engine(layout, timeout)
    if as_json:
        emit({"pid": pid, "stopped": ended})
    if pid is None:
        complain(f"no daemon is running in {layout.home}")
        return NOT_RUNNING
    if not ended:
        complain(f"the daemon (pid {pid}) was asked to stop and is still running after {timeout:g} s")
        return 1
    if not as_json:
        note(f"the daemon (pid {pid}) has stopped")
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
            raise HomeError(f"{layout.lock} is held by a process that cannot be seen from here{place}")
        time.sleep(PAUSE)
    return None, True
