"""The house is as it is drawn: import contracts, signs at the doors, one place for what must have one place."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "hybrid_engine").rglob("*.py"))


def told(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_every_module_opens_with_a_sign() -> None:
    assert [told(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_nothing_is_left_to_be_done() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    places = ("hybrid_engine", "tests", "scripts", "benchmarks", "examples")
    files = [path for place in places for path in (ROOT / place).rglob("*.py") if path != Path(__file__)]
    assert [told(path) for path in files if pattern.search(path.read_text())] == []


@pytest.mark.parametrize(
    ("call", "rooms"),
    [
        (
            r"os\.(replace|fsync|fdatasync)\(",
            {"files/atomic.py", "execution/worker_process.py", "sql/schema.py", "logs.py"},
        ),
        (r"^\s*(import|from) watchdog", {"files/watcher.py"}),
        (r"^\s*(import|from) filelock", {"files/lock.py"}),
        (r"^\s*(import|from) ruamel", {"files/strict/yamlevents.py"}),
        (r"^\s*(import|from) simpleeval", {"rules/expressions.py"}),
    ],
)
def test_what_must_have_one_place_has_it(call: str, rooms: set[str]) -> None:
    pattern = re.compile(call, re.M)
    base = ROOT / "hybrid_engine"
    assert {str(path.relative_to(base)) for path in MODULES if pattern.search(path.read_text())} <= rooms


def test_the_engine_and_what_is_below_read_no_wall_clock() -> None:
    floors = [
        path
        for floor in ("model", "rules", "engine", "ports")
        for path in (ROOT / "hybrid_engine" / floor).glob("*.py")
    ]
    assert [
        told(path) for path in floors if re.search(r"\b(now|utcnow|today|time|time_ns)\(\)", path.read_text())
    ] == []
