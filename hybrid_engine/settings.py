"""Every knob, in one table: name, default, environment variable, one sentence. `docs/settings.md` is made from it.

A value comes from the environment, else `.env`, else `hybrid.toml` (both in the home), else the default; `Settings`
remembers which. Nonsense is refused with file and line, never replaced by a default.

What deliberately does not live here: the short way of `hybrid enqueue` to its paths (files.place), and pydantic, whose
import costs more than a whole `hybrid enqueue`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hybrid_engine.errors import InputError, SettingsError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.place import HOME, QUEUE_STATE, USER, WORKFLOWS, read_env_file
from hybrid_engine.model.durations import SECOND, duration_text, microseconds
from hybrid_engine.model.ids import ANONYMOUS, check_user
from hybrid_engine.model.nearest import did_you_mean

LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
_SIZES = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


class Setting(NamedTuple):
    """One knob. `read` makes a value of a text or a TOML value, or raises ValueError; `show` is its reverse."""

    name: str
    env: str
    default: str
    read: Callable[[object], Any]
    about: str
    show: Callable[[Any], str] = str


class Origin(NamedTuple):
    """Where a value came from: "default", "environment", "command line", or a file with its line."""

    source: str
    line: int | None = None

    @property
    def is_file(self) -> bool:
        return self.source.startswith("/")

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


# --- how values are read -------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("expected a text that is not empty")
    return value


def _whole(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        try:
            number = int(value) if isinstance(value, str) and len(value) < 20 else value
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return number

    return read


def _seconds(value: object) -> float:
    return microseconds(value) / SECOND


def _in_words(value: float) -> str:
    return duration_text(round(value * SECOND))


def bytes_of(value: object) -> int:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    unit = _SIZES.get(text[len(digits) :].strip().upper())
    if not digits or unit is None or len(digits) > 15:
        raise ValueError('expected a size such as "16MiB", "500kB" or a number of bytes')
    return int(digits) * unit


def _in_units(value: int) -> str:
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


def _level(value: object) -> str:
    if not isinstance(value, str) or value.upper() not in LEVELS:
        raise ValueError("expected one of " + ", ".join(LEVELS))
    return value.upper()


def _user(value: object) -> str:
    try:
        return check_user(value)
    except InputError as error:
        raise ValueError(error.message) from None


# --- the table -----------------------------------------------------------------------------------------------------

TABLE: tuple[Setting, ...] = (
    Setting("home", HOME, ".", _text,
            "The home folder; the current folder when unset."),
    Setting("workflows_dir", WORKFLOWS, "workflows", _text,
            "The folder of the workflows, relative to the home."),
    Setting("queue_state_file", QUEUE_STATE, "queue-state.json", _text,
            "The view of the queue, relative to the home; its lock is beside it."),
    Setting("max_parallel_nodes", "MAX_PARALLEL_NODES", "4", _whole(1, 1024),
            "The number of attempts that run in parallel."),
    Setting("log_level", "LOG_LEVEL", "INFO", _level,
            "The lowest level that is logged."),
    Setting("user", USER, ANONYMOUS, _user,
            "The user, when a job or a command gives none."),
    Setting("rescan", "HYBRID_RESCAN", "5s", _seconds,
            "How often folders are scanned without a notification: the kernel may lose one.", _in_words),
    Setting("settle", "HYBRID_SETTLE", "500ms", _seconds,
            "How long an incomplete inbox file must be unchanged before it is read again.", _in_words),
    Setting("reject_after", "HYBRID_REJECT_AFTER", "2s", _seconds,
            "How long an unreadable inbox file must be unchanged before it is rejected.", _in_words),
    Setting("grace", "HYBRID_GRACE", "5s", _seconds,
            "The time between SIGTERM and SIGKILL for a step's processes.", _in_words),
    Setting("sync_threads", "HYBRID_SYNC_THREADS", "4", _whole(1, 64),
            "Without effect since one sync commits a round; it is still understood."),
    Setting("log_file_size", "HYBRID_LOG_FILE_SIZE", "10MiB", bytes_of,
            "The size at which the daemon's log file is rotated.", _in_units),
    Setting("log_file_keep", "HYBRID_LOG_FILE_KEEP", "5", _whole(0, 1000),
            "The number of rotated log files that are kept."),
    Setting("worker_idle", "HYBRID_WORKER_IDLE", "60s", _seconds,
            "The idle time after which a process for Python functions exits.", _in_words),
    Setting("min_free", "HYBRID_MIN_FREE", "16MiB", bytes_of,
            "The free space below which no new step is started.", _in_units),
)  # fmt: skip
"""In the order in which `hybrid config` shows them."""

BY_NAME = {setting.name: setting for setting in TABLE}
BY_ENV = {setting.env: setting for setting in TABLE}


class Settings:
    """The values, as attributes. Durations are seconds, sizes are bytes, `home` is absolute."""

    home: str
    workflows_dir: str
    queue_state_file: str
    max_parallel_nodes: int
    log_level: str
    user: str
    rescan: float
    settle: float
    reject_after: float
    grace: float
    sync_threads: int
    log_file_size: int
    log_file_keep: int
    worker_idle: float
    min_free: int

    def __init__(self, values: Mapping[str, Any], origins: Mapping[str, Origin]) -> None:
        self.__dict__.update(values)
        self.origins = dict(origins)

    @property
    def layout(self) -> Layout:
        return Layout(self.home, self.workflows_dir, self.queue_state_file)

    def but(self, **values: object) -> Settings:
        """The same with other values, as given on a command line. Raises SettingsError for nonsense."""
        changed, origins = dict(self.__dict__), dict(self.origins)
        del changed["origins"]
        for name, value in values.items():
            origin = Origin("command line")
            changed[name], origins[name] = _read(BY_NAME[name], value, origin), origin
        return Settings(changed, origins)

    def rows(self) -> list[dict[str, str]]:
        """One row per setting for people and `hybrid config`: name, env, value, from, default, about."""
        return [
            {
                "name": s.name,
                "env": s.env,
                "value": s.show(getattr(self, s.name)),
                "from": str(self.origins[s.name]),
                "default": s.default,
                "about": s.about,
            }
            for s in TABLE
        ]


# --- where values come from ----------------------------------------------------------------------------------------


def load(environ: Mapping[str, str] | None = None, cwd: str | None = None, home: str | None = None) -> Settings:
    """The settings of a home: `home`, else HYBRID_HOME, else the current folder. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    given = home or environ.get(HOME)
    root = os.path.abspath(os.path.join(cwd or os.getcwd(), given or "."))
    values: dict[str, Any] = {s.name: s.read(s.default) for s in TABLE}
    origins = dict.fromkeys(values, Origin("default"))
    for source in (_of_toml(os.path.join(root, "hybrid.toml")), _of_env_file(os.path.join(root, ".env"), root),
                   _of_environ(environ)):  # fmt: skip
        for setting, value, origin in source:
            values[setting.name], origins[setting.name] = _read(setting, value, origin), origin
    origins["home"] = Origin("argument") if home else Origin("environment" if given else "default")
    values["home"] = root
    return Settings(values, origins)


