"""Homes with a hundred thousand workflows, made quickly and yet as the engine makes them.

One workflow is really run; its job, events and state are then written again under other ids by the product's own
encoders (`files.journal`, `files.views`, `files.queue`, `sql.writer`), without the log and its syncs: what is measured
later is not how they came to be there. A part of those that wait for their moment waits for a pool that is never free.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from hybrid_engine.files import atomic, dropbox, journal, queue, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log.places import link_queued, link_template
from hybrid_engine.model.events import WorkflowCreated
from hybrid_engine.model.job import Job
from hybrid_engine.rules.transitions import fold
from hybrid_engine.sql.rows import Row, row_of, row_of_job
from hybrid_engine.sql.writer import IndexWriter

USER = "anonymous"
LATER = "2040-01-01T00:00:00.000000Z"
FLUSH_WITHIN = 60.0


def fill(home: str, finished_like: str, finished: int, gated_like: str, waiting: int) -> None:
    """So many workflows like the finished one, and so many like the two that wait: four fifths for a moment of
    `finished_like`'s template, the others for the pool of `gated_like`'s. No engine may run."""
    layout = Layout(home)
    writer = IndexWriter(layout.index)
    delayed = waiting * 4 // 5
    rows: list[Iterator[Row]] = [
        _finished(layout, finished_like, finished),
        _waiting(layout, finished_like, delayed, LATER),
        _waiting(layout, gated_like, waiting - delayed, None),
    ]
    for part in rows:
        for row in part:
            writer.put(row[0], row)
    if not writer.flush(FLUSH_WITHIN) or not writer.close(FLUSH_WITHIN):
        raise RuntimeError(f"the index was not filled: {writer.problem}")


def _finished(layout: Layout, like: str, count: int) -> Iterator[Row]:
    reading = journal.read(layout.journal(like))
    events = [entry.event for entry in reading.entries]
    created, at = events[0], reading.entries[0].at
    state = fold((entry.n, entry.at, entry.event) for entry in reading.entries)
    assert isinstance(created, WorkflowCreated) and state is not None
    for workflow in dropbox.new_ids(USER, count):
        created.workflow = state.id = workflow
        _lay(layout, workflow, created.version, journal.encode(1, at, events[:1]) + journal.encode(2, at, events[1:]))
        data = views.render_state(views.state_record(state))
        atomic.write_new(layout.state(workflow), data, durable=False)
        yield row_of(state)


def _waiting(layout: Layout, like: str, count: int, due_at: str | None) -> Iterator[Row]:
    model = queue.read_job(layout.journal(like))
    for workflow in dropbox.new_ids(USER, count):
        job = _as(model, workflow, due_at or model.due_at)
        _lay(layout, workflow, job.version, queue.created_line(job, job.queued_at))
        link_queued(layout, layout.workflow(workflow), queue.name_of(job))
        yield row_of_job(job)


def _as(job: Job, workflow: str, due_at: str) -> Job:
    record: dict[str, Any] = {**job.as_record(), "id": workflow, "due_at": due_at}
    return Job.from_record(record)


def _lay(layout: Layout, workflow: str, version: str, lines: bytes) -> None:
    """The folder, as it is written behind a commit."""
    os.mkdir(layout.workflow(workflow), atomic.FOLDER_MODE)
    atomic.write_new(layout.journal(workflow), lines, durable=False)
    link_template(layout, layout.workflow(workflow), version)
