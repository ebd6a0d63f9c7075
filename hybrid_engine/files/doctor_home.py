"""The doctor's look at a home as a whole: format, rights, file system, space, lock, leftovers, templates, inbox.

Single workflows and the queue are examined in doctor_workflows. Only what is safe is repaired, and nothing unreadable
is deleted: leftovers that go are temporary files and leases that nobody holds.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from typing import Any

from hybrid_engine.errors import HybridError, TemplateError
from hybrid_engine.files import atomic, frozen, home, place, queue, queueview, trash
from hybrid_engine.files.dropbox import stamp_now
from hybrid_engine.files.findings import Findings
from hybrid_engine.files.layout import FORMAT, Layout
from hybrid_engine.files.log import overlay, segments
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.template import version_of

LITTLE_SPACE = 100_000_000
"""Bytes below which space is called little; a tenth of it is an error."""
FEW_INODES = 2_000
OLD = 3600.0
"""Seconds after which a temporary file is not somebody's work in progress any more."""

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_format(findings: Findings) -> bool:
    """Is this a home that we understand? If not there is nothing more to examine."""
    layout = findings.layout
    try:
        place.check_is_home(layout, ours=False)
        said = atomic.read(layout.format, 64).decode("ascii", "replace").strip()
    except (HybridError, OSError) as error:
        findings.note("error", "no_home", layout.home, str(error))
        return False
    if not said.isdigit():
        findings.note("error", "bad_format", layout.format, f"says {said!r:.40} instead of a format number")
        return False
    if int(said) > FORMAT:
        text = f"is of format {said}; this program knows up to {FORMAT}: nothing is examined or repaired"
        findings.note("error", "newer_format", layout.home, text)
        return False
    findings.ok("format", layout.format, f"format {said}")
    return True


def check_home(findings: Findings) -> None:
    """All that concerns the home and no single workflow."""
    _rights(findings)
    _place(findings)
    _space(findings)
    _lock(findings)
    _log(findings)
    _temporary_files(findings)
    _leases(findings)
    _inbox(findings)
    _templates(findings)
    _frozen(findings)
    _quarantine(findings)


# --- rights ----------------------------------------------------------------------------------------------------------


def _rights(findings: Findings) -> None:
    layout, wrong = findings.layout, len(findings.all)
    ours_alone = {layout.private, layout.inbox, layout.rejected, layout.queue, layout.workflows, layout.logs}
    for path in layout.folders():
        try:
            found = os.stat(path)
        except OSError as error:
            if path == layout.log and _is_of_format_1(layout):
                continue  # the first engine of this version makes it
            do = _making(path) if isinstance(error, FileNotFoundError) else None
            findings.note("error", "missing_folder", path, f"{error.strerror}", "create it", do, beside=True)
            continue
        if not stat.S_ISDIR(found.st_mode):
            findings.note("error", "missing_folder", path, "is not a folder")
            continue
        check_rights(findings, path, found, private=path in ours_alone)
    for path in (layout.settings_file, layout.env_file):
        if os.path.isfile(path):
            check_rights(findings, path, os.stat(path), private=path == layout.env_file)
    if len(findings.all) == wrong:
        findings.ok("rights", layout.home, "only you can write here")


def _is_of_format_1(layout: Layout) -> bool:
    return atomic.read(layout.format, 64).strip() == b"1"


def check_rights(findings: Findings, path: str, found: os.stat_result, *, private: bool) -> None:
    """Owner, and what others may do."""
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid():
        findings.note("error", "foreign", path, f"belongs to user {found.st_uid}, not to you (user {os.geteuid()})")
    elif mode & _OTHERS_WRITE:
        narrow = mode & ~_OTHERS if private else mode & ~_OTHERS_WRITE
        text = f"can be written to by others (mode {mode:04o}), who could run commands as you"
        findings.note("error", "open_to_others", path, text, f"chmod {narrow:04o}", _chmod(path, narrow), beside=True)
    elif private and mode & _OTHERS:
        narrow = mode & ~_OTHERS
        text = f"can be read by others (mode {mode:04o})"
        findings.note("info", "readable", path, text, f"chmod {narrow:04o}", _chmod(path, narrow), beside=True)


def _making(path: str) -> Any:
    return lambda: atomic.make_folders(path)


def _unlinking(path: str) -> Any:
    return lambda: os.unlink(path)


def _chmod(path: str, mode: int) -> Any:
    return lambda: os.chmod(path, mode)


# --- where the home lies ---------------------------------------------------------------------------------------------