def _read(setting: Setting, value: object, origin: Origin) -> Any:
    try:
        return setting.read(value)
    except ValueError as error:
        told = setting.name if origin.source.endswith(".toml") else setting.env
        raise SettingsError(
            f"{told}={value!r:.60}: {error}" if origin.is_file else f"{told}={value!r:.60} ({origin.source}): {error}",
            file=origin.source if origin.is_file else None,
            line=origin.line,
            code="bad_setting",
        ) from None


_Source = list[tuple[Setting, object, Origin]]


def _of_environ(environ: Mapping[str, str]) -> _Source:
    """An empty variable counts as unset, as everywhere else."""
    return [(s, environ[s.env], Origin("environment")) for s in TABLE if s.env != HOME and environ.get(s.env)]


def _of_env_file(path: str, home: str) -> _Source:
    """Other programs' variables are passed over; one that begins with HYBRID_ must be ours."""
    found: _Source = []
    for name, value, line in read_env_file(path):
        if name == HOME and os.path.abspath(os.path.join(home, value)) != home:
            raise SettingsError(f"{HOME} cannot move the home from inside of it", file=path, line=line)
        if name in BY_ENV and name != HOME and value:
            found.append((BY_ENV[name], value, Origin(path, line)))
        elif name.startswith("HYBRID_") and name not in BY_ENV:
            raise SettingsError(f"no setting is called {name}", file=path, line=line, hint=did_you_mean(name, BY_ENV))
    return found


def _of_toml(path: str) -> _Source:
    try:
        data = atomic.read_users_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", file=path) from None
    import tomllib

    try:
        text = data.decode("utf-8")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise SettingsError(f"is not UTF-8 text (byte {error.start})", file=path) from None
    except tomllib.TOMLDecodeError as error:
        raise _toml_error(str(error), path) from None
    found: _Source = []
    for name, value in table.items():
        line = _line_of(text, name)
        if name not in BY_NAME or name == "home":
            known = [known for known in BY_NAME if known != "home"]
            raise SettingsError(f"no setting is called {name!r}", file=path, line=line, hint=did_you_mean(name, known))
        found.append((BY_NAME[name], value, Origin(path, line)))
    return found


def _toml_error(message: str, path: str) -> SettingsError:
    """tomllib tells the place only inside its message: "… (at line 3, column 5)"."""
    head, _, place = message.partition(" (at line ")
    line, _, column = place.rstrip(")").partition(", column ")
    if line.isdigit() and column.isdigit():
        return SettingsError(head, file=path, line=int(line), column=int(column), code="syntax")
    return SettingsError(message, file=path, code="syntax")


def _line_of(text: str, name: str) -> int | None:
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip(" \t[\"'").startswith(name):
            return number
    return None
