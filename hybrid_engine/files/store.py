"""The store: jobs, templates and journals of one home, as `ports.storage.Store` asks for them.

What is put aside here is put aside whole, with its reason; nothing unreadable is deleted or written over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from hybrid_engine.errors import JobError, JournalError, TemplateError
from hybrid_engine.files import atomic, dropbox, quarantine, queue, queueview
from hybrid_engine.files import journal as journals
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.ids import parse_queue_name
from hybrid_engine.model.job import Job
from hybrid_engine.model.template import Template
from hybrid_engine.ports.storage import History, Unfinished


class FileStore:
    """The home's folders. Methods named so in the port may be called from any thread."""

    def __init__(self, layout: Layout, templates: TemplateStore) -> None:
        self.layout = layout
        self._templates = templates

    def job(self, workflow: str, name: str | None = None) -> Job:
        """The job of a workflow; `name` is its name in the queue, from which the folder can be made again.

        Raises JobError when the record cannot be read, OSError when the disk fails.
        """
        try:
            return queue.read_job(self.layout.job(workflow))
        except FileNotFoundError:
            if name is not None:
                return self.restore(Unfinished(name, workflow, False, None))
            raise JobError("the workflow has no job.json", file=self.layout.job(workflow), code="missing") from None

    def template(self, version: str, workflow: str) -> Template:
        try:
            return self._templates.thaw(version)
        except TemplateError:
            try:
                return self._templates.thaw_bytes(atomic.read(self.layout.template(workflow)), version)
            except OSError:
                pass
            raise

    def new_journal(self, workflow: str) -> journals.Journal:
        path = self.layout.journal(workflow)
        if os.path.lexists(path) and os.stat(path).st_size:
            raise JournalError(f"{path} is there already")
        return journals.Journal(path)

    def history(self, workflow: str) -> History | None:
        path = self.layout.journal(workflow)
        atomic.unlink_quietly(path + ".tmp")  # of a rewriting that a crash cut short
        try:
            reading = journals.read(path)
        except OSError as error:
            if error.errno in atomic.PASSING:
                raise
            raise JournalError(f"{path}: cannot be read: {error.strerror}") from None
        if reading.damage:
            raise JournalError(f"{path}: {reading.damage}")
        if reading.torn:
            journals.cut_torn_tail(path, reading)
        if not reading.entries:
            return None
        entries = [(entry.n, entry.at, entry.event) for entry in reading.entries]
        return History(entries, journals.Journal(path, len(entries), reading.good))

    def sync_workflow(self, workflow: str) -> None:
        atomic.sync_folder(self.layout.workflow(workflow))

    def requeue(self, job: Job) -> str:
        name = queue.announce(self.layout, job)
        atomic.sync_folder(self.layout.queue)
        return name

    def finish(self, job: Job, name: str, view: bytes) -> None:
        try:
            atomic.replace(self.layout.state(job.id), view)
        except FileNotFoundError:  # somebody removed the folder: what it came to can still be said
            atomic.make_folders(self.layout.workflow(job.id))
            atomic.replace(self.layout.state(job.id), view)
        # COMMIT: last view – it is durable before the queue forgets the job, so nobody has to look for it later
        atomic.sync_folder(self.layout.workflow(job.id))
        # COMMIT: finished – the job leaves the queue
        queue.remove(self.layout, name)

    def drop_signal(self, workflow: str, name: str) -> None:
        folder = self.layout.signals(workflow)
        atomic.unlink_quietly(os.path.join(folder, os.path.basename(name)))
        if _remove_if_empty(folder):
            atomic.unlink_quietly(self.layout.bell(workflow))
            if os.path.lexists(folder):  # somebody dropped one in between, and it may have been his bell
                dropbox.ring(self.layout, workflow)

    def quarantine(self, workflow: str, reason: str, name: str) -> None:
        quarantine.put_aside(self.layout, workflow, reason, name)

    def unfinished(self) -> Iterator[Unfinished]:
        names, strange = queue.names(self.layout)
        for name in strange:
            quarantine.put_queue_file_aside(self.layout, name, "its name is not that of a job")
        hints = queueview.lines_by_id(_read_or_nothing(self.layout.queue_state))
        for name in names:
            parsed = parse_queue_name(name)
            if parsed is not None:
                workflow = parsed[2]
                hint = _decoded(hints.get(workflow.encode()))
                yield Unfinished(name, workflow, os.path.lexists(self.layout.journal(workflow)), hint)

    def forget(self, found: Unfinished) -> None:
        queue.remove(self.layout, found.name)

    def restore(self, found: Unfinished) -> Job:
        """The job of a queue file. Its folder, or what is missing in it, is made again from the file."""
        path = self.layout.queued(found.name)
        job = queue.read_job(path)
        if job.id != found.workflow or queue.name_of(job) != found.name:
            raise JobError(f"its name does not fit what it says: it is {job.id}", file=path, code="damaged")
        atomic.make_folder(self.layout.workflow(job.id))
        try:
            atomic.link_or_copy(path, self.layout.job(job.id))
        except FileExistsError:
            pass
        queue.link_template(self.layout, job)
        return job


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
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _remove_if_empty(folder: str) -> bool:
    try:
        os.rmdir(folder)
        return True
    except OSError:
        return False
