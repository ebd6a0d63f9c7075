"""The tools find what they are there to find: every bug of the toy engines, and nothing where there is no bug."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.crash import cases
from tests.crash.all import BUG_SECONDS, BUGS, METHODS_FOR_BUGS, table
from tests.crash.conftest import SEED, told
from tests.crash.runner import Bench

Benches = Callable[[str], Bench]


@pytest.mark.crash
@pytest.mark.parametrize(("bug", "method"), [(bug, method) for bug, named in BUGS.items() for method in named])
def test_a_method_finds_the_bug_it_is_there_for(bench: Benches, bug: str, method: str) -> None:
    assert METHODS_FOR_BUGS[method](bench(bug), 3 * BUG_SECONDS).findings, f"{method} does not see {bug}"


@pytest.mark.crash
@pytest.mark.parametrize("toy", ["toy", "toylog"])
def test_no_method_finds_anything_in_a_sound_engine(bench: Benches, toy: str) -> None:
    for report in table(bench(toy), 40.0, SEED):
        assert report.cases and not report.findings, told(report, toy)


@pytest.mark.crash
def test_a_finding_can_be_seen_again_from_its_spelling(bench: Benches) -> None:
    broken = bench("toy:in-place")
    found = METHODS_FOR_BUGS["kill"](broken, BUG_SECONDS).findings[0]
    again = cases.play(broken, cases.Spec.parse(found.spec))
    assert again.problems == found.problems
