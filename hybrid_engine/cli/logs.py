"""Commands that print what was written: logs (by steps) and tail (by the engine, into the journal)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from hybrid_engine.cli import completion, options
from hybrid_engine.cli.output import emit, is_terminal, one_line, say
from hybrid_engine.errors import InputError, NotFoundError
from hybrid_engine.model.words import FINAL_WORKFLOW

if TYPE_CHECKING:
    from hybrid_engine.engine.queries import Queries
    from hybrid_engine.ports.looking import LogFile

STREAMS = ("stdout", "stderr")
PAUSE = 0.1
CHUNK = 1 << 16
SEVERAL = 5
"""So many running workflows are named when it is not clear whose log is meant."""
_HEAD = ("n", "at", "type", "batch", "crc")
_LAST = tuple(f"workflow_{status}" for status in FINAL_WORKFLOW)


def logs(
    workflow: Annotated[
        str | None,
        typer.Argument(
            help="A workflow id, or any unique part of one; else the only running one.",
            autocompletion=completion.any_workflow,
        ),
    ] = None,
    step: Annotated[
        str | None, typer.Argument(help="A step; else all that have started.", autocompletion=completion.steps)
    ] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="The attempt; else the latest.")] = None,
    stream: Annotated[
        str | None, typer.Option(help="Only stdout or only stderr.", autocompletion=completion.streams)
    ] = None,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="Only the last lines of each log.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the workflow has ended.")] = False,
    as_json: options.Json = False,
) -> None:
    """Print what steps wrote to stdout and stderr."""
    if stream is not None:
        options.words_of([stream], STREAMS, "a stream")
    queries = options.queries()
    found = queries.resolve(workflow) if workflow is not None else only_running(queries)

    def files() -> list[LogFile]:
        return [file for file in queries.logs(found, step, attempt) if stream in (None, file.stream)]

    if as_json:
        emit([{"step": f.step, "attempt": f.attempt, "stream": f.stream, "path": f.path} for f in files()])
        return
    printer = _LogPrinter(heads=stream is None and is_terminal(), last=lines)
    printer.print_new(files())
    while follow:
        ended = queries.get(found)["status"] in FINAL_WORKFLOW
        printer.print_new(files())
        if ended:
            return
        time.sleep(PAUSE)


def only_running(queries: Queries) -> str:
    """The id of the only running workflow. Raises when there is none, or more than one."""
    rows = queries.page(status=["running"], limit=SEVERAL + 1)
    if len(rows) == 1:
        return str(rows[0]["id"])
    if not rows:
        raise NotFoundError("no workflow is running: name one")
    short = queries.short_ids(row["id"] for row in rows)
    told = [f"{short[row['id']]}  {row['template']}" for row in rows[:SEVERAL]] + ["…"] * (len(rows) > SEVERAL)
    raise InputError("\n  ".join(["several workflows are running: name one:", *told]), code="ambiguous")


class _LogPrinter:
    """Prints what is new in log files; with `heads`, a line tells where what follows comes from."""

    def __init__(self, heads: bool, last: int | None) -> None:
        self._heads = heads
        self._last = last
        self._read: dict[str, int] = {}
        self._latest: str | None = None

    def print_new(self, files: list[LogFile]) -> None:
        for file in files:
            self._print_new(file)
        sys.stdout.flush()

    def _print_new(self, file: LogFile) -> None:
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return
        with os.fdopen(fd, "rb") as source:
            if self._last is not None and file.path not in self._read:
                self._read[file.path] = start_of_last(source, self._last)
            source.seek(self._read.get(file.path, 0))
            while chunk := source.read(CHUNK):
                if self._heads and self._latest != file.path:
                    gap = "\n" if self._latest else ""
                    say(f"{gap}==> {file.step}, attempt {file.attempt}, {file.stream} <==")
                self._latest = file.path
                sys.stdout.flush()
                sys.stdout.buffer.write(chunk)
            self._read[file.path] = source.tell()
        sys.stdout.buffer.flush()


def start_of_last(source: BinaryIO, count: int) -> int:
    """Where the last `count` lines of an open file begin; the file is read backwards, only as far as it takes."""
    end: int = source.seek(0, os.SEEK_END)
    position = end
    if count == 0:
        return end
    wanted = count
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        source.seek(position)
        block = source.read(size)
        if position + size == end:
            block = block.removesuffix(b"\n")  # the newline that ends the last line begins none
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if wanted == 0:
                return position + at + 1
    return 0


# --- tail


def tail(
    workflow: options.Workflow,
    follow: Annotated[bool, typer.Option(help="Continue until the workflow has ended.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the journal's lines as they are.")] = False,
) -> None:
    """Print a workflow's journal: every event, as it happens."""
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
