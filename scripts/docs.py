"""The parts of the documents that are made from the code: `make docs` writes them, a test says when they are late.

A document has places for them, `<!-- made: name -->` to `<!-- end -->`; what stands between is replaced. Everything
else in the documents is written by people.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hybrid_engine.model.events import EVENT_TYPES, StepEvent  # noqa: E402
from hybrid_engine.model.words import FINAL_STEP, FINAL_WORKFLOW  # noqa: E402
from hybrid_engine.rules.transitions import STEP_TABLE, WORKFLOW_TABLE  # noqa: E402
from hybrid_engine.settings import TABLE  # noqa: E402

PLACE = re.compile(r"(<!-- made: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
MARK = re.compile(r"(?:# |\"\"\")COMMIT: (?P<name>[^–\n]+?) – (?P<what>[^\n]+)")


# --- settings


def settings() -> str:
    rows = ["| environment, `.env` | `hybrid.toml` | default | what it is |", "|---|---|---|---|"]
    for setting in TABLE:
        toml = "–" if setting.name == "home" else f"`{setting.name}`"
        rows.append(f"| `{setting.env}` | {toml} | `{setting.default}` | {setting.about} |")
    return "\n".join(rows)


# --- the tables of transitions, and the events


def diagram(table: dict[tuple[str, str], str], first: str, final: frozenset[str]) -> str:
    """A mermaid state diagram; events that lead the same way share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), after in table.items():
        arrows.setdefault((before, after), []).append(event)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    lines += [f"    {status} --> [*]" for status in sorted(final)]
    return "\n".join([*lines, "```"])


def workflow_diagram() -> str:
    return diagram(WORKFLOW_TABLE, "queued", FINAL_WORKFLOW)


def step_diagram() -> str:
    return diagram(STEP_TABLE, "pending", FINAL_STEP)


def events() -> str:
    rows = ["| `type` | fields |", "|---|---|"]
    for name, cls in EVENT_TYPES.items():
        if not name:
            continue  # the base of all events of steps
        told = []
        for field in fields(cls):
            optional = field.default is not MISSING or field.default_factory is not MISSING
            told.append(f"`{field.name}`" + ("?" if optional else ""))
        rows.append(f"| `{name}` | {', '.join(told) or '–'} |")
        assert issubclass(cls, StepEvent) == name.startswith("step_")
    return "\n".join(rows)


# --- the marks at which something becomes durable


def marks() -> list[tuple[str, str, str]]:
    """(name, sentence, file) of every `# COMMIT:` in the code; the seam's own mark stands for its implementation."""
    found = []
    for path in sorted((ROOT / "hybrid_engine").rglob("*.py")):
        if path.parent.name != "ports":
            for match in MARK.finditer(path.read_text()):
                found.append((match["name"], match["what"].rstrip('"'), str(path.relative_to(ROOT))))
    return found


def commits() -> str:
    order = ("accepted", "journal", "folder", "last view", "finished", "thrown away")
    rows = ["| commit | what is true from there on | where |", "|---|---|---|"]
    for name, what, path in sorted(marks(), key=lambda mark: order.index(mark[0]) if mark[0] in order else 99):
        rows.append(f"| **{name}** | {what} | `{path}` |")
    return "\n".join(rows)


# --- the command line


def commands() -> Iterator[tuple[str, Any]]:
    """("hybrid templates list", its click command), in the order of the help."""
    from typer.main import get_command

    from hybrid_engine.cli.app import build

    def below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                yield from below(f"{path} {name}", inner)
        else:
            yield path, command

    yield from below("hybrid", get_command(build()))


def usage() -> str:
    parts = []
    for path, command in commands():
        arguments = [_argument(param) for param in command.params if param.param_type_name == "argument"]
        about = " ".join((command.help or "").split())
        lines = [f"### `{' '.join([path, *arguments])}`", "", about, "", "```bash", command.epilog, "```", ""]
        options = [param for param in command.params if param.param_type_name == "option" and param.name != "help"]
        if options:
            lines += ["| option | |", "|---|---|"]
            lines += [f"| {_names(option)} | {option.help} |" for option in options]
            lines.append("")
        parts.append("\n".join(lines))
    return "\n".join(parts).rstrip()


def _argument(param: Any) -> str:
    name = param.name.rstrip("_") + ("…" if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    off = "".join(f", `{name}`" for name in option.secondary_opts)
    return names + off + ("" if option.is_flag else " …")


# --- writing


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "workflow-diagram": workflow_diagram,
    "step-diagram": step_diagram,
    "events": events,
    "commits": commits,
    "usage": usage,
}


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def renewed(text: str) -> str:
    """A document with its made parts made anew."""
    return PLACE.sub(lambda match: f"{match[1]}\n{PARTS[match['name']]()}\n\n{match[3]}", text)


def main() -> None:
    for path in documents():
        text = path.read_text()
        if (new := renewed(text)) != text:
            path.write_text(new)
            print(f"renewed {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
