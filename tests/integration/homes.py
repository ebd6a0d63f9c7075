"""Homes with workflows in them, made as an engine would leave them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hybrid_engine.files import home, journal, queue, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.model import events as e
from hybrid_engine.model.job import Job
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
    size: int = 0,
) -> Job:
    """A workflow with a journal of `events`, all at `minute`; without any it is only accepted.

    It is in the queue, unless its events end it or `queued` says otherwise.
    """
    job = Job(name, template, VERSION, at(minute), at(minute), steps=["one"], source=source)
    queue.lay(layout, job)
    born = e.WorkflowCreated(name, template, VERSION, at(minute), at(minute), steps=["one"], source=source)
    story = [(n, at(minute), event) for n, event in enumerate((born, *events), 1)]
    state = fold(story)
    assert state is not None
    if events:
        lines = [journal.encode(n, moment, [event]) for n, moment, event in story]
        Path(layout.journal(name)).write_bytes(b"".join(lines))
        os.chmod(layout.journal(name), 0o600)
    if view:
        record = views.state_record(state) if events else views.queued_record(job)
        Path(layout.state(name)).write_bytes(views.render_state(record))
        os.chmod(layout.state(name), 0o600)
    if size:
        os.mkdir(layout.artifacts(name))
        Path(layout.artifacts(name), "data").write_bytes(b"x" * size)
    if not state.is_final if queued is None else queued:
        queue.announce(layout, job)
    return job


def everything(layout: Layout) -> dict[str, bytes]:
    """All files of a home but the index and the locks, by path."""
    return {
        str(path.relative_to(layout.home)): path.read_bytes() if path.is_file() else b""
        for path in Path(layout.home).rglob("*")
        if not path.name.startswith(("index.sqlite", "queue-state.json.lock", "lock"))
    }
