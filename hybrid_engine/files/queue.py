"""The queue folder: one name per accepted, unfinished job, so made that `ls` is the order of work.

A name in `queue/` is a second name of the workflow's journal, whose first line, `workflow_created`, says all that was
asked; a home of format 1 has job files there, with a second name `job.json` in the workflow's folder. The names follow
from commits (`files.log`), and are durable by checkpoints. Light module.
"""

from __future__ import annotations

import os
from zlib import crc32

from hybrid_engine.errors import JobError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.ids import parse_queue_name, queue_name
from hybrid_engine.model.job import FORMAT, Job
from hybrid_engine.model.jsontext import decode, encode

SEED = 0x48594252
"""Of the checksums of journal lines."""
_HEAD = 65_536
_CREATED = (
    "template", "version", "queued_at", "due_at", "priority", "user", "trigger", "params", "labels", "steps", "key",
    "source", "parent",
)  # fmt: skip
_DEFAULTS = {"priority": 0, "user": "anonymous", "trigger": "inbox"}


def name_of(job: Job) -> str:
    """The name of the job in `queue/`."""
    return queue_name(job.priority, job.due_at, job.id)


def created_line(job: Job, at: str) -> bytes:
    """The first line of the job's journal, as `files.journal` would write it."""
    record: dict[str, object] = {"n": 1, "at": at, "type": "workflow_created", "workflow": job.id}
    for name in _CREATED:
        value = getattr(job, name)
        if value is not None and value != _DEFAULTS.get(name):
            record[name] = value
    body = encode(record).encode("utf-8", "backslashreplace")
    return b'%b,"crc":"%08x"}\n' % (body[:-1], crc32(body, SEED))


def job_of_line(line: bytes, where: str) -> Job:
    """The job of the first line of a journal. Raises JobError when it is not one, or damaged."""
    body = line[:-18] + b"}"
    if line[-18:] != b',"crc":"%08x"}' % crc32(body, SEED):
        raise JobError("its first line is damaged", file=where, code="damaged")
    return _job_of_created(decode(body), where)


def _job_of_created(record: dict[str, object], where: str) -> Job:
    if record.get("type") != "workflow_created":
        raise JobError("its first line is not that of a workflow", file=where, code="damaged")
    fields = {name: value for name, value in record.items() if name not in ("n", "at", "type", "batch", "forked_from")}
    return Job(id=fields.pop("workflow"), **fields)  # type: ignore[arg-type]


def read_job(path: str) -> Job:
    """The job of a name in `queue/`, of a journal, or of a `job.json`. Raises JobError when it cannot be one."""
    try:
        line = _first_line(path)
        if line.startswith(b'{"n":'):
            return _checked(job_of_line(line, path), path)
        record = decode(atomic.read(path))
        if not isinstance(record, dict):
            raise TypeError("not an object")
        if record.get("format", FORMAT) > FORMAT:
            raise JobError("it was written by a newer version", file=path, code="newer_format")
        return _checked(Job.from_record(record), path)
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
        raise JobError(f"not a job file of this program: {error}", file=path, code="damaged") from None
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno in atomic.PASSING:
            raise
        raise JobError(f"cannot be read: {error.strerror}", file=path, code="damaged") from None


def _checked(job: Job, path: str) -> Job:
    """What is read from a disk is not trusted to be of the right types."""
    texts = (job.id, job.template, job.version, job.queued_at, job.due_at, job.user, job.trigger)
    if not (all(isinstance(text, str) for text in texts) and type(job.priority) is int):
        raise JobError("not a job file of this program: a field is of a wrong type", file=path, code="damaged")
    if not (isinstance(job.params, dict) and isinstance(job.labels, dict) and isinstance(job.steps, list)):
        raise JobError("not a job file of this program: a field is of a wrong type", file=path, code="damaged")
    return job


def _first_line(path: str) -> bytes:
    data = atomic.read(path, _HEAD)
    line, end, _ = data.partition(b"\n")
    return line if end or len(data) < _HEAD else atomic.read(path).partition(b"\n")[0]


def add(layout: Layout, job: Job) -> str:
    """Give the job its name in `queue/`; returns it. Durable once `queue/` is synced."""
    name = name_of(job)
    for path in (layout.journal(job.id), layout.job(job.id)):
        try:
            atomic.link_or_copy(path, layout.queued(name))
        except FileExistsError:
            pass
        except FileNotFoundError:
            continue
        break
    return name


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
