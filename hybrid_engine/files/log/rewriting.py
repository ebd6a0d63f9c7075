"""When `syncfs` fails: what a log segment names is written into new files, each synced by itself.

The kernel drops the pages that it could not write and calls the next sync a success (F7), so the old files cannot be
trusted, although they can still be read. What a journal must hold is in its beginning, which earlier checkpoints made
durable, and in the segment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from hybrid_engine.files import atomic, journal
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import frames


def rewrite_all(layout: Layout, segments: Iterable[str]) -> None:
    """Write the journals and views of all workflows that these segments name anew. Raises OSError."""
    names: dict[str, None] = {}
    for path in segments:
        for frame in frames.scan(atomic.read(path)).frames:
            names.update(dict.fromkeys(workflow for workflow, _ in frame.lines()))
    for workflow in names:
        _rewrite(layout, workflow)
    for folder in (layout.workflows, layout.queue, layout.inbox):
        atomic.sync_folder(folder)


def _rewrite(layout: Layout, workflow: str) -> None:
    path, queued = layout.journal(workflow), layout.queue
    try:
        data = atomic.read(path)
    except FileNotFoundError:
        return  # removed, or put aside
    old = os.stat(path).st_ino
    temporary = layout.temporary(workflow)
    for target, content in ((path, data), (layout.state(workflow), _read_or_none(layout.state(workflow)))):
        if content is not None:
            atomic.replace(target, content, tmp=temporary)
    name = journal.queue_name_of(data)
    if name is not None and _inode(os.path.join(queued, name)) == old:
        atomic.unlink(os.path.join(queued, name))
        atomic.link_or_copy(path, os.path.join(queued, name))
    atomic.sync_folder(layout.workflow(workflow))


def _read_or_none(path: str) -> bytes | None:
    try:
        return atomic.read(path)
    except OSError:
        return None


def _inode(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_ino
    except OSError:
        return -1
