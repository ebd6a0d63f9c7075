"""Making a home, and looking whether one may be used: owner, rights, format, kind of file system.

`init_home` never overwrites a file and says what it made; `complete_clone` does the same for a home that came out of
version control, where only templates, functions and an empty view of the queue are kept. `open_home` refuses
(HomeError, with the command that helps) what would not be safe, and returns warnings about what is merely unwise.
Neither starts, locks or repairs anything.
"""

from __future__ import annotations

import os
import stat

from hybrid_engine.errors import HomeError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import FORMAT, Layout
from hybrid_engine.files.place import check_is_home

SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample")

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_UNWISE = {
    "tmpfs": "is kept in memory (tmpfs): everything is gone when the machine restarts",
    "ramfs": "is kept in memory (ramfs): everything is gone when the machine restarts",
    "overlay": "is inside of a container's own layer (overlay): everything is gone with the container; mount a volume",
    "aufs": "is inside of a container's own layer (aufs): everything is gone with the container; mount a volume",
    "nfs": "is on NFS: locks and notices from other machines cannot be relied on; use a local disk",
    "nfs4": "is on NFS: locks and notices from other machines cannot be relied on; use a local disk",
    "cifs": "is on a Windows share (cifs): locks and renames cannot be relied on; use a local disk",
    "smb3": "is on a Windows share (smb3): locks and renames cannot be relied on; use a local disk",
    "9p": "is a folder of another machine (9p): locks and syncs cannot be relied on; use a local disk",
    "vboxsf": "is a folder of another machine (vboxsf): locks and syncs cannot be relied on; use a local disk",
    "fuseblk": "is on FUSE: whether a sync reaches the disk is up to its driver",
}


# --- making one ----------------------------------------------------------------------------------------------------


def init_home(layout: Layout, sample: bool = True) -> list[str]:
    """Make what is missing of a home, also in an existing folder; returns the paths it made, seen from the home.

    `.hybrid/format` is written last: a home without it is not one yet, and may be made again.
    """
    _refuse_newer_format(layout)
    made: list[str] = []
    try:
        _make_folders(layout, made)
        if sample:
            _copy_sample(layout, made)
        if not os.path.lexists(layout.format):
            atomic.write_atomic(layout.format, f"{FORMAT}\n".encode())
            made.append(layout.format)
        atomic.sync_folder(layout.home)
    except OSError as error:
        raise HomeError(f"cannot make a home in {layout.home}: {error.strerror} ({error.filename})") from None
    return [os.path.relpath(path, layout.home) + ("/" if os.path.isdir(path) else "") for path in made]


def complete_clone(layout: Layout) -> bool:
    """Make what version control does not keep of a home, and take the write rights of others away, which it may add.

    False when this is not such a home: its mark is `templates/` beside a `queue-state.json` of ours.
    """
    from hybrid_engine.files import queueview

    if not os.path.isdir(layout.templates) or queueview.read(layout) is None:
        return False
    init_home(layout, sample=False)
    return True


def _make_folders(layout: Layout, made: list[str]) -> None:
    missing, path = [], os.path.dirname(layout.home)
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    outside = [os.path.dirname(layout.workflows), os.path.dirname(layout.queue_state)]
    for folder in [*reversed(missing), *layout.folders(), *outside]:
        if folder not in outside or not os.path.isdir(folder):
            atomic.make_folders(os.path.dirname(folder))
            if atomic.make_folder(folder):
                os.chmod(folder, atomic.FOLDER_MODE)
                made.append(folder)
    for folder in layout.folders():
        found = os.stat(folder)
        if found.st_mode & _OTHERS_WRITE and found.st_uid == os.geteuid():
            os.chmod(folder, stat.S_IMODE(found.st_mode) & ~_OTHERS_WRITE)


def _copy_sample(layout: Layout, made: list[str]) -> None:
    for folder, _, names in sorted(os.walk(SAMPLE)):
        target = os.path.join(layout.home, os.path.relpath(folder, SAMPLE))
        for name in sorted(names):
            if name.endswith(".pyc"):
                continue
            if atomic.make_folder(target):
                os.chmod(target, atomic.FOLDER_MODE)
                made.append(target)
            path = os.path.join(target, name)
            if not os.path.lexists(path):
                atomic.write_new(path, atomic.read(os.path.join(folder, name)))
                os.chmod(path, atomic.FILE_MODE)
                made.append(path)


