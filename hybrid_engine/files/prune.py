"""Pruning: removing finished workflows by age, count and bytes. An unfinished workflow is never touched.

The index proposes; the folder decides: only what its own journal calls finished, and nobody has a use for, goes. Each
goes in one rename to the trash first, is then taken out of the index, and only then are its files removed; a kill at
any point leaves it whole, or in the trash for the next run to finish. An engine may be running meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from hybrid_engine.errors import HybridError, InputError
from hybrid_engine.files import atomic, frozen, records, trash
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.files.log import overlay, segments
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.replay import replay
from hybrid_engine.model.ids import parse_queue_name, queue_name
from hybrid_engine.model.stamps import stamp
from hybrid_engine.model.words import FINAL_WORKFLOW

BATCH = 64
"""So many folders are moved before the two folders concerned are synced, once for all."""
PAGE = 500
PATIENCE = 3.0
PAUSE = 0.05
"""Seconds to wait for a checkpoint, and between looks at it."""
TOLD = 1_000
"""A report names at most so many workflows; it counts all."""


class FinishedIndex(Protocol):
    """What pruning asks of the index (`sql.index.Index`)."""

    @property
    def complete(self) -> bool: ...

    def rebuild(self, source: Any) -> None: ...

    def finished_before(
        self,
        moment: str | None = None,
        *,
        status: str | Sequence[str] | None = None,
        template: str | None = None,
        newest_first: bool = False,
        after: tuple[str, int] | None = None,
        limit: int = PAGE,
    ) -> list[dict[str, Any]]: ...

    def set_bytes(self, sizes: list[tuple[str, int]]) -> None: ...

    def delete_many(self, ids: Sequence[str]) -> None: ...


@dataclass(slots=True)
class PruneReport:
    """What was removed, or would be (`dry_run`). `skipped` says why workflows were left; lists are cut short."""

    dry_run: bool = False
    workflows: int = 0
    bytes: int = 0
    ids: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    leftovers: int = 0
    templates: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        if len(self.problems) < TOLD:
            self.problems.append(text)

    def removed(self, workflow: str, size: int) -> None:
        self.workflows += 1
        self.bytes += size
        if len(self.ids) < TOLD:
            self.ids.append(workflow)

    def skip(self, workflow: str, why: str) -> None:
        if len(self.skipped) < TOLD:
            self.skipped.append((workflow, why))


@dataclass(slots=True, frozen=True)
class Limits:
    """What may stay: workflows that ended after `cutoff`, the newest `keep`, as many as fit into `max_bytes`."""

    cutoff: str | None
    keep: int | None
    max_bytes: int | None
    status: tuple[str, ...] | None
    template: str | None


def prune(
    layout: Layout,
    index: FinishedIndex,
    *,
    older_than: timedelta | None = None,
    keep: int | None = None,
    max_bytes: int | None = None,
    status: str | Sequence[str] | None = None,
    template: str | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> PruneReport:
    """Remove the finished workflows that exceed any of the limits; `status` and `template` say which are looked at.

    Raises InputError for limits that are none, ConflictError when another one is pruning.
    """
    limits = _limits(older_than, keep, max_bytes, status, template, now or datetime.now(UTC))
    report = PruneReport(dry_run)
    if not index.complete:
        # One that was deleted or damaged. A running engine rebuilds it too; no row can be spoilt by two who do.
        index.rebuild(records.Records(layout))
    if dry_run:
        queued = records.queued_ids(layout)
        for row in _proposed(layout, index, limits):
            why = _why_not(layout, row["id"], queued)
            if why is None:
                report.removed(row["id"], row["bytes"] or trash.size_of(layout.workflow(row["id"])))
            elif why:
                report.skip(row["id"], why)
        report.templates = frozen.unused(layout)
        return report
    with trash.held(layout):
        Pruning(layout, index, report).run(limits)
    return report


def _limits(
    older_than: timedelta | None,
    keep: int | None,
    max_bytes: int | None,
    status: str | Sequence[str] | None,
    template: str | None,
    now: datetime,
) -> Limits:
    if older_than is None and keep is None and max_bytes is None:
        raise InputError("say what may go: by age, by count or by bytes", code="missing")
    for name, value in (("keep", keep), ("max_bytes", max_bytes)):
        if value is not None and value < 0:
            raise InputError(f"{value} is negative", path=name)
    if older_than is not None and older_than < timedelta(0):
        raise InputError("an age cannot be negative", path="older_than")
    statuses = None if status is None else (status,) if isinstance(status, str) else tuple(status)
    for word in statuses or ():
        if word not in FINAL_WORKFLOW:
            raise InputError(f"{word!r} is not a final status: only finished workflows are pruned", path="status")
    try:
        cutoff = None if older_than is None else stamp(now - older_than)
    except OverflowError:
        cutoff = "0001-01-01T00:00:00.000000Z"
    return Limits(cutoff, keep, max_bytes, statuses, template)


# --- which ---------------------------------------------------------------------------------------------------------


def _proposed(layout: Layout, index: FinishedIndex, limits: Limits) -> Iterator[dict[str, Any]]:
    """The rows of finished workflows that exceed a limit."""
    if limits.keep is None and limits.max_bytes is None:
        yield from _rows(index, limits, limits.cutoff, newest_first=False)
        return
    total = 0
    rows = _rows(index, limits, None, newest_first=True, measure=layout if limits.max_bytes is not None else None)
    for count, row in enumerate(rows, 1):
        total += row["bytes"] or 0
        too_many = limits.keep is not None and count > limits.keep
        too_large = limits.max_bytes is not None and total > limits.max_bytes
        if too_many or too_large or (limits.cutoff is not None and row["ended_at"] < limits.cutoff):
            yield row


def _rows(
    index: FinishedIndex, limits: Limits, moment: str | None, *, newest_first: bool, measure: Layout | None = None
) -> Iterator[dict[str, Any]]:
    after: tuple[str, int] | None = None
    while page := index.finished_before(
        moment, status=limits.status, template=limits.template, newest_first=newest_first, after=after, limit=PAGE
    ):
        after = page[-1]["ended_at"], page[-1]["n"]
        if measure is not None:
            _measure(measure, index, page)
        yield from page


def _measure(layout: Layout, index: FinishedIndex, page: list[dict[str, Any]]) -> None:
    """Fill in the sizes that the index does not know yet, and let it remember them."""
    unknown = [row for row in page if row["bytes"] is None]
    for row in unknown:
        row["bytes"] = trash.size_of(layout.workflow(row["id"]))
    try:
        index.set_bytes([(row["id"], row["bytes"]) for row in unknown])
    except HybridError:
        pass  # they are measured again the next time


def _why_not(layout: Layout, workflow: str, queued: dict[str, str]) -> str | None:
    """Why a workflow must stay; None when it may go, "" when there is nothing that could go."""
    if not os.path.lexists(layout.workflow(workflow)):
        return ""
    if workflow in queued:
        return "it is in the queue"
    status = records.final_status(layout, workflow)
    if status is None:
        return "its journal does not say that it is finished (see `hybrid doctor`)"
    if trash.has_signals(layout.signals(workflow)):
        return "a signal waits in it"
    state = records.read_state(layout, workflow) or {}
    if os.path.lexists(layout.queued(_queue_name(state, workflow))):
        return "it is in the queue"
    source = state.get("source")
    if isinstance(source, str) and source and os.path.lexists(os.path.join(layout.inbox, os.path.basename(source))):
        return f"its job file {source} still lies in the inbox"
    return None


def _queue_name(state: dict[str, Any], workflow: str) -> str:
    """The name the workflow would have in the queue, or one that nothing has."""
    try:
        name = queue_name(state["priority"], state["due_at"], workflow)
        return name if parse_queue_name(name) else "-"
    except (KeyError, TypeError, AttributeError):
        return "-"


# --- the log -------------------------------------------------------------------------------------------------------


def _settle_log(layout: Layout, tell: Callable[[str], object]) -> None:
    """Empty the log, or ask the engine to: what the log holds of a workflow would be made again after a crash."""
    with BriefLock(layout) as mine:
        if mine:
            if os.path.isdir(layout.log):  # a home of format 1 has none
                systems = FileSystems((layout.log, layout.workflows, layout.inbox, layout.queue))
                try:
                    for workflow, why in replay(layout, systems).put_aside:
                        tell(f"{workflow} was put into quarantine: {why}")
                finally:
                    systems.close()
            return
    waiting = {number for number, frame in segments.read_all(layout.log).frames if not frame.payload.startswith(b"#")}
    deadline = time.monotonic() + PATIENCE
    while waiting.intersection(segments.numbers(layout.log)) and time.monotonic() < deadline:
        atomic.write_new(layout.checkpoint_bell, b"", durable=False)
        time.sleep(PAUSE)
    atomic.unlink_quietly(layout.checkpoint_bell)


class LogNames:
    """Which workflows the log names, looked at from time to time; one that it named once counts as named."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._seen = 0
        self.all: set[str] = set()

    def look(self) -> dict[str, int]:
        """Workflows that were committed to since the last look, each with the number of its first event since then."""
        new: dict[str, int] = {}
        for _, frame in segments.read_all(self._layout.log).frames:
            if frame.number > self._seen:
                self._seen = frame.number
                if not frame.payload.startswith(b"#"):
                    for workflow, line in frame.lines():
                        new.setdefault(workflow, overlay.number_of(line))
        self.all.update(new)
        return new


