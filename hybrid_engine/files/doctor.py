"""The doctor: examines a home and repairs what is safe. `hybrid doctor` shows what it finds.

Looking is safe at any time, also beside a running engine. For repairs the engine's lock is taken, so that no engine
starts meanwhile; when one runs, only what it never touches is repaired and the rest is told. Nothing unreadable is
deleted or written over: it is put into quarantine, whole and with its reason.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from hybrid_engine.errors import HybridError, LockHeldError
from hybrid_engine.files import doctor_home, lock
from hybrid_engine.files.doctor_workflows import MendableIndex, Progress, Workflows
from hybrid_engine.files.dropbox import stamp_now
from hybrid_engine.files.findings import Finding, Findings
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.replay import replay
from hybrid_engine.files.records import Records


class WholeIndex(MendableIndex, Protocol):
    """An index that can be filled from the folders."""

    def rebuild(self, source: Any, progress: Progress | None = None) -> None: ...
    def discard(self) -> None: ...


OpenIndex = Callable[[bool], WholeIndex]
"""Opens the index, for writing when True (it is made if need be). Raises HybridError when there is none to be read."""

REBUILD = "rebuild it from the folders"


def examine(
    layout: Layout, *, repair: bool = False, open_index: OpenIndex | None = None, progress: Progress | None = None
) -> list[Finding]:
    """Everything that can be said about a home. With `repair`, what is safe now is repaired.

    `progress` hears how many workflows have been looked at. Without `open_index` the index is not looked at.
    """
    with _holding(layout, repair) as (engine, alone):
        findings = Findings(layout, repair=repair, engine=engine, alone=alone)
        if not doctor_home.check_format(findings):
            return findings.finish()
        doctor_home.check_home(findings)
        index = _open(findings, open_index)
        try:
            _examine_workflows(findings, index, progress)
        finally:
            if index is not None:
                index.close()
        return findings.finish()


def _examine_workflows(findings: Findings, index: WholeIndex | None, progress: Progress | None) -> None:
    usable = index if index is not None and _is_usable(findings, index) else None
    doctor_home.check_trash(findings, _forgetting(usable))
    count = Workflows(findings, usable, progress).run()
    doctor_home.check_queue_view(findings)
    if not any(finding.severity in ("warning", "error") for finding in findings.all):
        findings.ok("workflows", findings.layout.workflows, f"{count} workflows are intact")


@contextmanager
def _holding(layout: Layout, repair: bool) -> Iterator[tuple[dict[str, Any] | None, bool]]:
    """What the running engine says of itself, and whether we hold the lock in its place."""
    if not (repair and os.path.isdir(layout.private)):
        yield _engine(layout), False
        return
    own = lock.EngineLock(layout)
    try:
        own.acquire({"pid": os.getpid(), "host": socket.gethostname(), "started_at": stamp_now(), "doing": "repair"})
    except LockHeldError:
        yield _engine(layout) or {}, False
        return
    except HybridError:
        yield None, False  # a home that cannot be written to is told by the findings
        return
    try:
        _empty_log(layout)
        yield None, True
    finally:
        own.describe({})
        own.release()


def _empty_log(layout: Layout) -> None:
    """Put what the log holds in its place, as the next engine would: what is examined then is all there is."""
    try:
        systems = FileSystems((layout.log, layout.workflows, layout.inbox, layout.queue))
    except OSError:
        return  # folders are missing: the findings say so
    try:
        replay(layout, systems)
    except OSError:
        pass
    finally:
        systems.close()


def _engine(layout: Layout) -> dict[str, Any] | None:
    if not os.path.lexists(layout.lock):
        return None
    try:
        return lock.holder(layout)
    except HybridError:
        return None


# --- the index -----------------------------------------------------------------------------------------------------


def _open(findings: Findings, open_index: OpenIndex | None) -> WholeIndex | None:
    """The index; one that is missing or cannot be read is a finding, and with `repair` is made again."""
    if open_index is None:
        return None
    try:
        # For reading first: one that cannot be used must not be set aside by us beside the engine that writes it.
        index = open_index(False)
        if findings.repairing:
            index.close()
            index = open_index(True)
        return index
    except (HybridError, OSError) as error:
        opened: list[WholeIndex] = []

        def do() -> None:
            opened.append(open_index(True))
            opened[0].rebuild(Records(findings.layout))

        findings.note("info", "index", findings.layout.index, str(error), REBUILD, do)
        return opened[0] if opened else None


def _is_usable(findings: Findings, index: WholeIndex) -> bool:
    """Is the index sound and whole, perhaps after a repair, so that its rows can be held against the workflows?"""
    source, path = Records(findings.layout), findings.layout.index

    def again() -> None:
        index.discard()
        index.rebuild(source)

    damage = index.check()
    if damage is not None:
        text = f"is damaged: {damage} (beside an engine: delete it, and the engine makes a new one)"
        findings.note("warning", "index", path, text, REBUILD, again)
    elif not index.complete:
        text = "is not complete: it is being rebuilt" if findings.engine is not None else "is not complete"
        findings.note("info", "index", path, text, REBUILD, lambda: index.rebuild(source))
    else:
        return True
    return findings.all[-1].repaired


def _forgetting(index: WholeIndex | None) -> Callable[[Sequence[str]], bool] | None:
    if index is None:
        return None

    def forget(workflows: Sequence[str]) -> bool:
        try:
            index.delete_many(workflows)
            return True
        except HybridError:
            return False

    return forget


def recover_index(layout: Layout, open_index: OpenIndex, progress: Progress | None = None) -> bool:
    """Make the index anew from the folders. False when a running engine will: it finds the file gone within seconds."""
    with _holding(layout, True) as (engine, _):
        for side in ("", "-wal", "-shm"):
            try:
                os.unlink(layout.index + side)
            except FileNotFoundError:
                pass
        if engine is not None:
            return False
        index = open_index(True)
        try:
            index.rebuild(Records(layout), progress)
        finally:
            index.close()
        return True