def _place(findings: Findings) -> None:
    layout = findings.layout
    kind = home.file_system(layout.home)
    try:
        unwise = home.warnings(layout)
    except OSError:
        unwise = []  # a folder is missing, which has been told
    for text in unwise:
        findings.note("warning", "file_system", layout.home, text)
    if kind.startswith("fuse."):
        text = f"is on FUSE ({kind[5:]}): whether a lock holds and a sync reaches the disk is up to its driver"
        findings.note("warning", "file_system", layout.home, text)
    elif not unwise:
        findings.ok("file_system", layout.home, f"is on {kind or 'a file system of unknown kind'}")


def _space(findings: Findings) -> None:
    for path in dict.fromkeys((findings.layout.home, findings.layout.workflows)):
        try:
            found = os.statvfs(path)
        except OSError:
            continue
        free, inodes = found.f_bavail * found.f_frsize, found.f_favail
        few = found.f_files > 0 and inodes < FEW_INODES
        text = f"{free / 1e6:,.0f} MB" + (f" and {inodes:,} inodes" if found.f_files else "") + " free"
        if found.f_flag & os.ST_RDONLY:
            findings.note("error", "read_only", path, "is on a read-only file system")
        elif free < LITTLE_SPACE or few:
            severe = free < LITTLE_SPACE / 10 or (few and inodes < FEW_INODES / 10)
            findings.note(
                "error" if severe else "warning", "space", path, f"little space: {text} (`hybrid prune` helps)"
            )
        elif path == findings.layout.home or os.stat(path).st_dev != os.stat(findings.layout.home).st_dev:
            findings.ok("space", path, text)


def _lock(findings: Findings) -> None:
    layout = findings.layout
    if findings.engine is not None:
        who = findings.engine
        pid, host, since = (who.get(name, "?") for name in ("pid", "host", "started_at"))
        text = f"an engine is running: pid {pid} on {host} since {since}"
        findings.ok("engine", layout.lock, text)
        return
    said = {} if findings.alone else _lock_text(layout)
    if said.get("pid"):
        text = (
            f"no engine is running; the last one (pid {said['pid']}) was not shut down cleanly: the next one recovers"
        )
        findings.note("info", "engine", layout.lock, text)
    else:
        findings.ok("engine", layout.lock, "no engine is running")


def _lock_text(layout: Layout) -> dict[str, Any]:
    from hybrid_engine.model.jsontext import decode

    try:
        said = decode(atomic.read(layout.lock, 4096) or b"{}")
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


# --- the commit log -------------------------------------------------------------------------------------------------


def _log(findings: Findings) -> None:
    """While no engine runs: what the last one had no time to put in its place. A repair has emptied the log before."""
    layout = findings.layout
    if findings.engine is not None:
        return
    try:
        waiting, damaged = len(overlay.lines(layout, engine_lives=False)), segments.read_all(layout.log).damaged
    except OSError as error:
        findings.note("error", "log", layout.log, f"cannot be read: {error.strerror}")
        return
    if damaged:
        text = f"{sum(len(data) for *_, data in damaged)} bytes of it are damaged: the next engine keeps a copy"
        findings.note("warning", "log", layout.log, text)
    if waiting and findings.alone:
        findings.note(
            "error", "log", layout.log, f"what it holds of {waiting} workflows cannot be put in their folders"
        )
    elif waiting:
        text = f"holds the last facts of {waiting} workflows: the next engine, or a repair, puts them in their folders"
        findings.note("info", "log", layout.log, text)


# --- leftovers -------------------------------------------------------------------------------------------------------


def _temporary_files(findings: Findings) -> None:
    layout = findings.layout
    for folder in (layout.tmp, layout.home, layout.queue, layout.frozen, layout.frozen_names, layout.private):
        for name in _names(folder):
            path = os.path.join(folder, name)
            if folder == layout.tmp or name.endswith(".tmp"):
                leftover(findings, path)


def leftover(findings: Findings, path: str) -> None:
    """A temporary file: told, and removed, when it is old or nobody can be writing it."""
    try:
        found = os.lstat(path)
    except OSError:
        return
    old = abs(time.time() - found.st_mtime) > OLD
    if stat.S_ISREG(found.st_mode) and (old or findings.alone):
        text = "is left over from an interrupted write"
        findings.note("info", "leftover", path, text, "remove it", lambda: os.unlink(path), beside=old)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def check_trash(findings: Findings, forget: trash.Forget | None) -> None:
    """What an interrupted `prune` left. `forget` takes workflows out of the index."""
    entries = trash.entries(findings.layout)
    if not entries:
        return

    def do() -> None:
        problems: list[str] = []
        with trash.held(findings.layout):
            trash.empty(findings.layout, forget or (lambda workflows: False), problems.append)
        if trash.entries(findings.layout):
            raise HybridError("; ".join(problems[:3]) or "the index cannot be written")

    text = f"{len(entries)} removed workflows are not deleted completely: a `prune` was interrupted, or is running"
    findings.note("info", "trash", findings.layout.trash, text, "empty it", do, beside=True)


