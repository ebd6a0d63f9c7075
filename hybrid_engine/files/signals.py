"""The `signals/` folders of workflows: what lies in them, read as strictly as everything that strangers write.

A signal's file is named `<verb>.<something unique>`. One that was dropped by hand under a bare verb gets a name of its
own first, made from the very file: names are remembered when they were acted on, and nobody may drop the same twice.
Nothing unreadable is deleted: it goes to `inbox/rejected/`, with its reason.
"""

from __future__ import annotations

import os
from typing import Any

from hybrid_engine.engine.commands import VERBS
from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files import atomic
from hybrid_engine.files.inbox import UNFINISHED
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.rejected import Rejected
from hybrid_engine.files.strict import open_plain_file, parse_json
from hybrid_engine.model.ids import check_id
from hybrid_engine.model.nearest import did_you_mean
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.ports.intake import DroppedSignal

MAX_SIGNAL = 65_536
"""Bytes of a signal's file."""
MAX_TEXT = 500
"""Characters that are kept of a text."""
TEXTS = ("by", "reason")
"""The fields that are only there to be read."""
FIELDS = (*TEXTS, "from", "step")


class SignalFolders:
    """`ports.intake.Signals` on the folders of a home."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._rejected = Rejected(layout.rejected)

    def has_any(self, workflow: str) -> bool:
        return os.path.lexists(self._layout.signals(workflow))

    def has(self, workflow: str, name: str) -> bool:
        return os.path.lexists(os.path.join(self._layout.signals(workflow), name))

    def read(self, workflow: str) -> tuple[list[DroppedSignal], bool]:
        folder = self._layout.signals(check_id(workflow))
        dropped: list[DroppedSignal] = []
        must_wait = False
        for name in _names(folder):
            try:
                signal = _read(folder, name)
            except FileNotFoundError:
                continue  # the engine has just removed it
            except OSError:
                signal = None
            if signal is None:
                must_wait = True
            else:
                dropped.append(signal)
        return dropped, must_wait

    def sync(self, workflow: str) -> None:
        try:
            atomic.sync_folder(self._layout.signals(workflow))
        except FileNotFoundError:
            pass  # removed with all that was in it, or the workflow was pruned

    def put_aside(self, workflow: str, dropped: DroppedSignal, now: Stamp) -> str:
        source = os.path.join(self._layout.signals(workflow), dropped.name)
        error = dropped.error or JobError("is no signal", file=dropped.name)
        put = self._rejected.move(source, f"{workflow}.{dropped.name}.signal", error, now)
        try:
            os.rmdir(self._layout.signals(workflow))
        except OSError:
            pass  # there are more
        return put

    def answer_bell(self, workflow: str) -> None:
        atomic.unlink_quietly(self._layout.bell(workflow))


def _names(folder: str) -> list[str]:
    """The signals in a folder, oldest first; within a tick of the file system's clock, as their names say."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and not entry.name.endswith(UNFINISHED):
                    written_at = entry.stat(follow_symlinks=False).st_mtime_ns
                    found.append((written_at, entry.name.partition(".")[2], entry.name))
    except OSError:
        return []
    return [name for _, _, name in sorted(found)]


def _read(folder: str, name: str) -> DroppedSignal | None:
    """The signal of a file; None when it is being written. OSError when it cannot be read just now."""
    verb = name.split(".", 1)[0]
    try:
        if verb not in VERBS:
            hint = did_you_mean(verb, VERBS)
            raise JobError(f"there is no signal {verb!r:.80}", code="unknown_signal", hint=hint)
        data = _content(os.path.join(folder, name))
        if data is None:
            return None
        content = _checked(data)
        Signal.of(verb, name, content)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in atomic.PASSING:
            raise cause from None
        if error.code == "vanished":
            raise FileNotFoundError(name) from None
        error.file = name
        return DroppedSignal(name, verb, error=error)
    return DroppedSignal(_unique_name(folder, name), verb, content)


def _content(path: str) -> bytes | None:
    """What the file says; None while somebody writes it."""
    fd, status = open_plain_file(path, MAX_SIGNAL)
    try:
        alone = atomic.lock_out_writers(fd)
        try:
            return None if alone is False else os.pread(fd, status.st_size + 1, 0)
        finally:
            if alone:
                atomic.let_writers_in(fd)
    finally:
        os.close(fd)


def _checked(data: bytes) -> dict[str, str]:
    content: Any = parse_json(data, file="signal") if data.strip() else {}
    if not isinstance(content, dict):
        raise JobError("a signal says a JSON object, or nothing", code="wrong_type")
    for field, value in content.items():
        if field not in FIELDS:
            raise JobError("unknown field", path=f"{field:.80}", code="unknown_field", hint=did_you_mean(field, FIELDS))
        if value is not None and not isinstance(value, str):
            raise JobError("must be text", path=field, code="wrong_type")
    return {field: value[:MAX_TEXT] if field in TEXTS else value for field, value in content.items() if value}


def _unique_name(folder: str, name: str) -> str:
    """The name the file has from now on. Made again after a crash it is the same: that is how it is known."""
    if "." in name:
        return name
    path = os.path.join(folder, name)
    status = os.lstat(path)
    unique = f"{name}.{status.st_mtime_ns:x}-{status.st_ino:x}"
    atomic.rename(path, os.path.join(folder, unique))
    return unique
