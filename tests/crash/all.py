"""All methods at every operation, and a table: `python -m tests.crash.all [scenario …]` (`make test-crash`).

Without arguments: the toy engine with each of its bugs (every bug must be found by the methods that are there to find
it), then the real engine (nothing may be found). `--share 0.1` takes about a tenth of the cases, chosen by `--seed`;
of the variant with a Python function, which takes long to start, a fifth of that is taken.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator

from tests.crash import methods, powercuts
from tests.crash.cases import replay_line
from tests.crash.faultlib import Fault, NoCompiler, build
from tests.crash.methods import Report, at_every_operation
from tests.crash.runner import Bench, kept_folder
from tests.crash.scenario_toy import BUGS

ERRORS = ("ENOSPC", "EIO", "EINTR", "EMFILE", "EDQUOT", "EROFS")
HEAD = f"{'method':<34} {'cases':>7} {'a minute':>9} {'found':>7}"


def table(bench: Bench, share: float, seed: str) -> Iterator[Report]:
    """Every method on one scenario."""
    stride = max(1, round(1 / share))
    first = 1 + int(seed) % stride
    thin = {"stride": stride, "first": first}
    yield at_every_operation(bench, "kill", Fault("kill"), **thin)
    for cut in (0, 500, 999):
        yield at_every_operation(bench, f"torn write, {cut / 10:g} % written", Fault("torn", cut=cut), **thin)
    yield at_every_operation(bench, "short write", Fault("short"), **thin)
    for error in ERRORS:
        yield at_every_operation(bench, f"{error} once", Fault("once", error=error), **thin)
        yield at_every_operation(bench, f"{error} for ever, then lifted", Fault("ever", error=error), **thin)
    yield methods.during_recovery(bench, stride=7 * stride, first=first, inner=3)
    yield powercuts.power_loss(bench, seed=seed, commits=max(1, round(20 * share)))
    yield powercuts.failed_sync(bench, seed=seed, syncs=max(1, round(20 * share)), commits=2)


METHODS_FOR_BUGS: dict[str, Callable[[Bench], Report]] = {
    "kill": lambda bench: at_every_operation(bench, "kill", Fault("kill"), stop_at=1),
    "torn": lambda bench: at_every_operation(bench, "torn", Fault("torn"), stop_at=1),
    "short": lambda bench: at_every_operation(bench, "short", Fault("short"), stop_at=1),
    "error": lambda bench: at_every_operation(bench, "error", Fault("once", error="EIO"), stop_at=1),
    "power": lambda bench: powercuts.power_loss(bench, draws=2, stop_at=1),
    "failed-sync": lambda bench: powercuts.failed_sync(bench, stop_at=1),
}


def toy_table(bug: str) -> Iterator[tuple[str, Report, bool]]:
    """For one bug of the toy: method, report, is it one of those that must find it."""
    with Bench(f"toy:{bug}") as bench:
        for name, run in METHODS_FOR_BUGS.items():
            yield name, run(bench), name in BUGS[bug]


def show_toy() -> int:
    """The table of bugs and methods; returns how many fields are not as they must be."""
    wrong = 0
    print(f"{'bug of the toy engine':<22}" + "".join(f"{name:>13}" for name in METHODS_FOR_BUGS))
    for bug in BUGS:
        row = ""
        for _, report, must in toy_table(bug):
            found = bool(report.findings)
            wrong += must and not found
            row += f"{'found' if found else 'MISSED' if must else '-':>13}"
        print(f"{bug:<22}{row}", flush=True)
    return wrong


def show(scenario: str, share: float, seed: str) -> int:
    """The table of one scenario; returns the number of findings."""
    found = cases = 0
    begun = time.monotonic()
    print(f"\n{scenario} (seed {seed}, share {share:g})\n{HEAD}")
    with Bench(scenario) as bench:
        for report in table(bench, share, seed):
            print(report.line(), flush=True)
            cases += report.cases
            found += len(report.findings)
            for finding in report.findings[:3]:
                print(f"    {'; '.join(finding.problems[:2])}")
                print(f"    {replay_line(scenario, finding.spec, finding.folder)}")
    print(f"{'in all':<34} {cases:>7} {60 * cases / (time.monotonic() - begun):>9.0f} {found:>7}")
    if found:
        print(f"the folders of the findings are in {kept_folder()}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.all", description="Break it at every operation.")
    parser.add_argument("scenarios", nargs="*", default=[])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", default="1")
    given = parser.parse_args()
    try:
        build()
    except NoCompiler as reason:
        print(f"SKIPPED, no case was run: {reason}")
        return 1
    wrong = 0 if given.scenarios else show_toy()
    for scenario in given.scenarios or ["toy", "engine", "engine:function"]:
        wrong += show(scenario, given.share * (0.2 if scenario == "engine:function" else 1), given.seed)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
