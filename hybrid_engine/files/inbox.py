"""The inbox as files: what lies in it, whether it is complete, what it says, and putting aside what cannot be taken.

A file is complete when nobody has it open for writing; where the kernel will not tell, when it has not changed for a
while. Names that begin with a dot or end in `.tmp`, `.part` or `~` are somebody's work in progress. Nothing is deleted
unless its job is durable elsewhere; what is refused goes to `rejected/` with a reason file that a program can read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files import atomic, jobfile
from hybrid_engine.files.layout import BELL_PREFIX, Layout
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.ids import ANONYMOUS, check_id, is_id, keyed_workflow_id, workflow_id
from hybrid_engine.model.stamps import Stamp, stamp_of_seconds
from hybrid_engine.ports.intake import Found, Parsed
from hybrid_engine.rules.acceptance import make_job
from hybrid_engine.rules.requests import check_request

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")


class FileInbox:
    """`ports.intake.Inbox` on a folder."""

    def __init__(self, layout: Layout, templates: TemplateStore) -> None:
        self._layout = layout
        self._templates = templates
        self._frozen: dict[str, tuple[str, dict[str, Any]]] = {}

    def scan(self) -> tuple[list[Found], list[str]]:
        """What lies in the inbox, oldest first, and the workflows whose bell was rung."""
        found: list[Found] = []
        bells: list[str] = []
        with os.scandir(self._layout.inbox) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    if entry.name.startswith(BELL_PREFIX) and is_id(entry.name[len(BELL_PREFIX) :]):
                        bells.append(entry.name[len(BELL_PREFIX) :])
                elif not entry.name.endswith(UNFINISHED):
                    self._look(entry, found)
        found.sort(key=lambda item: (item.mtime_ns, item.name))
        return found, bells

    @staticmethod
    def _look(entry: os.DirEntry[str], found: list[Found]) -> None:
        try:
            if entry.is_dir(follow_symlinks=False):
                return
            status = entry.stat(follow_symlinks=False)
        except OSError:
            return  # it vanished
        in_place = status.st_mtime_ns == status.st_ctime_ns
        found.append(Found(entry.name, status.st_size, status.st_mtime_ns, status.st_ino, in_place))

    def has_writer(self, name: str) -> bool | None:
        """Is somebody still writing it? None when that cannot be known."""
        try:
            fd = os.open(self._path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False  # not a plain file, or gone: reading it will say so
        try:
            return atomic.has_writer(fd)
        finally:
            os.close(fd)

    def read(self, found: Found, now: Stamp) -> Iterator[Parsed]:
        """The jobs of a file, checked against their templates, or why one cannot be taken. JobError for the whole."""
        templates: dict[str, tuple[str, dict[str, Any]]] = {}  # looked up once per file, not once per line
        with jobfile.JobFile(self._path(found.name), found.name) as file:
            for entry in file:
                yield self._parse(found, entry, now, templates)

    def _parse(
        self, found: Found, entry: jobfile.JobEntry, now: Stamp, templates: dict[str, tuple[str, dict[str, Any]]]
    ) -> Parsed:
        if entry.error is not None:
            return Parsed(entry.line, None, entry.error, entry.data)
        try:
            request = check_request(entry.raw)
            name = request["template"]
            if name not in templates:
                templates[name] = self._template(name)
            version, frozen = templates[name]
            job = make_job(
                request,
                frozen,
                version,
                id=_id_of(request, found, entry.line),
                queued_at=now,
                trigger=request.get("trigger") or "inbox",
                source=found.name,
            )
        except InputError as error:
            return Parsed(entry.line, None, entry.explain(error), entry.data)
        return Parsed(entry.line, job, None, entry.data, has_id="id" in request or "key" in request)

    def _template(self, name: str) -> tuple[str, dict[str, Any]]:
        """The version of the template in use now, frozen on disk, and its JSON object."""
        template = self._templates.current(name)
        known = self._frozen.get(name)
        if known is None or known[0] != template.version:
            self._templates.freeze(template)
            known = self._frozen[name] = (template.version, json.loads(template.to_frozen()))
        return known

    def is_done(self, workflow: str) -> bool:
        """Has this id been accepted before? Asked only of ids that are not in the queue."""
        return os.path.lexists(self._layout.journal(workflow))

    def remove(self, found: Found) -> bool:
        """The jobs of a file are durable elsewhere: it may go. False when it has changed since it was read."""
        path = self._path(found.name)
        try:
            status = os.lstat(path)
        except OSError:
            return True
        if (status.st_ino, status.st_size, status.st_mtime_ns) != (found.inode, found.size, found.mtime_ns):
            return False
        atomic.unlink_quietly(path)
        return True

    def reject(self, found: Found, error: InputError, now: Stamp, lines: list[Parsed] | None = None) -> str:
        """Put a file, or some lines of it, aside with the reason. Returns the name in `rejected/`."""
        atomic.make_folder(self._layout.rejected)
        name = self._free_name(found.name)
        target = os.path.join(self._layout.rejected, name)
        reason = json.dumps(_reason(found.name, error, now, lines), indent=1, ensure_ascii=True) + "\n"
        atomic.write_new(target + ".reason.json", reason.encode())
        if lines is not None:
            atomic.write_new(target, b"".join(line.data.rstrip(b"\r\n") + b"\n" for line in lines))
        else:
            self._move(found.name, target)
        atomic.sync_folder(self._layout.rejected)
        return name

    def _move(self, name: str, target: str) -> None:
        """By link and unlink: a rename out of a watched folder would hold up the events behind it for half a second."""
        source = self._path(name)
        try:
            os.link(source, target, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError:
            atomic.rename(source, target)
            return
        atomic.unlink_quietly(source)

    def _free_name(self, name: str) -> str:
        stem, suffix = os.path.splitext(name)
        if len(os.fsencode(suffix)) > 20:
            stem, suffix = name, ""
        stem = os.fsdecode(os.fsencode(stem)[:200])  # leaves room for a number and for `.reason.json`
        for number in range(1, 1_000_000):
            candidate = f"{stem}{suffix}" if number == 1 else f"{stem}.{number}{suffix}"
            if not os.path.lexists(os.path.join(self._layout.rejected, candidate)):
                return candidate
        raise JobError("rejected/ is full of files of this name", file=name)

    def has_signals(self, workflow: str) -> bool:
        return os.path.lexists(self._layout.signals(workflow))

    def signals(self, workflow: str) -> list[tuple[str, str, dict[str, Any]]]:
        """What was dropped into a workflow's `signals/`: (file name, verb, content), oldest first."""
        folder = self._layout.signals(check_id(workflow))
        found = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith(".") and not entry.name.endswith(UNFINISHED):
                        found.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.name))
        except OSError:
            return []
        return [(name, name.split(".", 1)[0], self._signal_content(folder, name)) for _, name in sorted(found)]

    @staticmethod
    def _signal_content(folder: str, name: str) -> dict[str, Any]:
        try:
            content = json.loads(atomic.read(os.path.join(folder, name), 65536) or b"{}")
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def answer_bell(self, workflow: str) -> None:
        atomic.unlink_quietly(self._layout.bell(workflow))

    def _path(self, name: str) -> str:
        return os.path.join(self._layout.inbox, os.path.basename(name))


