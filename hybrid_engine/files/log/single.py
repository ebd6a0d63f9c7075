"""One job committed without an engine, by a holder of the lock: a log segment of its own. Light module."""

from __future__ import annotations

import os

from hybrid_engine.files import atomic, queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import formats, frames, places, segments
from hybrid_engine.files.views import queued_record, render_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hybrid_engine.model.job import Job

MANY = 64
"""So many segments are left for the next engine; with more, what they hold is put in its place for good."""


def commit(layout: Layout, job: Job) -> int | None:
    """Make the job durable and put it in its place; the length of its journal, or None when it was known already.

    Raises OSError; then nothing was accepted.
    """
    formats.take_up(layout)
    found = segments.read_all(layout.log)
    if os.path.lexists(layout.journal(job.id)) or _names(found, job.id):
        return None
    line = queue.created_line(job, job.queued_at)
    segment = segments.Segment.create(layout.log, max(found.numbers, default=0) + 1)
    try:
        segment.begin(found.next, found.last, found.end)
        # COMMIT: log of one – the job exists from here on, without an engine
        segment.append(frames.encode(found.next + 1, b"%b %b" % (job.id.encode(), line)))
        atomic.sync_folder(layout.log)
    except OSError:
        atomic.unlink_quietly(segment.path)
        raise
    finally:
        segment.close()
    try:
        _place(layout, job, line)
        if len(found.numbers) >= MANY:
            _checkpoint(layout)
    except OSError:
        pass  # it is in the log, and the next engine puts it in its place
    return len(line)


def _names(found: segments.Found, workflow: str) -> bool:
    """Does the log hold a workflow of this id that was not removed?"""
    mark, is_there = workflow.encode() + b" ", False
    for _, frame in found.frames:
        if mark in frame.payload:
            for name, line in frame.lines():
                if name == workflow:
                    is_there = line != frames.REMOVED
    return is_there


def _place(layout: Layout, job: Job, line: bytes) -> None:
    folder = layout.workflow(job.id)
    atomic.make_folder(folder)
    places.append(os.path.join(folder, "journal.jsonl"), line, create=True)
    places.link_template(layout, folder, job.version)
    places.link_queued(layout, folder, queue.name_of(job))
    view = render_state(queued_record(job))
    atomic.replace(layout.state(job.id), view, tmp=layout.temporary(job.id), durable=False)


def _checkpoint(layout: Layout) -> None:
    from hybrid_engine.files.log.filesystems import FileSystems
    from hybrid_engine.files.log.replay import replay

    systems = FileSystems((layout.log, layout.workflows, layout.inbox, layout.queue))
    try:
        replay(layout, systems)
    finally:
        systems.close()
