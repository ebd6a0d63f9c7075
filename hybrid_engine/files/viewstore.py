"""Views on their way to the disk (`ports.views.Views`). Thin: what they look like is in `views` and `queueview`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from hybrid_engine.files import atomic, journal, queueview, records, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log.commit_log import FileLog
from hybrid_engine.files.snapshot import Snapshots
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.state import WorkflowState


class FileViews:
    """The views of one home. Those of workflows are written unsynced; a checkpoint makes them durable."""

    def __init__(self, layout: Layout, log: FileLog) -> None:
        self._layout = layout
        self._log = log
        self._snapshots = Snapshots(layout)

    def state_bytes(self, state: WorkflowState) -> bytes:
        return views.render_state(views.state_record(state))

    def write_state(self, workflow: str, data: bytes) -> None:
        self._write(workflow, self._layout.state(workflow), data)

    def grown(self, state: WorkflowState) -> None:
        self._snapshots.grown(state)

    def write_progress(self, workflow: str, progress: Mapping[str, tuple[float, str | None]]) -> None:
        path = self._layout.progress(workflow)
        if progress:
            self._write(workflow, path, views.render_progress(progress))
        else:
            atomic.unlink_quietly(path)

    def _write(self, workflow: str, path: str, data: bytes) -> None:
        """What is wrong with one folder (a step removed it, or put a folder in the file's place) is no failing disk."""
        try:
            self._log.settle(workflow)
            atomic.replace(path, data, tmp=self._layout.temporary(workflow), durable=False)
            self._log.touch()
        except OSError as error:
            if error.errno in atomic.PASSING:
                raise

    def has_state(self, workflow: str) -> bool:
        return os.path.lexists(self._layout.state(workflow))

    def has_queue(self) -> bool:
        return os.path.lexists(self._layout.queue_state)

    def write_queued(self, workflow: str) -> None:
        """Raises HybridError when the journal cannot be read."""
        self._log.settle(workflow)
        try:
            if os.stat(self._layout.state(workflow), follow_symlinks=False).st_size:
                return  # of no size: a power cut took what was in it
        except FileNotFoundError:
            pass
        state = records.folded(journal.read(self._layout.journal(workflow)))
        if state is not None:
            self.write_state(workflow, self.state_bytes(state))

    def queue_line(self, entry: Entry) -> bytes:
        return views.queue_line(views.queue_entry(entry, entry.status, entry.waits_for, entry.size, entry.pool))

    def write_queue(
        self, lines: Iterable[bytes], counts: Mapping[str, int], updated_at: str, engine: Mapping[str, Any] | None
    ) -> None:
        mtime_ns = queueview.queue_mtime(self._layout)
        data = queueview.render(lines, counts, updated_at=updated_at, mtime_ns=mtime_ns, engine=engine)
        atomic.replace(self._layout.queue_state, data)
