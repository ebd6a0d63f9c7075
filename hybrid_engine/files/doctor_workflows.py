"""The doctor's look at each workflow: journal, view, queue file, definition, row in the index.

One pass over the folders, in slices; what is kept in memory is the queue's names and one workflow at a time. A journal
that is damaged is never changed: its workflow can be put aside whole. Beside a running engine, what is being written
just now is not mistaken for damage: only what no engine would write is told.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from hybrid_engine.errors import HybridError, IllegalTransitionError, JobError, JournalError
from hybrid_engine.files import atomic, journal, queue, records, views
from hybrid_engine.files.doctor_home import check_rights, leftover
from hybrid_engine.files.findings import Findings
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import overlay
from hybrid_engine.files.quarantine import put_aside, put_queue_file_aside
from hybrid_engine.model.ids import is_id, parse_queue_name
from hybrid_engine.model.job import Job
from hybrid_engine.model.state import WorkflowState

SLICE = 200
SETTLED = 60.0
"""Seconds after which a folder that nobody touched is not a job that is being accepted just now."""
ELSEWHERE = (".trash", ".gitkeep")

Progress = Callable[[int], object]


class MendableIndex(Protocol):
    """What the doctor asks of the index (`sql.index.Index`)."""

    @property
    def complete(self) -> bool: ...
    def check(self) -> str | None: ...
    def statuses(self, ids: Sequence[str]) -> dict[str, str]: ...
    def ids_after(self, n: int, limit: int) -> list[tuple[int, str]]: ...
    def upsert_many(self, records: list[Any]) -> None: ...
    def delete_many(self, ids: Sequence[str]) -> None: ...
    def close(self) -> None: ...


class Workflows:
    """One pass over `queue/` and `workflows/`."""

    def __init__(self, findings: Findings, index: MendableIndex | None, progress: Progress | None = None) -> None:
        self._findings = findings
        self._layout = findings.layout
        self._index = index
        self._progress = progress
        self._queued = records.queued_ids(self._layout)
        self._in_log = _named_in_log(self._layout)

    def run(self) -> int:
        """Examine everything; returns how many workflows there are."""
        self._check_queue()
        done, entries = 0, self._entries()
        while part := list(islice(entries, SLICE)):
            known = self._statuses([entry.name for entry in part])
            for entry in part:
                state = self._examine(entry)
                if state is not None and known is not None and self._index is not None:
                    self._check_row(self._index, state, known.get(entry.name))
            done += len(part)
            if self._progress:
                self._progress(done)
        if self._index is not None:
            self._check_rows(self._index)
        if self._index is not None and not any(finding.code == "index" for finding in self._findings.all):
            self._findings.ok("index", self._layout.index, "knows all workflows that have ended")
        return done

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self._layout.workflows) as entries:
                for entry in entries:
                    if is_id(entry.name) and entry.is_dir(follow_symlinks=False):
                        yield entry
                    elif entry.name not in ELSEWHERE:
                        self._findings.note("info", "stranger", entry.path, "is not the folder of a workflow")
        except FileNotFoundError:
            return

    # --- the queue

    def _check_queue(self) -> None:
        _, strange = queue.names(self._layout) if os.path.isdir(self._layout.queue) else ([], [])
        for name in strange:
            if not name.endswith(".tmp"):
                self._queue_file(name, "its name is not that of a job")
        for name in sorted(self._queued.values()):
            try:
                job = queue.read_job(self._layout.queued(name))
                if queue.name_of(job) != name:
                    self._queue_file(name, f"its name does not fit what it says: it is {job.id}")
                elif self._findings.engine is None and not os.path.isdir(self._layout.workflow(job.id)):
                    text = "its folder is missing: the next engine makes it from this file"
                    self._findings.note("info", "folder", self._layout.queued(name), text)
            except FileNotFoundError:
                continue
            except JobError as error:
                if not self._is_of_a_journal(name):  # what is wrong with that is told with its workflow
                    self._queue_file(name, error.message, mendable=error.code != "newer_format")
            except (HybridError, OSError, AttributeError, TypeError) as error:
                self._queue_file(name, str(error), mendable=False)

    def _is_of_a_journal(self, name: str) -> bool:
        """Is it a second name of its workflow's journal?"""
        parsed = parse_queue_name(name)
        try:
            return parsed is not None and os.path.samefile(self._layout.queued(name), self._layout.journal(parsed[2]))
        except OSError:
            return False

    def _queue_file(self, name: str, reason: str, *, mendable: bool = True) -> None:
        path = self._layout.queued(name)
        do = (lambda: put_queue_file_aside(self._layout, name, reason)) if mendable else None
        self._findings.note("error", "queue_file", path, reason, "put it into quarantine" if mendable else None, do)

    def _in_queue(self, workflow: str, job: Job | None) -> str | None:
        """The workflow's name in the queue, also when it came there after the queue was listed."""
        if (name := self._queued.get(workflow)) is not None:
            return name
        if job is not None and os.path.lexists(self._layout.queued(name := queue.name_of(job))):
            return name
        return None

    # --- one workflow

    def _examine(self, entry: os.DirEntry[str]) -> WorkflowState | None:
        """Returns the state when the workflow is sound and final."""
        workflow, layout = entry.name, self._layout
        if workflow in self._in_log and self._findings.engine is None:
            return None  # the next engine brings it in line with the log, and only then can be said what is wrong
        try:
            status = entry.stat(follow_symlinks=False)
            check_rights(self._findings, entry.path, status, private=True)
            for name in os.listdir(entry.path):
                if name.endswith(".tmp"):
                    leftover(self._findings, os.path.join(entry.path, name))
            reading = journal.read(layout.journal(workflow))
            job = _job(layout, workflow)
        except FileNotFoundError:
            return None  # it was pruned under our eyes
        except JournalError as error:
            self._findings.note("error", "newer_events", layout.journal(workflow), str(error))
            return None
        except OSError as error:
            self._findings.note("error", "unreadable", entry.path, f"cannot be read: {error.strerror}")
            return None
        if reading.damage:
            self._damaged(workflow, "damaged_journal", reading.damage)
            return None
        if reading.tail and not self._is_moving(workflow):
            self._torn(workflow, reading)
        if not reading.entries:
            self._not_begun(workflow, job, status)
            return None
        return self._begun(workflow, reading, job)

    def _is_moving(self, workflow: str) -> bool:
        """May an engine be writing in this workflow's folder at this moment?"""
        if self._findings.engine is None:
            return False
        return workflow in self._queued or _age(self._layout.journal(workflow)) < SETTLED

    def _torn(self, workflow: str, reading: journal.Reading) -> None:
        path = self._layout.journal(workflow)
        text = f"{len(reading.tail)} bytes of an interrupted write follow event {len(reading.entries)}"
        do = lambda: journal.cut_torn_tail(path, reading)  # noqa: E731
        self._findings.note("warning", "torn_tail", path, text, "cut them off, keep a copy beside the journal", do)

    def _damaged(self, workflow: str, code: str, reason: str) -> None:
        do = lambda: put_aside(self._layout, workflow, reason, self._queued.get(workflow))  # noqa: E731
        path = self._layout.journal(workflow)
        self._findings.note("error", code, path, reason, "put the workflow into quarantine, unchanged", do)

    def _not_begun(self, workflow: str, job: Job | None, status: os.stat_result) -> None:
        """No event yet: an accepted job, one that is being accepted, or what is left of one that never was."""
        if self._in_queue(workflow, job) is not None:
            if job is not None:
                self._check_definition(workflow, job.version)
            return
        waits = job is not None and job.source and os.path.lexists(os.path.join(self._layout.inbox, job.source))
        young = not self._findings.alone and abs(time.time() - status.st_ctime) < SETTLED
        if waits or young:
            return
        reason = "it is neither in the queue nor has it a journal: its acceptance was interrupted"
        do = lambda: put_aside(self._layout, workflow, reason, None)  # noqa: E731
        path = self._layout.workflow(workflow)
        self._findings.note("warning", "orphan", path, reason, "put it into quarantine", do)

    def _begun(self, workflow: str, reading: journal.Reading, job: Job | None) -> WorkflowState | None:
        try:
            state = records.folded(reading)
            if state is None or state.id != workflow:
                raise JournalError("it is the journal of another workflow")
        except (IllegalTransitionError, JournalError, TypeError, AttributeError, ValueError) as error:
            self._damaged(workflow, "impossible_story", f"its events do not fit together: {error}")
            return None
        name = self._in_queue(workflow, job)
        if state.is_final:
            self._final(state, name)
            return state
        if name is None:
            self._forgotten(workflow, job)
        self._check_definition(workflow, state.version)
        if not self._is_moving(workflow):
            self._check_view(state, "info")
        return None

    def _final(self, state: WorkflowState, name: str | None) -> None:
        if name is None:
            self._check_view(state, "warning")
        elif not self._is_moving(state.id):
            self._check_view(state, "info")
            path = self._layout.queued(name)
            do = lambda: queue.remove(self._layout, name)  # noqa: E731
            text = f"its workflow has ended ({state.status}): finishing it was interrupted"
            self._findings.note("info", "finished_in_queue", path, text, "remove it from the queue", do)

    def _forgotten(self, workflow: str, job: Job | None) -> None:
        """Unfinished, and not in the queue: no engine would ever go on with it."""
        path = self._layout.workflow(workflow)
        if not self._findings.alone and (self._is_new(workflow) or records.final_status(self._layout, workflow)):
            return  # its name is on its way, or it has ended since its journal was read
        if job is None:
            text = "is unfinished, has no file in the queue, and nothing says what was asked"
            self._findings.note("error", "not_in_queue", path, text)
            return
        do = lambda: _announce(self._layout, job)  # noqa: E731
        text = "is unfinished and has no file in the queue: no engine continues it"
        self._findings.note("error", "not_in_queue", path, text, "put it back into the queue", do)

    def _is_new(self, workflow: str) -> bool:
        """May it have been accepted just now? Its name in the queue comes last."""
        if self._findings.engine is not None:
            return _age(self._layout.journal(workflow)) < SETTLED
        return workflow in _named_in_log(self._layout, workflow)

    def _check_view(self, state: WorkflowState, severity: str) -> None:
        path, should = self._layout.state(state.id), views.render_state(views.state_record(state))
        try:
            found = atomic.read(path)
        except FileNotFoundError:
            found = None
        except OSError as error:
            self._findings.note("error", "unreadable", path, f"cannot be read: {error.strerror}")
            return
        if found == should:
            return
        text = "is missing" if found is None else _how_wrong(found)
        self._findings.note(
            severity, "view", path, text, "rewrite it from the journal", lambda: atomic.write_atomic(path, should)
        )

    def _check_definition(self, workflow: str, version: str) -> None:
        """An unfinished workflow cannot go on without its frozen definition."""
        frozen, own = self._layout.frozen_template(version), self._layout.template(workflow)
        if os.path.lexists(frozen):
            return
        if os.path.lexists(own):
            do = lambda: atomic.link_or_copy(own, frozen)  # noqa: E731
            text = "is missing; the workflow has a copy"
            self._findings.note("warning", "definition", frozen, text, "restore it from the workflow", do, beside=True)
        else:
            self._findings.note("error", "definition", frozen, f"is missing: {workflow} cannot continue")

    # --- the index

    def _statuses(self, workflows: list[str]) -> dict[str, str] | None:
        if self._index is None:
            return None
        try:
            return self._index.statuses(workflows)
        except HybridError as error:
            self._findings.note("warning", "index", self._layout.index, str(error))
            self._index = None
            return None

    def _check_row(self, index: MendableIndex, state: WorkflowState, status: str | None) -> None:
        if status == state.status or (self._findings.engine is not None and self._is_moving(state.id)):
            return  # in the second case the row is on its way
        text = f"has no row for {state.id}" if status is None else f"shows {state.id} as {status}, not {state.status}"
        do = lambda: index.upsert_many([state])  # noqa: E731
        self._findings.note("info", "index", self._layout.index, text, "write the row", do, beside=True)

    def _check_rows(self, index: MendableIndex) -> None:
        last = 0
        while part := index.ids_after(last, SLICE * 5):
            last = part[-1][0]
            gone = [workflow for _, workflow in part if not os.path.lexists(self._layout.workflow(workflow))]
            if gone:
                text = f"has rows of {len(gone)} workflows that are gone ({gone[0]} …)"
                do = lambda gone=gone: index.delete_many(gone)  # noqa: E731
                self._findings.note("info", "index", self._layout.index, text, "take them out", do, beside=True)


def _job(layout: Layout, workflow: str) -> Job | None:
    for path in (layout.journal(workflow), layout.job(workflow)):
        try:
            return queue.read_job(path)
        except (HybridError, OSError):
            continue
    return None


def _named_in_log(layout: Layout, only: str | None = None) -> Collection[str]:
    try:
        return overlay.lines(layout, engine_lives=False, only=only).keys()
    except OSError:
        return ()  # which is told of the log itself


def _age(path: str) -> float:
    """Seconds since a file was written; endless for one that is not there."""
    try:
        return abs(time.time() - os.stat(path).st_mtime)
    except OSError:
        return float("inf")


def _announce(layout: Layout, job: Job) -> None:
    queue.add(layout, job)
    atomic.sync_folder(layout.queue)


def _how_wrong(found: bytes) -> str:
    try:
        seq = json.loads(found)["seq"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "cannot be read"
    return f"is not what the journal says (it shows event {seq})"
