"""The store: jobs, templates and histories of one home, as `ports.storage.Store` asks for them.

What follows from commits goes through the log, so that it comes in order and is made durable by the next checkpoint.
What is put aside here is put aside whole, with its reason; nothing unreadable is deleted or written over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from hybrid_engine.errors import IllegalTransitionError, JobError, JournalError, TemplateError
from hybrid_engine.files import atomic, dropbox, outputs, quarantine, queue, queueview, snapshot
from hybrid_engine.files import journal as journals
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log.commit_log import FileLog
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.ids import parse_queue_name
from hybrid_engine.model.job import Job
from hybrid_engine.model.template import Template
from hybrid_engine.model.words import Json
from hybrid_engine.ports.storage import History, Unfinished
from hybrid_engine.rules.transitions import fold


class FileStore:
    """The home's folders."""

    def __init__(self, layout: Layout, templates: TemplateStore, log: FileLog) -> None:
        self.layout = layout
        self._templates = templates
        self._log = log
        self._snapshots = snapshot.Snapshots(layout)

    # --- what is known

    def job(self, workflow: str, name: str | None = None) -> Job:
        """Raises JobError when the record cannot be read, OSError when the disk fails."""
        paths = [self.layout.journal(workflow), self.layout.job(workflow)]
        if name is not None:
            paths.append(self.layout.queued(name))
        self._log.settle(workflow)
        for path in paths:
            try:
                job = queue.read_job(path)
            except FileNotFoundError:
                continue
            except JobError as error:
                if path != paths[-1] and error.code == "damaged":
                    continue  # the first journal of a workflow of format 1 may be torn: its job file says it
                raise
            if job.id != workflow or (name is not None and queue.name_of(job) != name):
                raise JobError(f"its name does not fit what it says: it is {job.id}", file=path, code="damaged")
            if path == paths[-1] and name is not None and _has_begun(path):
                raise JournalError(f"{self.layout.workflow(workflow)} is gone, and {path} tells that it had begun")
            return job
        raise JobError("nothing says what was asked", file=paths[0], code="missing")

    def template(self, version: str, workflow: str) -> Template:
        try:
            return self._templates.thaw(version)
        except TemplateError:
            try:
                return self._templates.thaw_bytes(atomic.read(self.layout.template(workflow)), version)
            except OSError:
                pass
            raise

    def exists(self, workflow: str) -> bool:
        self._log.settle(workflow)
        return os.path.lexists(self.layout.journal(workflow))

    def history(self, workflow: str) -> History | None:
        self._log.settle(workflow)
        path = self.layout.journal(workflow)
        try:
            data = atomic.read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in atomic.PASSING:
                raise
            raise JournalError(f"{path}: cannot be read: {error.strerror}") from None
        known = snapshot.read(self.layout, workflow, data) if len(data) >= snapshot.EVERY else None
        reading = journals.parse(data, known.size, known.state.seq) if known else journals.parse(data)
        if reading.damage:
            raise JournalError(f"{path}: {reading.damage}")
        if reading.torn:
            journals.cut_torn_tail(path, reading)
        if not reading.n:
            return None
        entries = [(entry.n, entry.at, entry.event) for entry in reading.entries]
        history = History(entries, known.state, known.last) if known else History(entries)
        grown = reading.good - (known.size if known else 0)
        return history if grown < snapshot.EVERY else self._folded(workflow, history, data[: reading.good])

    def _folded(self, workflow: str, history: History, data: bytes) -> History:
        """The same history, folded already, because it is long; what it adds up to is kept beside it."""
        last = history.last
        try:
            state = fold(history.entries, history.base)
        except (IllegalTransitionError, TypeError, AttributeError, ValueError) as error:
            raise JournalError(f"the journal of {workflow} tells an impossible story: {error}") from None
        if state is not None and state.id == workflow:
            try:
                self._snapshots.write(state, len(data), crc32(data))
            except OSError:
                pass  # it can be made the next time
        return History((), state, last)

    # --- what follows from commits

    def settle(self, workflow: str) -> None:
        self._log.settle(workflow)

    def write_output(self, workflow: str, step: str, number: int, data: bytes) -> dict[str, Json]:
        try:
            return outputs.write(self.layout, workflow, step, number, data)
        except OSError as error:
            if error.errno in atomic.PASSING:
                raise
            raise JobError(f"{error.strerror}: {error.filename}", code="not_kept") from None

    def read_output(self, workflow: str, reference: dict[str, Any]) -> Json:
        return outputs.read(self.layout, workflow, reference)

    def requeue(self, job: Job) -> None:
        self._log.requeue(job.id, queue.name_of(job))

    def finish(self, job: Job, name: str, view: bytes) -> None:
        self._log.finish(job.id, name, view)

    def drop_signal(self, workflow: str, name: str) -> None:
        folder = self.layout.signals(workflow)
        atomic.unlink_quietly(os.path.join(folder, os.path.basename(name)))
        if _remove_if_empty(folder):
            atomic.unlink_quietly(self.layout.bell(workflow))
            if os.path.lexists(folder):  # somebody dropped one in between, and it may have been his bell
                dropbox.ring(self.layout, workflow)

    def quarantine(self, workflow: str, reason: str, name: str | None) -> None:
        """The log forgets the workflow first, durably: it must not be made again from there."""
        try:
            self._log.settle(workflow)
        except OSError:
            pass  # lines that cannot be put in their place are put beside it
        lines = self._log.lines_behind(workflow)
        self._log.commit((), [workflow])
        target = quarantine.put_aside(self.layout, workflow, reason, name)
        if lines:
            atomic.write_new(os.path.join(target, "log-lines.jsonl"), lines)
            atomic.sync_folder(target)

    # --- the queue

    def unfinished(self) -> Iterator[Unfinished]:
        names, strange = queue.names(self.layout)
        for name in strange:
            quarantine.put_queue_file_aside(self.layout, name, "its name is not that of a job")
        hints = queueview.lines_by_id(_read_or_nothing(self.layout.queue_state))
        for name in names:
            parsed = parse_queue_name(name)
            if parsed is not None:
                yield self._found(name, parsed[2], _decoded(hints.get(parsed[2].encode())))

    def _found(self, name: str, workflow: str, hint: dict[str, Any] | None) -> Unfinished:
        """A job has not begun when its journal is as long as it was when it was accepted."""
        try:
            size = os.stat(self.layout.journal(workflow), follow_symlinks=False).st_size
        except OSError:
            return Unfinished(name, workflow, None, hint, None)
        untouched = hint is not None and hint.get("status") == "queued" and hint.get("size") == size
        return Unfinished(name, workflow, False if untouched else None, hint, size)

    def leave_queue(self, name: str) -> None:
        queue.remove(self.layout, name)


def _has_begun(path: str) -> bool:
    """Does a name in the queue, whose workflow has no folder any more, tell of more than an acceptance?"""
    return atomic.read(path).count(b"\n") > 1


def _read_or_nothing(path: str) -> bytes:
    try:
        return atomic.read(path)
    except OSError:
        return b""


def _decoded(line: bytes | None) -> dict[str, Any] | None:
    if line is None:
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _remove_if_empty(folder: str) -> bool:
    try:
        os.rmdir(folder)
        return True
    except OSError:
        return False
