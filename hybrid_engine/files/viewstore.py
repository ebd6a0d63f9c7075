"""Views on their way to the disk (`ports.views.Views`), and the acceptance of jobs (`ports.intake.Acceptor`).

Thin: what views look like is in `views` and `queueview`, how jobs are accepted in `queue`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from hybrid_engine.files import atomic, queue, queueview, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.job import Job
from hybrid_engine.model.state import WorkflowState


class FileViews:
    """The views of one home."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def state_bytes(self, state: WorkflowState) -> bytes:
        return views.render_state(views.state_record(state))

    def write_state(self, workflow: str, data: bytes) -> None:
        atomic.replace(self._layout.state(workflow), data)

    def has_state(self, workflow: str) -> bool:
        return os.path.lexists(self._layout.state(workflow))

    def has_queue(self) -> bool:
        return os.path.lexists(self._layout.queue_state)

    def write_queued(self, workflow: str) -> None:
        path = self._layout.state(workflow)
        if os.path.lexists(path):
            return
        job = queue.read_job(self._layout.job(workflow))
        temporary = os.path.join(self._layout.tmp, f"{os.getpid()}-first-{workflow}")
        atomic.write_new(temporary, views.render_state(views.queued_record(job)))
        try:
            os.link(temporary, path)  # not a rename: by now the workflow may have a later view, which must stay
        except FileExistsError:
            pass
        finally:
            atomic.unlink_quietly(temporary)

    def queue_line(self, entry: Any) -> bytes:
        """`entry` has the fields of an `engine.run.Entry`."""
        return views.queue_line(views.queue_entry(entry, entry.status, entry.waits_for))

    def write_queue(
        self, lines: Iterable[bytes], counts: Mapping[str, int], updated_at: str, engine: Mapping[str, Any] | None
    ) -> None:
        mtime_ns = queueview.queue_mtime(self._layout)
        data = queueview.render(lines, counts, updated_at=updated_at, mtime_ns=mtime_ns, engine=engine)
        atomic.replace(self._layout.queue_state, data)


class FileAcceptor:
    """Makes jobs durable in the queue."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def lay(self, jobs: list[Job]) -> None:
        for job in jobs:
            queue.lay(self._layout, job)

    def announce(self, jobs: list[Job]) -> None:
        queue.announce_all(self._layout, jobs)
