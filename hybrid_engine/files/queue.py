"""The queue folder: one file per accepted, unfinished job, named so that `ls` is the order of work.

The steps of an acceptance, each for a whole batch:  1. `lay` – folder, `job.json`, frozen template;  2. sync each
`job.json`;  3. `announce` – a second name for `job.json` in `queue/`;  4. sync `queue/` and `workflows/`.  A name in
`queue/` is therefore always complete, and the job exists from the moment that name is durable. Light module.
"""

from __future__ import annotations

import os

from hybrid_engine.errors import JobError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.ids import parse_queue_name, queue_name
from hybrid_engine.model.job import FORMAT, Job
from hybrid_engine.model.jsontext import decode, encode


def name_of(job: Job) -> str:
    """The name of the job's file in `queue/`."""
    return queue_name(job.priority, job.due_at, job.id)


def lay(layout: Layout, job: Job) -> str:
    """Make the workflow's folder with a synced `job.json`, and `template.json`; returns the path of `job.json`.

    May be called again after a crash: what is there is made again. The frozen template must exist already.
    """
    folder = layout.workflow(job.id)
    path = os.path.join(folder, "job.json")
    data = (encode(job.as_record()) + "\n").encode("utf-8", "backslashreplace")
    if not atomic.make_folder(folder):
        atomic.unlink_quietly(path)
    atomic.write_new(path, data)
    link_template(layout, job)
    return path


def link_template(layout: Layout, job: Job) -> None:
    """Give the workflow its frozen template: a second name of the one file that holds this version."""
    ours = os.path.join(layout.workflow(job.id), "template.json")
    try:
        atomic.link_or_copy(layout.frozen_template(job.version), ours)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if not os.path.lexists(ours):
            raise JobError(
                f"the definition of its template, {job.template} {job.version}, is gone", file=ours, code="missing"
            ) from None


def announce(layout: Layout, job: Job) -> str:
    """Give the job its name in `queue/`; returns it. Durable once `queue/` is synced."""
    name = name_of(job)
    try:
        atomic.link_or_copy(os.path.join(layout.workflow(job.id), "job.json"), layout.queued(name))
    except FileExistsError:
        pass
    return name


def accept_now(layout: Layout, job: Job) -> str:
    """All four steps for one job, by a process that holds the lock; returns the queue name."""
    lay(layout, job)
    announce_all(layout, [job])
    return name_of(job)


def announce_all(layout: Layout, jobs: list[Job]) -> None:
    """The third and fourth step for a batch."""
    for job in jobs:
        announce(layout, job)
    # COMMIT: accepted – the jobs exist from here on; their folders' names may still be made again from the queue
    atomic.sync_folder(layout.queue)
    atomic.sync_folder(layout.workflows)


def read_job(path: str) -> Job:
    """The job of a file in `queue/`, or of a `job.json`. Raises JobError when it cannot be one of ours."""
    try:
        record = decode(atomic.read(path))
        if not isinstance(record, dict):
            raise TypeError("not an object")
        if record.get("format", FORMAT) > FORMAT:
            raise JobError("it was written by a newer version", file=path, code="newer_format")
        return Job.from_record(record)
    except (ValueError, TypeError) as error:
        raise JobError(f"not a job file of this program: {error}", file=path, code="damaged") from None
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in atomic.PASSING:
            raise
        raise JobError(f"cannot be read: {error.strerror}", file=path, code="damaged") from None


def is_known(layout: Layout, workflow: str) -> bool:
    """Has this id been accepted before? Only for ids that are not in the queue: a journal is the sign."""
    return os.path.lexists(layout.journal(workflow))


def names(layout: Layout) -> tuple[list[str], list[str]]:
    """The names in `queue/`, in order, and those that are not names of jobs."""
    good: list[str] = []
    strange: list[str] = []
    for name in os.listdir(layout.queue):
        (good if parse_queue_name(name) else strange).append(name)
    good.sort()
    return good, sorted(strange)


def remove(layout: Layout, name: str) -> None:
    """The job is finished. Needs no sync: a name that comes back is found to be finished and removed again."""
    try:
        os.unlink(layout.queued(name))
    except FileNotFoundError:
        pass
