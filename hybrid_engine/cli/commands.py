"""The table of commands: where each one is, the group it is listed in, and two examples for its help.

A command's module is imported when the command is asked for, or when help needs all of them.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

DAEMON, JOBS, LOOKING, TEMPLATES, HOME = "Daemon", "Jobs", "Looking", "Templates and functions", "Home"
GROUPS = (DAEMON, JOBS, LOOKING, TEMPLATES, HOME)
"""In the order of the help."""

FAMILIES = {
    "templates": ("List, check and show templates.", TEMPLATES),
    "functions": ("List the Python functions that steps can call.", TEMPLATES),
    "schema": ("Print JSON Schemas, for editors and programs.", TEMPLATES),
}
"""Commands that have commands of their own."""


class Entry(NamedTuple):
    name: str
    where: str
    group: str
    examples: tuple[str, str]


COMMANDS = (
    Entry("start", "daemon:start", DAEMON, ("hybrid start --detach", "hybrid start --until-idle --slots 4")),
    Entry("status", "daemon:status", DAEMON, ("hybrid status", "hybrid status --json")),
    Entry("stop", "daemon:stop", DAEMON, ("hybrid stop", "hybrid stop --timeout 5")),
    Entry(
        "enqueue", "jobs:enqueue", JOBS,
        (
            "hybrid enqueue data_processing -p threshold:=0.5 --label team=data",
            "hybrid enqueue data_processing --delay 10m --dry-run",
        ),
    ),
    Entry(
        "wait", "waiting:wait", JOBS,
        ("hybrid wait 1a2b3c --timeout 600", "hybrid wait --status running --template data_processing"),
    ),
    Entry(
        "cancel", "asking:cancel", JOBS,
        ("hybrid cancel 1a2b3c --reason 'wrong file'", "hybrid cancel --template data_processing --yes"),
    ),
    Entry("pause", "asking:pause", JOBS, ("hybrid pause 1a2b3c 4d5e6f", "hybrid pause --all --yes")),
    Entry("resume", "asking:resume", JOBS, ("hybrid resume 1a2b3c", "hybrid resume --label team=data")),
    Entry(
        "retry", "retrying:retry", JOBS,
        ("hybrid retry 1a2b3c --from load --dry-run", "hybrid retry --status failed --since 1d"),
    ),
    Entry(
        "list", "listing:list_workflows", LOOKING,
        ("hybrid list --status failed --since 1d", "hybrid list --limit 0 --json"),
    ),
    Entry("show", "look:show", LOOKING, ("hybrid show 1a2b3c", "hybrid show 1a2b3c --json")),
    Entry("why", "look:why", LOOKING, ("hybrid why 1a2b3c", "hybrid why 1a2b3c --json")),
    Entry("queue", "look:queue", LOOKING, ("hybrid queue", "hybrid queue --limit 5 --json")),
    Entry("logs", "logs:logs", LOOKING, ("hybrid logs --follow", "hybrid logs 1a2b3c load --stream stderr --lines 20")),
    Entry("tail", "logs:tail", LOOKING, ("hybrid tail 1a2b3c", "hybrid tail 1a2b3c --no-follow --json")),
    Entry(
        "templates list", "templates:list_templates", TEMPLATES,
        ("hybrid templates list", "hybrid templates list --json"),
    ),
    Entry(
        "templates check", "templates:check", TEMPLATES,
        ("hybrid templates check", "hybrid templates check data_processing"),
    ),
    Entry(
        "templates show", "templates:show", TEMPLATES,
        ("hybrid templates show data_processing", "hybrid templates show data_processing --json"),
    ),
    Entry(
        "functions list", "templates:list_functions", TEMPLATES,
        ("hybrid functions list", "hybrid functions list --json"),
    ),
    Entry(
        "schema template", "schema:template", TEMPLATES,
        ("hybrid schema template", "hybrid schema template > template.json"),
    ),
    Entry("schema job", "schema:job", TEMPLATES, ("hybrid schema job", "hybrid schema job > job.json")),
    Entry("init", "home:init", HOME, ("hybrid init my-home", "hybrid init --no-sample .")),
    Entry("config", "home:config", HOME, ("hybrid config", "hybrid config --json")),
    Entry(
        "prune", "pruning:prune", HOME,
        ("hybrid prune --older-than 30d --dry-run", "hybrid prune --keep 1000 --status completed --yes"),
    ),
    Entry("remove", "pruning:remove", HOME, ("hybrid remove 1a2b3c", "hybrid remove 1a2b3c 4d5e6f --yes")),
    Entry("doctor", "home:doctor", HOME, ("hybrid doctor", "hybrid doctor --repair")),
)  # fmt: skip

_NAMES = frozenset(entry.name.split()[0] for entry in COMMANDS)
_WITH_VALUE = frozenset({"--home", "-C", "--color"})


def with_color_first(argv: list[str]) -> list[str]:
    """The same command line with `--color`, which is of all commands, before the command: it may stand behind, too."""
    end = argv.index("--") if "--" in argv else len(argv)
    front: list[str] = []
    rest: list[str] = []
    words = iter(argv[:end])
    for word in words:
        if word == "--color":
            front += [word, *islice(words, 1)]
        else:
            (front if word.startswith("--color=") else rest).append(word)
    return front + rest + argv[end:]


def wanted(argv: list[str]) -> str | None:
    """The command that a command line names; None when it is none that is known, so that all are needed."""
    words = iter(argv)
    for word in words:
        if word in _WITH_VALUE:
            next(words, None)
        elif not word.startswith("-"):
            return word if word in _NAMES else None
        elif word in ("--help", "-h"):
            return None
    return None


def chosen(argv: list[str]) -> list[Entry]:
    """The commands that this command line may need."""
    name = wanted(argv)
    return [entry for entry in COMMANDS if name in (None, entry.name.split()[0])]