def write_schemas(layout: Layout) -> list[str]:
    """Bring the JSON Schemas up to date that templates name in their first line; returns the paths of changed ones."""
    import json

    from hybrid_engine.rules.schemas import job_schema, template_schema

    written = []
    try:
        atomic.make_folder(layout.schemas)
        for name, schema in (("template", template_schema()), ("job", job_schema())):
            path = os.path.join(layout.schemas, f"{name}.json")
            data = (json.dumps(schema, indent=2) + "\n").encode()
            if not os.path.lexists(path) or atomic.read(path) != data:
                atomic.replace(path, data)
                written.append(os.path.relpath(path, layout.home))
    except OSError as error:
        raise HomeError(f"cannot write {layout.schemas}: {error.strerror}") from None
    return written


# --- looking at one ------------------------------------------------------------------------------------------------


def open_home(layout: Layout, *, writable: bool = True) -> list[str]:
    """Check that this is a home we may use; returns warnings. Raises HomeError with what to do.

    With `writable` False (commands that only look) a home on a read-only disk will do.
    """
    check_is_home(layout)
    _refuse_newer_format(layout)
    for path in (layout.home, layout.private, layout.inbox, layout.queue, layout.workflows):
        _check_rights(path)
        if writable and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            why = "is on a read-only file system" if _is_read_only(path) else "cannot be written to"
            raise HomeError(f"{path} {why}: an engine needs to write there")
    return warnings(layout)


def refuse_foreign(layout: Layout) -> None:
    """Raise HomeError for a home of a newer format, of somebody else, or that others can write to."""
    _refuse_newer_format(layout)
    _check_rights(layout.home)


def _check_rights(path: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        raise HomeError(f"{path}: {error.strerror}: `hybrid init` makes what is missing") from None
    if not stat.S_ISDIR(found.st_mode):
        raise HomeError(f"{path} is not a folder")
    if found.st_uid != os.geteuid():
        raise HomeError(f"{path} belongs to {_user_name(found.st_uid)}, not to you: use a home of your own")
    if found.st_mode & _OTHERS_WRITE:
        raise HomeError(
            f"{path} can be written to by others (mode {stat.S_IMODE(found.st_mode):04o}), who could run commands as "
            f"you: chmod go-w {path}"
        )


def _refuse_newer_format(layout: Layout) -> None:
    try:
        said = atomic.read(layout.format, 64).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return
    except OSError as error:
        raise HomeError(f"{layout.format} cannot be read: {error.strerror}") from None
    if not said.isdigit():
        raise HomeError(
            f"{layout.format} says {said!r:.40} instead of a format number: restore it (this program's: {FORMAT})"
        )
    if int(said) > FORMAT:
        raise HomeError(f"{layout.home} is of format {said}; this program knows up to {FORMAT}: use a newer hybrid")


def _is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def warnings(layout: Layout) -> list[str]:
    """What is unwise about where this home lies, one sentence each."""
    found = []
    for path in dict.fromkeys((layout.home, layout.workflows)):
        reason = _UNWISE.get(file_system(path))
        if reason:
            found.append(f"{path} {reason}")
    if os.stat(layout.inbox).st_dev != os.stat(layout.tmp).st_dev:
        found.append(f"{layout.inbox} is on another file system: jobs are copied instead of moved")
    return found


def file_system(path: str, mounts: str = "/proc/self/mountinfo") -> str:
    """The kind of file system `path` lies on ("ext4", "tmpfs", …), or "" when the kernel does not tell."""
    number = os.stat(path).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    real, best, kind = os.path.realpath(path), -1, ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                fields = before.split(" ")
                point = fields[4].encode("latin-1", "replace").decode("unicode_escape") if "\\" in line else fields[4]
                inside = point == "/" or real == point or real.startswith(point + "/")
                score = len(point) + (1_000_000 if fields[2] == device else 0)
                if inside and score >= best:
                    best, kind = score, after.split(" ", 1)[0]
    except (OSError, IndexError):
        return ""
    return kind
