"""What the crash tests share: the compiled fault library (or a loud skip), and one bench per scenario and worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from tests.crash.cases import replay_line  # noqa: E402
from tests.crash.faultlib import NoCompiler, build  # noqa: E402
from tests.crash.methods import Report  # noqa: E402
from tests.crash.runner import Bench  # noqa: E402
from tests.crash.underlib import Run  # noqa: E402

SEED = os.environ.get("CRASH_SEED", "1")


@pytest.fixture(scope="session")
def library() -> str:
    """The path of the compiled library."""
    try:
        return build()
    except NoCompiler as reason:
        pytest.skip(f"no fault can be injected: {reason}")


@pytest.fixture
def under(library: str, tmp_path: Path) -> Run:
    """Scripts under the library."""
    return Run(library, tmp_path)


@pytest.fixture(scope="session")
def bench(library: str) -> Iterator[Callable[[str], Bench]]:
    """`bench(scenario)`: made once, closed at the end. Beside other workers each has one core."""
    benches: dict[str, Bench] = {}
    cores = 1 if "PYTEST_XDIST_WORKER" in os.environ else None

    def get(scenario: str) -> Bench:
        if scenario not in benches:
            benches[scenario] = Bench(scenario, cores)
        return benches[scenario]

    yield get
    for each in benches.values():
        each.close()


def told(report: Report, scenario: str) -> str:
    """What a failing test says: how to see it again, and what it was."""
    lines = [f"{report.method}: {len(report.findings)} of {report.cases} cases broke a promise (seed {SEED})"]
    for finding in report.findings[:5]:
        lines.append(replay_line(scenario, finding.spec, finding.folder))
        lines += [f"    {problem}" for problem in finding.problems[:4]]
    return "\n".join(lines)
