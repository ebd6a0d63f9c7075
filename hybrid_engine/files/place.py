"""Where the home is, and whether there is one. Light: `hybrid enqueue` asks this first.

Only the paths are found here; every other setting, and all of `hybrid.toml`, belongs to `hybrid_engine.settings`. When
`hybrid.toml` may say something about a path, `paths_from` gives None and the caller takes the long way.
"""

from __future__ import annotations

import os

from hybrid_engine.errors import HomeError, SettingsError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HOME = "HYBRID_HOME"
WORKFLOWS = "WORKFLOWS_DIR"
QUEUE_STATE = "QUEUE_STATE_FILE"
USER = "HYBRID_USER"

_NEEDED_BY_ENQUEUE = (b"workflows_dir", b"queue_state_file", b"user", b"\\")


def paths_from(environ: Mapping[str, str], cwd: str) -> tuple[Layout, str] | None:
    """The home's layout and the name of the user who asks; None when `hybrid.toml` has to be read to know them."""
    home = os.path.join(cwd, environ.get(HOME) or ".")
    try:
        toml = atomic.read_users_file(os.path.join(home, "hybrid.toml"))
        if any(word in toml for word in _NEEDED_BY_ENQUEUE):
            return None
    except FileNotFoundError:
        pass
    except OSError:
        return None
    said = {name: value for name, value, _ in read_env_file(os.path.join(home, ".env"))}
    said.update(environ)
    layout = Layout(home, said.get(WORKFLOWS) or "workflows", said.get(QUEUE_STATE) or "queue-state.json")
    return layout, said.get(USER) or "anonymous"


def check_is_home(layout: Layout, *, ours: bool = True) -> None:
    """Raise HomeError when there is no complete home. Cheap: three calls of the system.

    With `ours` False it is not asked whose it is and of which format: for those who only look. A home that came out of
    version control lacks what is not kept there; that is made, and all is well.
    """
    misplaced = layout.misplaced()
    if misplaced:
        raise HomeError(misplaced)
    if os.path.exists(layout.format) and os.path.isdir(layout.inbox):
        if not os.path.isdir(layout.workflows):
            raise HomeError(f"{layout.workflows} is missing: `hybrid init {layout.home}` makes what is missing")
        if ours:
            check_is_ours(layout)
        return
    if os.path.isdir(layout.templates) and os.path.isfile(layout.queue_state) and not os.path.lexists(layout.private):
        from hybrid_engine.files.home import complete_clone

        if complete_clone(layout):
            return
    if not os.path.isdir(layout.home):
        raise HomeError(f"{layout.home} does not exist: make a home with `hybrid init {layout.home}`")
    if os.path.exists(layout.format):
        raise HomeError(f"{layout.inbox} is missing: `hybrid init {layout.home}` makes what is missing")
    raise HomeError(f"{layout.home} is not a home: make it one with `hybrid init {layout.home}`, or set HYBRID_HOME")


def check_is_ours(layout: Layout) -> None:
    """Raise HomeError for a home of a newer format, of somebody else, or that others can write to."""
    try:
        found, said = os.stat(layout.home), atomic.read(layout.format, 64)
    except OSError as error:
        raise HomeError(f"{layout.format} cannot be read: {error.strerror}") from None
    if found.st_uid == os.geteuid() and not found.st_mode & 0o022 and said in (b"1\n", b"2\n"):
        return
    from hybrid_engine.files.home import refuse_foreign

    refuse_foreign(layout)


def read_env_file(path: str) -> list[tuple[str, str, int]]:
    """(name, value, line) of each assignment in a `.env` file, which may be missing. Raises SettingsError.

    Understood: `NAME=value`, `export NAME=value`, comments, single quotes (as is) and double quotes (with backslash
    escapes). Nothing is substituted.
    """
    try:
        text = atomic.read_users_file(path).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"is not UTF-8 text (byte {error.start})", file=path) from None
    found = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip().removeprefix("export ").lstrip()
        if not line or line.startswith("#"):
            continue
        name, sign, value = line.partition("=")
        name = name.rstrip()
        if not sign or not name.isidentifier():
            raise SettingsError(f"{raw.strip()!r:.60} is not NAME=value", file=path, line=number)
        found.append((name, _value(value.strip(), path, number), number))
    return found


def _value(text: str, path: str, number: int) -> str:
    quote = text[:1]
    if quote not in ("'", '"') or not quote:
        return text.split(" #", 1)[0].rstrip()
    if quote == "'":
        end = text.find("'", 1)
    else:
        end = 1
        while end < len(text) and text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        end = end if end < len(text) else -1
    rest = text[end + 1 :].strip()
    if end < 0 or (rest and not rest.startswith("#")):
        raise SettingsError(f"the value has no closing {quote} at its end", file=path, line=number)
    inside = text[1:end]
    return inside if quote == "'" else _unescaped(inside)


def _unescaped(text: str) -> str:
    head, *rest = text.replace("\\\\", "\0").split("\\")
    told = {"n": "\n", "t": "\t", "r": "\r"}
    return (head + "".join(told.get(part[:1], part[:1]) + part[1:] for part in rest)).replace("\0", "\\")
