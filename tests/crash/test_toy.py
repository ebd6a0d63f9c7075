"""The tools find what they are there to find: every bug of the toy engine, and nothing where there is no bug."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.crash import cases
from tests.crash.all import METHODS_FOR_BUGS, table
from tests.crash.conftest import SEED, told
from tests.crash.runner import Bench
from tests.crash.scenario_toy import BUGS

Benches = Callable[[str], Bench]


@pytest.mark.crash
@pytest.mark.parametrize(("bug", "method"), [(bug, method) for bug, named in BUGS.items() for method in named])
def test_a_method_finds_the_bug_it_is_there_for(bench: Benches, bug: str, method: str) -> None:
    assert METHODS_FOR_BUGS[method](bench(f"toy:{bug}")).findings, f"{method} does not see {bug}"


@pytest.mark.crash
def test_no_method_finds_anything_in_a_sound_engine(bench: Benches) -> None:
    for report in table(bench("toy"), 0.1, SEED):
        assert report.cases and not report.findings, told(report, "toy")


@pytest.mark.crash
def test_a_finding_can_be_seen_again_from_its_spelling(bench: Benches) -> None:
    broken = bench("toy:in-place")
    found = METHODS_FOR_BUGS["kill"](broken).findings[0]
    again = cases.play(broken, cases.Spec.parse(found.spec))
    assert again.problems == found.problems