def _id_of(request: dict[str, Any], found: Found, line: int | None) -> str:
    """The id of a job: its own, its key's, or one made from the very file, so that a second reading makes the same."""
    from zlib import crc32

    if "id" in request:
        return str(request["id"])
    user = request.get("user") or ANONYMOUS
    if "key" in request:
        return keyed_workflow_id(user, request["template"], request["key"])
    micros = found.mtime_ns // 1000 + (line or 0)
    identity = f"{found.inode} {found.mtime_ns} {found.name} {line}".encode("utf-8", "surrogateescape")
    suffix = f"{crc32(identity):08x}"
    try:
        moment = stamp_of_seconds(micros / 1e6)
    except (OverflowError, ValueError, OSError):
        moment = stamp_of_seconds(0)
    return workflow_id(user, moment, suffix)


def _reason(name: str, error: InputError, now: Stamp, lines: list[Parsed] | None) -> dict[str, Any]:
    reason: dict[str, Any] = {"file": name, "rejected_at": now, **_told(error)}
    if lines is not None:
        reason["lines"] = [{"line": line.line, **_told(line.error)} for line in lines if line.error is not None]
    return reason


def _told(error: InputError) -> dict[str, Any]:
    told: dict[str, Any] = {**error.as_dict(), "reason": str(error)}
    problems = getattr(error, "problems", None)
    if problems:
        told["problems"] = [problem.as_dict() for problem in problems]
    return told