# --- removing ------------------------------------------------------------------------------------------------------


class Pruning:
    """One run, while the trash is held."""

    def __init__(self, layout: Layout, index: FinishedIndex, report: PruneReport) -> None:
        self._layout = layout
        self._index = index
        self._report = report
        self._unforgotten: list[str] = []
        self._in_log = LogNames(layout)

    def run(self, limits: Limits) -> None:
        """Finish what an earlier run left, then remove what exceeds the limits, then templates nobody uses."""
        report = self._report
        report.leftovers = trash.empty(self._layout, self._forget, report.problem)
        queued = records.queued_ids(self._layout)
        batch: list[str] = []
        try:
            _settle_log(self._layout, report.problem)
            for row in _proposed(self._layout, self._index, limits):
                why = _why_not(self._layout, row["id"], queued)
                if why == "":
                    self._forget([row["id"]])
                elif why is not None:
                    report.skip(row["id"], why)
                else:
                    batch.append(row["id"])
                if len(batch) == BATCH:
                    self._remove(batch)
                    batch = []
            self._remove(batch)
            report.templates = frozen.drop_unused(self._layout)
        except OSError as error:
            report.problem(f"stopped: {error}")
        if self._unforgotten and self._forget(self._unforgotten):
            # There was no space to write the index before the files were gone; what is left of them are empty folders.
            trash.empty(self._layout, self._forget, report.problem)

    def _remove(self, batch: list[str]) -> None:
        if not batch:
            return
        self._in_log.look()
        for workflow in self._in_log.all.intersection(batch):
            self._report.skip(workflow, "it has just ended, and waits for a checkpoint: try again in a moment")
        batch = [workflow for workflow in batch if workflow not in self._in_log.all]
        thrown = self._not_asked_for([(workflow, path) for workflow in batch if (path := self._throw(workflow))])
        # COMMIT: thrown away – before the first file of it goes, nobody may find the folder in its old place any more
        for folder in {os.path.dirname(path) for _, path in thrown} | {self._layout.workflows}:
            atomic.sync_folder(folder)
        forgotten = self._forget([workflow for workflow, _ in thrown])
        for workflow, path in thrown:
            if forgotten:
                freed = trash.remove(path, self._report.problem)
            else:
                freed = trash.clear(path, self._report.problem)
            self._report.removed(workflow, freed or 0)
        if not forgotten:
            self._unforgotten += [workflow for workflow, _ in thrown]

    def _not_asked_for(self, thrown: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Put back what an engine has committed to in this instant: a `retry` stands in the log before anything of it
        can be seen in the folders. A first event is that of another life with the same id."""
        new = self._in_log.look()
        left = []
        for workflow, path in thrown:
            if new.get(workflow, 1) > 1 and trash.put_back(self._layout, workflow, path):
                self._report.skip(workflow, "somebody asked for it to go on")
            else:
                left.append((workflow, path))
        return left

    def _throw(self, workflow: str) -> str | None:
        try:
            path = trash.throw(self._layout, workflow)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._report.problem(f"{workflow} cannot be moved to the trash: {error.strerror}")
            return None
        if trash.is_wanted(self._layout, path) and trash.put_back(self._layout, workflow, path):
            # An engine that found the folder missing when it came to it did nothing: the signal or the queue's file
            # is still there, and it looks again.
            self._report.skip(workflow, "somebody asked for it to go on")
            return None
        return path

    def _forget(self, workflows: Sequence[str]) -> bool:
        try:
            self._index.delete_many(workflows)
            return True
        except HybridError as error:
            self._report.problem(str(error))
            return False
