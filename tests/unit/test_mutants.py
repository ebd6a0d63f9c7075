"""The list of mutants is in order: each has its place in the source, and a verdict says what happened."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.mutants.__main__ import GROUPS  # noqa: E402
from tests.mutants.mutant import BROKEN, CAUGHT, SURVIVED, Mutant, Verdict, mutated, verdict_of  # noqa: E402

MUTANT = Mutant("a name", "file.py", "one", "two", ())


def test_a_mutant_changes_its_text_wherever_it_has_moved_to() -> None:
    assert mutated("before\none\nafter", MUTANT) == "before\ntwo\nafter"


@pytest.mark.parametrize("source", ["nothing of it", "one and one"])
def test_a_mutant_without_one_place_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="times"):
        mutated(source, MUTANT)


@pytest.mark.parametrize(
    ("code", "said", "verdict"),
    [
        (0, "3 passed", Verdict(SURVIVED)),
        (1, "FAILED tests/a.py::test_b - assert", Verdict(CAUGHT, "tests/a.py::test_b")),
        (1, "E   Failed: Timeout (>30.0s)\nFAILED tests/a.py::test_b", Verdict(CAUGHT, "tests/a.py::test_b (hung)")),
        (2, "ERROR tests/a.py - ImportError", Verdict(CAUGHT, "tests/a.py")),
        (4, "no such file", Verdict(BROKEN, "pytest ended with 4: no such file")),
    ],
)
def test_a_verdict_follows_from_what_pytest_says(code: int, said: str, verdict: Verdict) -> None:
    assert verdict_of(code, said) == verdict


EVERY = [mutant for mutants in GROUPS.values() for mutant in mutants]


def test_names_are_unique_and_tests_are_there() -> None:
    assert len({mutant.name for mutant in EVERY}) == len(EVERY)
    assert [path for mutant in EVERY for path in mutant.tests if not (ROOT / path.split("::")[0]).exists()] == []


def test_each_mutant_has_its_one_place_and_is_python() -> None:
    """Who changes a line that a mutant changes writes the mutant anew, at once."""
    for mutant in EVERY:
        compile(mutated((ROOT / mutant.file).read_text(encoding="utf-8"), mutant), mutant.name, "exec")
