"""Homes with workflows in them, made as an engine would leave them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hybrid_engine.files import home, journal, queue, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import frames, places, segments
from hybrid_engine.model import events as e
from hybrid_engine.model.job import Job
from hybrid_engine.model.jsontext import encode
from hybrid_engine.model.stamps import stamp
from hybrid_engine.rules.transitions import fold

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
VERSION = "v1"

STARTED = (e.WorkflowStarted(), e.StepStarted("one", 1))
COMPLETED = (*STARTED, e.StepCompleted("one", 1), e.WorkflowCompleted())
FAILED = (
    *STARTED,
    e.StepFailed("one", 1, {"kind": "exit", "message": "exit code 1"}),
    e.WorkflowFailed({"kind": "step"}),
)
REOPENED = (*FAILED, e.WorkflowReopened(), e.StepReopened("one"))


def at(minutes: float) -> str:
    """The stamp of a moment, counted from the start of the tests' time."""
    return stamp(START + timedelta(minutes=minutes))


def pages_of(page: Callable[[str | None], list[dict[str, Any]]], most: int = 100) -> list[list[str]]:
    """The ids on each page until one is empty; `most` ends it where a cursor does not lead on."""
    pages: list[list[str]] = []
    after: str | None = None
    while rows := page(after):
        assert len(pages) < most, f"more than {most} pages, the last after the cursor {after!r}"
        pages.append([row["id"] for row in rows])
        after = rows[-1]["cursor"]
    return pages


def a_home(path: Path) -> Layout:
    layout = Layout(str(path / "home"))
    home.init_home(layout, sample=False)
    freeze(layout, VERSION)
    Path(layout.frozen_name("report")).write_text(f'{{"version": "{VERSION}"}}')
    return layout


def freeze(layout: Layout, version: str) -> None:
    Path(layout.frozen_template(version)).write_text("{}")


def a_workflow(
    layout: Layout,
    name: str,
    *events: e.Event,
    minute: float = 0,
    view: bool = True,
    queued: bool | None = None,
    template: str = "report",
    source: str | None = None,
    version: str = VERSION,
    size: int = 0,
) -> Job:
    """A workflow with a journal of its acceptance and of `events`, all at `minute`.

    It is in the queue, unless its events end it or `queued` says otherwise.
    """
    job, story = _a_story(name, events, minute, template, source, version)
    state = fold(story)
    assert state is not None
    _a_folder(layout, job)
    _write(layout.journal(name), b"".join(journal.encode(n, moment, [event]) for n, moment, event in story))
    if view:
        _write(layout.state(name), views.render_state(views.state_record(state)))
    if size:
        os.mkdir(layout.artifacts(name))
        Path(layout.artifacts(name), "data").write_bytes(b"x" * size)
    if not state.is_final if queued is None else queued:
        queue.add(layout, job)
    return job


def a_workflow_of_format_1(layout: Layout, name: str, *events: e.Event, queued: bool = True, minute: float = 0) -> Job:
    """As an engine of format 1 left it: a `job.json` with a second name in the queue; a journal once it has begun."""
    job, story = _a_story(name, events, minute)
    _a_folder(layout, job)
    _write(layout.job(name), (encode(job.as_record()) + "\n").encode())
    state = fold(story)
    assert state is not None
    if events:
        _write(layout.journal(name), b"".join(journal.encode(n, moment, [event]) for n, moment, event in story))
    _write(layout.state(name), views.render_state(views.state_record(state) if events else views.queued_record(job)))
    if queued and not state.is_final:
        os.link(layout.job(name), layout.queued(queue.name_of(job)))
    return job


def a_home_of_format_1(layout: Layout) -> None:
    """Make it one: without a commit log."""
    os.rmdir(layout.log)
    Path(layout.format).write_text("1\n")


def commit(layout: Layout, name: str, *events: e.Event, minute: float = 0, after: int = 0) -> Job:
    """Commit its events, but for the first `after` ones, to the log only: an engine was killed right after it."""
    job, story = _a_story(name, events, minute)
    found = segments.read_all(layout.log)
    segment = segments.Segment.create(layout.log, max(found.numbers, default=0) + 1)
    segment.begin(found.next, found.last, found.end)
    lines = [journal.encode(n, moment, [event]) for n, moment, event in story[after:]]
    segment.append(frames.encode(found.next + 1, b"".join(name.encode() + b" " + line for line in lines)))
    segment.close()
    return job


def _a_story(
    name: str,
    events: tuple[e.Event, ...],
    minute: float,
    template: str = "report",
    source: str | None = None,
    version: str = VERSION,
) -> tuple[Job, list[tuple[int, str, e.Event]]]:
    job = Job(name, template, version, at(minute), at(minute), steps=["one"], source=source)
    born = e.WorkflowCreated(name, template, version, at(minute), at(minute), steps=["one"], source=source)
    return job, [(n, at(minute), event) for n, event in enumerate((born, *events), 1)]


def _a_folder(layout: Layout, job: Job) -> None:
    os.makedirs(layout.workflow(job.id), 0o700, exist_ok=True)
    places.link_template(layout, layout.workflow(job.id), job.version)


def _write(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)
    os.chmod(path, 0o600)


def everything(layout: Layout) -> dict[str, bytes]:
    """All files of a home but the index and the locks, by path."""
    return {
        str(path.relative_to(layout.home)): path.read_bytes() if path.is_file() else b""
        for path in Path(layout.home).rglob("*")
        if not path.name.startswith(("index.sqlite", "queue-state.json.lock", "lock"))
    }


def log_is_at_rest(layout: Layout) -> bool:
    """Does the log hold nothing but, at most, one segment that says how to count on?"""
    found = segments.read_all(layout.log)
    return len(os.listdir(layout.log)) == len(found.numbers) <= 1 and all(not list(f.lines()) for _, f in found.frames)