def _leases(findings: Findings) -> None:
    """Files of function workers that are gone. A running engine tends to them itself."""
    if findings.engine is not None:
        return
    folder = findings.layout.workers
    names = _names(folder)
    for name in names:
        path = os.path.join(folder, name)
        stem = os.path.splitext(path)[0]
        if not _is_held(stem):
            text = "was left by a function worker that is gone"
            findings.note("info", "lease", path, text, "remove it", _unlinking(path))


def _is_held(path: str) -> bool:
    try:
        fd = os.open(path, atomic.READ)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(fd)


def _inbox(findings: Findings) -> None:
    layout = findings.layout
    names = [name for name in _names(layout.inbox) if not name.startswith(".") and name != "rejected"]
    if names and findings.engine is None:
        findings.note("info", "inbox", layout.inbox, f"{len(names)} files wait for an engine")
    for name in _names(layout.inbox):
        if name.startswith(".") and name.endswith(".tmp"):
            leftover(findings, os.path.join(layout.inbox, name))
    rejected = [name for name in _names(layout.rejected) if not name.endswith(".reason.json")]
    if rejected:
        text = f"{len(rejected)} job files were rejected; the reason is beside each"
        findings.note("info", "rejected", layout.rejected, text)


def _quarantine(findings: Findings) -> None:
    folder = findings.layout.quarantine
    for name in _names(folder):
        findings.note("warning", "quarantine", os.path.join(folder, name), f"is in quarantine: {_reason(folder, name)}")


def _reason(folder: str, name: str) -> str:
    from hybrid_engine.model.jsontext import decode

    try:
        return str(decode(atomic.read(os.path.join(folder, name, "reason.json")))["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return "bytes of the log that cannot be read" if name.startswith("log-") else "no reason is noted"


# --- templates -------------------------------------------------------------------------------------------------------


def _templates(findings: Findings) -> None:
    layout = findings.layout
    store = TemplateStore(layout)
    names, broken = store.names(), 0
    pointers = frozen.pointers(layout)
    for name in names:
        try:
            store.load(name)
        except HybridError as error:
            broken += 1
            use = "its last good version stays in use" if pointers.get(name) else "it cannot be used"
            findings.note("warning", "template", os.path.join(layout.templates, name), f"{error} ({use})")
    for problem in store.strays():
        findings.note("warning", "template", os.path.join(layout.home, problem.file or ""), str(problem))
    if names and not broken:
        findings.ok("templates", layout.templates, f"{len(names)} templates are valid")
    for name, version in pointers.items():
        path = layout.frozen_name(name)
        if version is None or not os.path.exists(layout.frozen_template(version)):
            text = "points at a definition that is not there" if version else "cannot be read"
            findings.note("warning", "pointer", path, text, "remove it", _unlinking(path))


def _frozen(findings: Findings) -> None:
    """Definitions are named by what is in them; workflows rely on it."""
    for version in frozen.versions(findings.layout):
        path = findings.layout.frozen_template(version)
        try:
            if version_of(atomic.read(path)) != version:
                raise TemplateError("is not what its name says: the file was changed")
        except (HybridError, OSError) as error:
            findings.note("error", "definition", path, str(error))


# --- the view of the queue -------------------------------------------------------------------------------------------


def check_queue_view(findings: Findings) -> None:
    """`queue-state.json`, after the queue itself has been examined."""
    layout = findings.layout
    path, problem, severity = layout.queue_state, None, "warning"
    view = queueview.read(layout)
    if view is None:
        problem = "cannot be read" if os.path.lexists(path) else "is missing"
        severity = "warning" if os.path.lexists(path) else "info"
    elif findings.engine is None:
        severity, problem = _compared(layout, view)
    if problem is None:
        findings.ok("queue_view", path, "fits the queue")
    else:
        known: dict[bytes, bytes] = {}
        do = lambda: queueview.bring_up_to_date(layout, stamp_now(), known)  # noqa: E731
        findings.note(severity, "queue_view", path, problem, "rewrite it", do)


def _compared(layout: Layout, view: dict[str, Any]) -> tuple[str, str | None]:
    """How the view differs from the queue while no engine runs."""
    if view.get("engine") is not None or view.get("queue_mtime_ns") != queueview.queue_mtime(layout):
        return "info", "is older than the queue (nothing has brought it up to date since the engine ended)"
    names, _ = queue.names(layout)
    shown = [job.get("id") for job in view["jobs"] if isinstance(job, dict)]
    if shown != [name[queueview.NAME_HEAD : -5] for name in names]:
        return "warning", "does not show the jobs that are in the queue"
    return "ok", None
