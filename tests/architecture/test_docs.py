"""The documents say what the code is: every setting, command, field, word, event and commit is in them, and they are
not late. What a document shows as commands is tried in tests/e2e/test_readme.py.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from hybrid_engine import errors
from hybrid_engine.model import template as templates
from hybrid_engine.model.events import EVENT_TYPES
from hybrid_engine.model.job import REQUEST_FIELDS
from hybrid_engine.model.words import STEP_STATUSES, WORKFLOW_STATUSES
from hybrid_engine.rules.expression_functions import ARITY
from hybrid_engine.rules.linting import STEP_FIELDS, WORKFLOW_FIELDS
from hybrid_engine.settings import TABLE

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import docs as made  # noqa: E402

DOCUMENTS = made.documents() + sorted((ROOT / "examples").rglob("README.md"))
COMMANDS = dict(made.commands())


def text(name: str) -> str:
    return (ROOT / name).read_text()


def names_of(model: Any) -> list[str]:
    """The fields of a model as authors write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def missing(words: Any, document: str) -> list[str]:
    """Those that the document does not have in backquotes, or as the beginning of something in backquotes."""
    found = text(document)
    return [word for word in words if not re.search(rf"`[^`\n]*(?<![\w-]){re.escape(word)}(?![\w-])[^`\n]*`", found)]


@pytest.mark.parametrize("document", made.documents(), ids=lambda path: path.name)
def test_what_is_made_from_the_code_is_not_late(document: Path) -> None:
    assert made.renewed(document.read_text()) == document.read_text(), "run `make docs`"


def test_every_made_part_has_its_place() -> None:
    placed = {match["name"] for path in made.documents() for match in made.PLACE.finditer(path.read_text())}
    assert placed == made.PARTS.keys()


def test_every_setting_is_in_the_documents() -> None:
    assert missing([setting.env for setting in TABLE], "docs/settings.md") == []


def test_every_command_is_in_the_documents() -> None:
    assert [path for path in COMMANDS if f"### `{path}" not in text("docs/cli.md")] == []


def test_every_exit_code_is_in_the_documents() -> None:
    found = [value for value in vars(errors).values() if isinstance(value, type) and hasattr(value, "exit_code")]
    told = text("docs/exit-codes.md")
    assert [kind.__name__ for kind in found if f"\n| {kind.exit_code} |" not in told] == []


def test_every_status_is_in_the_glossary() -> None:
    assert missing({*WORKFLOW_STATUSES, *STEP_STATUSES}, "docs/glossary.md") == []


def test_every_event_is_in_the_documents() -> None:
    assert missing(filter(None, EVENT_TYPES), "docs/internals.md") == []


def test_every_commit_is_in_the_crash_matrix() -> None:
    matrix = text("docs/internals.md").partition("## The crash matrix")[2].partition("\n## ")[0]
    assert [name for name, _, _ in made.marks() if f"**{name}**" not in matrix] == []


def test_a_commit_is_marked_once() -> None:
    names = [name for name, _, _ in made.marks()]
    assert len(names) == len(set(names)) >= 5


@pytest.mark.parametrize("model", ["Template", "Step", "Retry", "Concurrency", "ParamSpec", "Defaults"])
def test_every_field_of_a_template_is_in_the_documents(model: str) -> None:
    assert missing(names_of(getattr(templates, model)), "docs/templates.md") == []


def test_every_function_and_name_of_expressions_is_in_the_documents() -> None:
    assert [name for name in ARITY if not re.search(rf"`{name}\(", text("docs/templates.md"))] == []
    assert missing([*STEP_FIELDS, *WORKFLOW_FIELDS], "docs/templates.md") == []


def test_every_variable_of_a_step_is_in_the_documents() -> None:
    source = text("hybrid_engine/execution/host.py")
    variables = set(re.findall(r'"(HYBRID_[A-Z]+)":', source))
    assert len(variables) >= 8
    assert missing(variables, "docs/templates.md") == []


def test_every_kind_of_error_is_in_the_documents() -> None:
    said = r'"kind": (?:"(\w+)"|"(\w+)" if [^"]*"(\w+)")'
    pattern = said + r'|(?:FunctionError|_failure)\(\s*"(\w+)"|ended_by\(\s*[\w.]+, "(\w+)"'
    kinds: set[str] = set()
    for path in (ROOT / "hybrid_engine").rglob("*.py"):
        for match in re.findall(pattern, path.read_text()):
            kinds.update(filter(None, match))
    assert len(kinds) >= 8
    assert missing(kinds - {"step", "cancelled"}, "docs/templates.md") == []


def test_every_field_of_a_job_is_in_the_documents() -> None:
    assert missing(REQUEST_FIELDS, "docs/jobs.md") == []


# --- what the documents point at


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def anchors(path: Path) -> set[str]:
    """The headings of a document, as links name them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shown_commands() -> list[tuple[str, list[str]]]:
    """(document, words) of every `hybrid …` that a bash block shows."""
    found = []
    for path in DOCUMENTS:
        for block in re.findall(r"```bash\n(.*?)^```", path.read_text(), re.S | re.M):
            for line in block.splitlines():
                for part in re.split(r"&&|;|\||\$\(| · ", line.split("  #")[0]):
                    words = shlex.split(part.strip().rstrip(")").removeprefix("id=$("), comments=True)
                    if words[:1] == ["hybrid"]:
                        found.append((str(path.relative_to(ROOT)), words))
    return found


def test_every_command_that_is_shown_is_there_with_its_options() -> None:
    shown = shown_commands()
    assert len(shown) > 20
    for document, words in shown:
        named = [path for path in COMMANDS if words[: len(path.split())] == path.split()]
        if not named:
            assert words[1] in ("--home", "--install-completion"), (document, words)
            continue
        options = {name for param in COMMANDS[named[0]].params for name in (*param.opts, *param.secondary_opts)}
        for word in words:
            if word.startswith("-") and word != "-":
                assert word.partition("=")[0] in options, (document, words)


def test_there_are_examples_and_all_are_in_their_list() -> None:
    names = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir())
    assert len(names) >= 8
    assert [name for name in names if f"({name}/)" not in text("examples/README.md")] == []


def test_every_decision_is_in_their_list() -> None:
    names = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert [name for name in names if f"({name})" not in text("docs/decisions/README.md")] == []
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_every_target_that_is_told_is_there() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), re.M))
    told = {name for path in DOCUMENTS for name in re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(), re.M)}
    assert told <= targets
