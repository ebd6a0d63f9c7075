"""The inbox as files: what lies in it, what a file says, and how it leaves.

A file is complete when nobody has it open for writing; where the kernel will not tell, when it has not changed for a
while. Names that begin with a dot or end in `.tmp`, `.part` or `~` are somebody's work in progress. Nothing is deleted
unless its job is durable elsewhere; what is refused goes to `rejected/` with a reason file that a program can read.

The id of a job without one of its own is made from the file it came in: inode, birth, line and content. So a second
reading finds the jobs of the first, whatever happened in between: a crash, lines that were appended, a touch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from typing import Any
from zlib import crc32

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files import jobfile
from hybrid_engine.files.claims import Claims
from hybrid_engine.files.dropped import DroppedFile, open_dropped
from hybrid_engine.files.layout import BELL_PREFIX, Layout
from hybrid_engine.files.rejected import Rejected
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.ids import ANONYMOUS, is_id, keyed_workflow_id, workflow_id
from hybrid_engine.model.stamps import Stamp, stamp_of_seconds
from hybrid_engine.ports.intake import Found, Look, Parsed
from hybrid_engine.rules.acceptance import make_job
from hybrid_engine.rules.requests import check_request

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")

_Templates = dict[str, tuple[str, dict[str, Any]]]


class FileInbox:
    """`ports.intake.Inbox` on a folder."""

    def __init__(self, layout: Layout, templates: TemplateStore) -> None:
        self._layout = layout
        self._templates = templates
        self._claims = Claims(layout.inbox, layout.taken, layout.taken_nearby)
        self._rejected = Rejected(layout.rejected)
        self._rejected_name = os.path.basename(layout.rejected)
        self._frozen: _Templates = {}
        self._origins: dict[str, tuple[int, int]] = {}

    def recover(self) -> None:
        self._claims.sweep()

    # --- looking

    def scan(self, known: Collection[str] = ()) -> Look:
        look = Look()
        with os.scandir(self._layout.inbox) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    if name.startswith(BELL_PREFIX) and is_id(name[len(BELL_PREFIX) :]):
                        look.bells.append(name[len(BELL_PREFIX) :])
                elif not name.endswith(UNFINISHED) and name != self._rejected_name:
                    look.names.add(name)
                    if name not in known:
                        _add(look, entry)
        look.found.sort(key=lambda item: (item.mtime_ns, item.name))
        return look

    def open(self, found: Found) -> DroppedFile:
        opened = open_dropped(os.path.join(self._layout.inbox, found.name), found)
        if opened.origin_ns is None and opened.has_writer is not True:
            opened.origin_ns = self._first_seen(opened)
        return opened

    def _first_seen(self, opened: DroppedFile) -> int:
        """Where births are not kept: when it had last been changed as it was read for the first time."""
        inode, mtime_ns = self._origins.get(opened.name, (0, 0))
        if inode != opened.inode:
            mtime_ns = opened.status.st_mtime_ns
            self._origins[opened.name] = (opened.inode, mtime_ns)
        return mtime_ns

    # --- reading

    def jobs(self, opened: DroppedFile, now: Stamp) -> Iterator[Parsed]:
        templates: _Templates = {}  # looked up once per file, not once per line
        for entry in opened.entries():
            yield self._parsed(opened, entry, now, templates)

    def _parsed(self, opened: DroppedFile, entry: jobfile.JobEntry, now: Stamp, templates: _Templates) -> Parsed:
        parsed = Parsed(entry.line, None, entry.error, entry.data, is_terminated=entry.is_terminated)
        if entry.error is not None:
            return parsed
        try:
            self._understand(parsed, opened, entry, now, templates)
        except InputError as error:
            parsed.error = entry.explain(error)
        return parsed

    def _understand(
        self, parsed: Parsed, opened: DroppedFile, entry: jobfile.JobEntry, now: Stamp, templates: _Templates
    ) -> None:
        request = check_request(entry.raw)
        if "id" in request and not (opened.owns(request["id"]) or request["id"] == _keyed_id(request)):
            raise JobError("is given by the engine: use `key`", path="id", code="reserved")
        name = request["template"]
        if name not in templates:
            templates[name] = self._template(name)
        version, frozen = templates[name]
        parsed.job = make_job(
            request,
            frozen,
            version,
            id=_id_of(request, opened, entry),
            queued_at=now,
            trigger=request.get("trigger") or "inbox",
            source=opened.name,
        )
        parsed.is_own, parsed.has_key = "id" in request, "key" in request

    def _template(self, name: str) -> tuple[str, dict[str, Any]]:
        """The version of the template in use now, frozen on disk, and its JSON object."""
        template = self._templates.current(name)
        known = self._frozen.get(name)
        if known is None or known[0] != template.version:
            self._templates.freeze(template)
            known = self._frozen[name] = (template.version, json.loads(template.to_frozen()))
        return known

    def remove(self, opened: DroppedFile) -> bool:
        path = self._claim(opened)
        if path is None:
            return not os.path.lexists(os.path.join(self._layout.inbox, opened.name))
        self._drop(opened, path)
        self._rejected.forget(opened.name)
        return True

    def remove_but(self, opened: DroppedFile, lines: list[Parsed], error: InputError, now: Stamp) -> str | None:
        path = self._claim(opened)
        if path is None:
            return None
        try:
            put = self._rejected.put_lines(opened.name, lines, error, now)
        except BaseException:
            self._claims.put_back(opened.name)
            raise
        self._drop(opened, path)
        return put

    def reject(self, found: Found, opened: DroppedFile | None, error: InputError, now: Stamp) -> str | None:
        path = self._claim(opened) if opened is not None else self._claim_unopened(found)
        if path is None:
            return None
        try:
            put = self._rejected.move(path, found.name, error, now)
        except BaseException:
            self._claims.put_back(found.name)
            raise
        self._origins.pop(found.name, None)
        return put

    def _claim(self, opened: DroppedFile) -> str | None:
        """Where the very file that was read is now; None when it is gone, or has changed and is back in the inbox."""
        path = self._claims.claim(opened.name)
        if path is None:
            return None
        if os.lstat(path).st_ino == opened.inode and opened.is_as_read():
            return path
        self._claims.put_back(opened.name)
        return None

    def _claim_unopened(self, found: Found) -> str | None:
        """The same for what is no plain file, or may not be opened."""
        path = self._claims.claim(found.name)
        if path is None:
            return None
        status = os.lstat(path)
        if (status.st_ino, status.st_size, status.st_mtime_ns) == found.mark:
            return path
        self._claims.put_back(found.name)
        return None

    def _drop(self, opened: DroppedFile, path: str) -> None:
        self._origins.pop(opened.name, None)
        try:
            os.unlink(path)
        except OSError:
            self._claims.put_back(opened.name)  # it is known when it is looked at again
            raise


def _add(look: Look, entry: os.DirEntry[str]) -> None:
    try:
        if entry.is_dir(follow_symlinks=False):
            look.folders.append(entry.name)
            return
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return  # it vanished
    look.found.append(Found(entry.name, status.st_size, status.st_mtime_ns, status.st_ino))


def _id_of(request: dict[str, Any], opened: DroppedFile, entry: jobfile.JobEntry) -> str:
    """The id of a job: its own, its key's, or one made from the very file, so that a second reading makes the same."""
    if "id" in request:
        return str(request["id"])
    keyed = _keyed_id(request)
    if keyed is not None:
        return keyed
    micros = (opened.origin_ns or 0) // 1000 + (entry.line or 0)
    suffix = f"{crc32(opened.identity(entry.line, entry.data).encode()):08x}"
    try:
        moment = stamp_of_seconds(micros / 1e6)
    except (OverflowError, ValueError, OSError):
        moment = stamp_of_seconds(0)
    return workflow_id(request.get("user") or ANONYMOUS, moment, suffix)


def _keyed_id(request: dict[str, Any]) -> str | None:
    if "key" not in request:
        return None
    return keyed_workflow_id(request.get("user") or ANONYMOUS, request["template"], request["key"])
