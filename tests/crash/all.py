"""All methods at every operation, and a table: `python -m tests.crash.all [scenario …]` (`make test-crash`).

Without arguments: the toy engines with each of their bugs (every bug must be found by the methods that are there to
find it), then the engines without bugs (nothing may be found). It ends within `--minutes`: each method has its part of
the time, goes through its cases so that those tried lie evenly over the whole, and says whether it came through all of
them. `--seed` begins elsewhere. Every line is also appended to `--table` at once, so that a run which is ended by force
has told what it knew.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from tests.crash import methods, powercuts, scenario_toy, scenario_toylog
from tests.crash.cases import replay_line
from tests.crash.faultlib import Fault, NoCompiler, build
from tests.crash.methods import Report, at_every_operation
from tests.crash.runner import Bench, kept_folder

ERRORS = ("ENOSPC", "EIO", "EINTR", "EMFILE", "EDQUOT", "EROFS")
SCENARIOS: Mapping[str, float] = {"toy": 0.05, "toylog": 0.1, "engine": 0.72, "engine:function": 0.13}
"""With the part of the time that each has, after the bugs of the toys."""
BUG_SECONDS = 60.0
"""For a method that must find a bug; it ends at its first finding, mostly within seconds."""
OTHER_SECONDS = 2.0
"""For a method that need not find it; for the table only."""
HEAD = f"{'method':<34} {'cases':>7} {'tried':>6} {'a minute':>9} {'seconds':>8} {'found':>7}"

Work = Callable[[float], Report]


def works(bench: Bench, seed: str) -> Iterator[tuple[float, Work]]:
    """Every method on one scenario, with its weight: the time it gets beside the others."""
    everywhere = partial(at_every_operation, bench, first=1 + int(seed) % 3)
    yield 8, lambda seconds: everywhere("kill", Fault("kill"), seconds=seconds)
    for cut in (0, 500, 999):
        name = f"torn write, {cut / 10:g} % written"
        yield 3, partial(_named, everywhere, name, Fault("torn", cut=cut))
    yield 3, partial(_named, everywhere, "short write", Fault("short"))
    for error in ERRORS:
        yield 2, partial(_named, everywhere, f"{error} once", Fault("once", error=error))
        yield 2, partial(_named, everywhere, f"{error} for ever, then lifted", Fault("ever", error=error))
    yield (
        12,
        lambda seconds: methods.during_recovery(bench, stride=3, inner=3, first=1 + int(seed) % 3, seconds=seconds),
    )
    yield 18, lambda seconds: powercuts.power_loss(bench, seed=seed, seconds=seconds)
    yield 14, lambda seconds: powercuts.after_kill(bench, seed=seed, commits=6, seconds=seconds)
    yield 9, lambda seconds: powercuts.failed_sync(bench, seed=seed, commits=4, seconds=seconds)
    yield 7, lambda seconds: powercuts.lost_write(bench, seed=seed, commits=4, seconds=seconds)


def _named(everywhere: Callable[..., Report], name: str, fault: Fault, seconds: float) -> Report:
    return everywhere(name, fault, seconds=seconds)


def table(bench: Bench, seconds: float, seed: str) -> Iterator[Report]:
    """The reports of one scenario; time that a method leaves over goes to those after it."""
    end = time.monotonic() + seconds
    left = list(works(bench, seed))
    while left:
        total = sum(weight for weight, _ in left)
        weight, work = left.pop(0)
        yield work(max(1.0, (end - time.monotonic()) * weight / total))


METHODS_FOR_BUGS: dict[str, Callable[[Bench, float], Report]] = {
    "kill": lambda bench, s: at_every_operation(bench, "kill", Fault("kill"), stop_at=1, seconds=s),
    "torn": lambda bench, s: at_every_operation(bench, "torn", Fault("torn"), stop_at=1, seconds=s),
    "short": lambda bench, s: at_every_operation(bench, "short", Fault("short"), stop_at=1, seconds=s),
    "error": lambda bench, s: at_every_operation(bench, "error", Fault("once", error="EIO"), stop_at=1, seconds=s),
    "power": lambda bench, s: powercuts.power_loss(bench, draws=2, stop_at=1, seconds=s),
    "failed-sync": lambda bench, s: powercuts.failed_sync(bench, commits=6, stop_at=1, seconds=s),
    "lost-write": lambda bench, s: powercuts.lost_write(bench, commits=6, stop_at=1, seconds=s),
    "kill-power": lambda bench, s: powercuts.after_kill(bench, commits=6, stop_at=1, seconds=s),
}
BUGS: Mapping[str, tuple[str, ...]] = {
    **{f"toy:{bug}": found_by for bug, found_by in scenario_toy.BUGS.items()},
    **{f"toylog:{bug}": found_by for bug, found_by in scenario_toylog.BUGS.items()},
}


@dataclass(slots=True)
class Printer:
    """Prints, and keeps what it printed in a file."""

    path: str
    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)
        if self.path:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line + "\n")


def show_bugs(say: Printer) -> int:
    """The table of bugs and methods; returns how many fields are not as they must be."""
    wrong = 0
    say(f"{'bug of a toy engine':<26}" + "".join(f"{name:>12}" for name in METHODS_FOR_BUGS))
    for bug, found_by in BUGS.items():
        row = ""
        with Bench(bug) as bench:
            for name, run in METHODS_FOR_BUGS.items():
                must = name in found_by
                found = bool(run(bench, BUG_SECONDS if must else OTHER_SECONDS).findings)
                wrong += must and not found
                row += f"{'found' if found else 'MISSED' if must else '-':>12}"
        say(f"{bug:<26}{row}")
    return wrong


def show(scenario: str, seconds: float, seed: str, say: Printer) -> int:
    """The table of one scenario; returns the number of findings."""
    found = cases = 0
    begun = time.monotonic()
    say(f"\n{scenario} (seed {seed}, {seconds / 60:.1f} minutes)\n{HEAD}")
    with Bench(scenario) as bench:
        for report in table(bench, seconds, seed):
            say(report.line())
            cases += report.cases
            found += len(report.findings)
            for finding in report.findings[:3]:
                say(f"    {'; '.join(finding.problems[:2])}")
                say(f"    {replay_line(scenario, finding.spec, finding.folder)}")
    took = time.monotonic() - begun
    say(f"{'in all':<34} {cases:>7} {'':>6} {60 * cases / took:>9.0f} {took:>8.0f} {found:>7}")
    if found:
        say(f"the folders of the findings are in {kept_folder()}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.all", description="Break it at every operation.")
    parser.add_argument("scenarios", nargs="*", default=[])
    parser.add_argument("--minutes", type=float, default=55.0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--table", metavar="FILE", default="", help="append each line to this file as it is known")
    given = parser.parse_args()
    say = Printer(given.table)
    try:
        build()
    except NoCompiler as reason:
        say(f"SKIPPED, no case was run: {reason}")
        return 1
    end = time.monotonic() + given.minutes * 60
    wrong = 0 if given.scenarios else show_bugs(say)
    left = {name: SCENARIOS.get(name, 1.0) for name in given.scenarios or SCENARIOS}
    for name in list(left):
        share = left[name] / sum(left.values())
        wrong += show(name, max(10.0, (end - time.monotonic()) * share), given.seed, say)
        del left[name]
    say(f"\n{wrong or 'nothing'} found wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
