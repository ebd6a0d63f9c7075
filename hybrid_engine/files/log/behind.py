"""What follows from commits on disk, written behind them and not synced: folders, journals, last views, queue names.

Until a checkpoint has made all of it durable, the log holds what is needed to write it again. Several commits of one
workflow are written together when they come quickly one after the other. An error of one workflow's folder is that
workflow's trouble; an error of the disk leaves everything where it is, to be tried again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic

from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log.places import AppendError, append, link_queued, link_template

TRIES = 5
"""An error that is one workflow's own is tried so often before the workflow is given up."""


class Batch:
    """Calls `done` when so many workflows are in their places."""

    __slots__ = ("done", "missing")

    def __init__(self, missing: int, done: Callable[[], None]) -> None:
        self.missing = missing
        self.done = done

    def placed(self) -> None:
        self.missing -= 1
        if self.missing == 0:
            self.done()


class Pending:
    """What of one workflow is not yet in its place.

    `segment` is the first log segment that holds lines of it. `template` is set while the folder is to be made,
    `queued` is the name to be given to it in `queue/`, `leaves` one to be taken away; `view` is the last view.
    `size` is the length of the journal when an error left garbage behind it.
    """

    __slots__ = ("batch", "leaves", "lines", "queued", "segment", "since", "size", "template", "tries", "view")

    def __init__(self, segment: int, since: float) -> None:
        self.segment = segment
        self.since = since
        self.lines: list[bytes] = []
        self.size: int | None = None
        self.template: str | None = None
        self.queued: str | None = None
        self.leaves: str | None = None
        self.view: bytes | None = None
        self.batch: Batch | None = None
        self.tries = 0


class WriteBehind:
    """`lost(workflow, error)` hears of a workflow whose folder cannot be written; `trouble` of a failing disk."""

    def __init__(
        self, layout: Layout, lost: Callable[[str, OSError], None], trouble: Callable[[OSError], None]
    ) -> None:
        self._layout = layout
        self._lost = lost
        self._trouble = trouble
        self._pending: dict[str, Pending] = {}
        self._failing_until = 0.0

    def __len__(self) -> int:
        return len(self._pending)

    def of(self, workflow: str, segment: int) -> Pending:
        """The entry of a workflow, to be added to."""
        found = self._pending.get(workflow)
        if found is None:
            found = self._pending[workflow] = Pending(segment, monotonic())
        return found

    def holds(self, segment: int) -> bool:
        """Is anything of this segment, or of an earlier one, not in its place yet?"""
        return any(pending.segment <= segment for pending in self._pending.values())

    def lines(self, workflow: str) -> bytes:
        """The lines of a workflow that are not in its journal yet."""
        pending = self._pending.get(workflow)
        return b"".join(pending.lines) if pending is not None else b""

    def forget(self, workflow: str) -> None:
        """The workflow was removed or put aside."""
        pending = self._pending.pop(workflow, None)
        if pending is not None and pending.batch is not None:
            pending.batch.placed()

    def settle(self, workflow: str) -> None:
        """Put everything of one workflow in its place now. Raises OSError."""
        pending = self._pending.get(workflow)
        if pending is not None:
            self._place(workflow, pending)
            self._done(workflow, pending)

    def flush(self, seconds: float, min_age: float = 0.0) -> bool:
        """Work for at most so many seconds on what is at least so old; True when something of that age is left."""
        now = monotonic()
        if now < self._failing_until:
            return False
        end = now + seconds
        for workflow, pending in list(self._pending.items()):
            if min_age and now - pending.since < min_age:
                return False  # entries are in the order of their age
            self._try(workflow, pending)
            if monotonic() > end:
                return bool(self._pending)
        return False

    def _try(self, workflow: str, pending: Pending) -> None:
        try:
            self._place(workflow, pending)
        except OSError as error:
            self._failed(workflow, pending, error)
        else:
            self._done(workflow, pending)

    def _failed(self, workflow: str, pending: Pending, error: OSError) -> None:
        if error.errno in atomic.PASSING:
            self._failing_until = monotonic() + 0.5
            self._trouble(error)
            return
        pending.tries += 1
        if pending.tries >= TRIES or isinstance(error, FileNotFoundError):
            self._lost(workflow, error)

    def _done(self, workflow: str, pending: Pending) -> None:
        self._pending.pop(workflow, None)
        if pending.batch is not None:
            pending.batch.placed()

    # --- one workflow

    def _place(self, workflow: str, pending: Pending) -> None:
        """Each part is cleared when it is done, so that a second try goes on where the first one failed."""
        folder = self._layout.workflow(workflow)
        is_new = pending.template is not None
        if is_new:
            atomic.make_folder(folder)
        if pending.lines:
            self._append(os.path.join(folder, "journal.jsonl"), pending, create=is_new)
        if pending.template is not None:
            link_template(self._layout, folder, pending.template)
        if pending.view is not None:
            self._show(workflow, pending.view)
            pending.view = None
        if pending.leaves is not None:
            if not is_new:
                atomic.unlink_quietly(self._layout.queued(pending.leaves))
            pending.leaves = pending.queued = None
        elif pending.queued is not None:
            link_queued(self._layout, folder, pending.queued)
            pending.queued = None
        pending.template = None

    def _append(self, path: str, pending: Pending, *, create: bool) -> None:
        try:
            append(path, b"".join(pending.lines), create=create, size=pending.size)
        except AppendError as error:
            pending.size = error.known
            raise
        pending.lines, pending.size = [], None

    def _show(self, workflow: str, view: bytes) -> None:
        try:
            atomic.replace(self._layout.state(workflow), view, tmp=self._layout.temporary(workflow), durable=False)
        except (IsADirectoryError, NotADirectoryError):
            pass  # a step put a folder in its place: the journal still says it
