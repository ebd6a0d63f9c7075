"""Help in groups, with examples that are right; and that only what is asked for is loaded."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
from commandline import ROOT, Hybrid
from typer.main import get_command

from hybrid_engine.cli.app import build
from hybrid_engine.cli.commands import COMMANDS, GROUPS, chosen, wanted, with_color_first


@pytest.fixture
def hybrid(capsys: pytest.CaptureFixture[str]) -> Hybrid:
    return Hybrid(capsys)


def test_commands_are_listed_in_groups(hybrid: Hybrid) -> None:
    lines = hybrid("--help").out.splitlines()
    assert [line[:-1] for line in lines if line[:-1] in GROUPS] == list(GROUPS)
    daemon = lines[lines.index("Daemon:") + 1 : lines.index("Jobs:") - 1]
    assert [line.split()[0] for line in daemon] == ["start", "status", "stop"]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_a_command_has_two_examples_that_are_right(hybrid: Hybrid, entry: object) -> None:
    name, examples = entry.name, entry.examples  # type: ignore[attr-defined]
    shown = hybrid(*name.split(), "--help").out
    command = get_command(build())
    for word in name.split():
        command = command.commands[word]  # type: ignore[attr-defined]
    options = {word for param in command.params for word in (*param.opts, *param.secondary_opts)}
    assert len(set(examples)) == 2
    for example in examples:
        assert example in shown
        words = shlex.split(example)
        assert words[1 : 1 + len(name.split())] == name.split()
        assert {word for word in words if word.startswith("-")} <= options


def test_every_option_and_argument_has_a_text() -> None:
    def below(command: object) -> list[str]:
        inner = getattr(command, "commands", {}).values()
        own = [] if inner else [p for p in command.params if not p.help]  # type: ignore[attr-defined]
        return [f"{command.name} {p.name}" for p in own] + [word for c in inner for word in below(c)]  # type: ignore[attr-defined]

    assert below(get_command(build())) == []


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["list"], "list"),
        (["--home", "list", "show", "x"], "show"),
        (["-C", "x", "templates", "list"], "templates"),
        (["--color=never", "queue"], "queue"),
        (["--help"], None),
        (["nothing"], None),
        ([], None),
    ],
)
def test_the_command_that_is_asked_for_is_known_before_it_is_built(argv: list[str], name: str | None) -> None:
    assert wanted(argv) == name
    assert {entry.name.split()[0] for entry in chosen(argv)} == (
        {name} if name else {e.name.split()[0] for e in COMMANDS}
    )


def test_color_may_stand_behind_the_command() -> None:
    assert with_color_first(["list", "--color", "never", "-n", "1"]) == ["--color", "never", "list", "-n", "1"]
    assert with_color_first(["list", "--color=never"]) == ["--color=never", "list"]
    assert with_color_first(["run", "--", "ls", "--color"]) == ["run", "--", "ls", "--color"]


def test_a_list_in_a_pipe_loads_neither_rich_nor_pydantic(tmp_path: object) -> None:
    script = (
        "import sys\nfrom hybrid_engine.cli.app import run\n"
        "run(['init', '--no-sample', sys.argv[1]])\n"
        "for name in [n for n in sys.modules if n.partition('.')[0] in ('rich', 'pydantic')]: del sys.modules[name]\n"
        "run(['--home', sys.argv[1], 'list'])\n"
        "print(sorted({'rich', 'pydantic', 'ruamel', 'watchdog'} & {n.partition('.')[0] for n in sys.modules}))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script, f"{tmp_path}/home"], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
