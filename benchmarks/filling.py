"""Homes with a hundred thousand workflows, made quickly and yet as the engine makes them.

One workflow is really run; its job, events and state are then written again under other ids by the product's own
encoders (`files.journal`, `files.views`, `files.queue`, `sql.writer`), without the syncs: what is measured later is not
how they came to be there. A part of those that wait for their moment waits for a pool that is never free instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from hybrid_engine.files import atomic, dropbox, journal, queue, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.events import WorkflowCreated
from hybrid_engine.model.job import Job
from hybrid_engine.model.jsontext import encode
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
    job = queue.read_job(layout.job(like))
    assert isinstance(created, WorkflowCreated) and state is not None
    for workflow in dropbox.new_ids(USER, count):
        created.workflow = state.id = workflow
        _lay(layout, _as(job, workflow, job.due_at))
        atomic.write_new(layout.journal(workflow), journal.encode(1, at, events), durable=False)
        data = views.render_state(views.state_record(state))
        atomic.write_new(layout.state(workflow), data, durable=False)
        yield row_of(state)


def _waiting(layout: Layout, like: str, count: int, due_at: str | None) -> Iterator[Row]:
    template = queue.read_job(layout.job(like))
    for workflow in dropbox.new_ids(USER, count):
        job = _as(template, workflow, due_at or template.due_at)
        _lay(layout, job)
        queue.announce(layout, job)
        yield row_of_job(job)


def _as(job: Job, workflow: str, due_at: str) -> Job:
    record: dict[str, Any] = {**job.as_record(), "id": workflow, "due_at": due_at}
    return Job.from_record(record)


def _lay(layout: Layout, job: Job) -> None:
    """`queue.lay` without its sync."""
    os.mkdir(layout.workflow(job.id), atomic.FOLDER_MODE)
    data = (encode(job.as_record()) + "\n").encode()
    atomic.write_new(layout.job(job.id), data, durable=False)
    queue.link_template(layout, job)
