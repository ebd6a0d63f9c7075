"""Commands that stay and watch: wait, logs, tail."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import options
from hybrid_engine.cli.output import complain, emit, one_line, say
from hybrid_engine.model.words import FINAL_WORKFLOW

if TYPE_CHECKING:
    from hybrid_engine.engine.queries import Queries
    from hybrid_engine.ports.looking import LogFile

FAILED, CANCELLED, TIMED_OUT = 10, 11, 12
PAUSE = 0.1
CHUNK = 1 << 16
_HEAD = ("n", "at", "type", "batch", "crc")
_LAST = tuple(f"workflow_{status}" for status in FINAL_WORKFLOW)


def register(app: typer.Typer) -> None:
    for command in (wait, logs, tail):
        app.command()(command)


# --- wait


def wait(
    workflow: options.Workflows,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait; else for ever.")] = None,
    as_json: options.Json = False,
) -> int:
    """Wait until workflows have ended. Exits with 0 completed, 10 failed, 11 cancelled, 12 timed out."""
    queries = options.queries()
    return wait_for([queries.resolve(text) for text in workflow], timeout, as_json)


def wait_for(ids: list[str], timeout: float | None, as_json: bool, quiet: bool = False) -> int:
    """Wait, tell how each one ended, and return the exit code: that of the worst end."""
    found = options.queries().wait(ids, timeout)
    ends = {workflow: found.get(workflow, "timeout") for workflow in dict.fromkeys(ids)}
    if as_json:
        emit([{"id": workflow, "status": end} for workflow, end in ends.items()])
    elif not quiet:
        for workflow, end in ends.items():
            say(f"{workflow} {end}")
    elif set(ends.values()) != {"completed"}:
        complain(", ".join(f"{workflow} {'timed out' if end == 'timeout' else end}" for workflow, end in ends.items()))
    worst = set(ends.values())
    if "timeout" in worst:
        return TIMED_OUT
    if worst & {"failed", "rejected"}:
        return FAILED
    return CANCELLED if "cancelled" in worst else 0


# --- logs


def logs(
    workflow: options.Workflow,
    step: Annotated[str | None, typer.Argument(help="A step; else all that have begun.")] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="Which attempt; else the latest.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only stdout or stderr.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the workflow has ended.")] = False,
    as_json: options.Json = False,
) -> None:
    """Print what steps wrote to stdout and stderr."""
    queries = options.queries()
    found = queries.resolve(workflow)
    files = [file for file in queries.logs(found, step, attempt) if stream in (None, file.stream)]
    if as_json:
        emit([{"step": f.step, "attempt": f.attempt, "stream": f.stream, "path": f.path} for f in files])
        return
    printer = _LogPrinter(several=step is None or attempt is None)
    for file in files:
        printer.print_new(file)
    while follow and queries.get(found)["status"] not in FINAL_WORKFLOW:
        sys.stdout.flush()
        time.sleep(PAUSE)
        for file in queries.logs(found, step, attempt):
            if stream in (None, file.stream):
                printer.print_new(file)
    if follow:
        for file in queries.logs(found, step, attempt):
            if stream in (None, file.stream):
                printer.print_new(file)


class _LogPrinter:
    """Prints what is new in log files; with several, a line tells where what follows comes from."""

    def __init__(self, several: bool) -> None:
        self._several = several
        self._read: dict[str, int] = {}
        self._latest: str | None = None

    def print_new(self, file: LogFile) -> None:
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return
        with os.fdopen(fd, "rb") as source:
            source.seek(self._read.get(file.path, 0))
            while chunk := source.read(CHUNK):
                if self._several and self._latest != file.path:
                    gap = "\n" if self._latest else ""
                    say(f"{gap}==> {file.step}, attempt {file.attempt}, {file.stream} <==")
                self._latest = file.path
                sys.stdout.flush()
                sys.stdout.buffer.write(chunk)
            self._read[file.path] = source.tell()
        sys.stdout.buffer.flush()


# --- tail


def tail(
    workflow: options.Workflow,
    follow: Annotated[bool, typer.Option(help="Go on until the workflow has ended.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the journal's lines as they are.")] = False,
) -> None:
    """Follow a workflow's journal: everything that has happened to it, as it happens."""
    queries = options.queries()
    found = queries.resolve(workflow)
    for line in journal_lines(options.settings().layout.journal(found), found, queries, follow):
        say(line.decode("utf-8", "replace") if as_json else event_line(line))
        sys.stdout.flush()


def journal_lines(path: str, workflow: str, queries: Queries, follow: bool) -> Iterator[bytes]:
    """Whole lines of a journal, waiting for it to appear and for more, until the workflow has ended."""
    read, rest = 0, b""
    while True:
        try:
            with open(path, "rb") as journal:
                journal.seek(read)
                data = journal.read()
        except FileNotFoundError:
            data = b""
            queries.get(workflow)
        read += len(data)
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if not follow or (lines and _type_of(lines[-1]) in _LAST and queries.get(workflow)["status"] in FINAL_WORKFLOW):
            return
        if not data:
            time.sleep(PAUSE)


def _type_of(line: bytes) -> Any:
    try:
        return json.loads(line).get("type")
    except (ValueError, AttributeError):
        return None


def event_line(line: bytes) -> str:
    """An event for people: time, number, what happened, to which step, and the rest of what it says."""
    try:
        record = json.loads(line)
        facts = {name: value for name, value in record.items() if name not in _HEAD}
        step = facts.pop("step", "")
        what = str(record["type"]).replace("_", " ")
        said = " ".join(f"{name}={_short(value)}" for name, value in facts.items())
        return one_line(f"{record['at'][11:23]} {record['n']:>4} {what:<22} {step} {said}".rstrip())
    except (ValueError, KeyError, TypeError, AttributeError):
        return one_line(line.decode("utf-8", "replace"))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "..."
