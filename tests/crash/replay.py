"""Run one case again: `python -m tests.crash.replay <scenario> <case>`, or a kept disk with `--disk <folder>`.

The case is the spelling that a finding prints, for example `toy:in-place kill:42+hard` or
`engine count/power:strict:57:names-skip:seed1`. Exits with 1 when the case still breaks a promise. A run with threads
does not make its operations in quite the same order each time; `--times` tries again until something is found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import sys

from tests.crash import oracle
from tests.crash.cases import Result, Spec, play, recovered
from tests.crash.runner import Bench, copy_tree


def replay_disk(bench: Bench, folder: str) -> Result:
    """Recover the disk of a kept finding as it was right after the crash."""
    with bench.case() as case:
        shutil.rmtree(case.home)
        copy_tree(os.path.join(folder, "disk"), case.home)
        with open(os.path.join(folder, "inodes"), encoding="utf-8") as file:
            pairs = (line.rstrip("\n").split(" ", 1) for line in file)
            numbers = ((os.lstat(os.path.join(case.home, path)).st_ino, int(number)) for number, path in pairs)
            case.disguise(b"".join(struct.pack("=QQ", *pair) for pair in numbers))
        shutil.copyfile(os.path.join(folder, "outside-before"), case.outside)
        seen = [oracle.facts(case.home, case.outside, bench.scenario.logged(case.home))]
        return Result(1, recovered(bench, case, seen, power_lost=True), folder)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.replay", description="Run one crash case again.")
    parser.add_argument("scenario")
    parser.add_argument("case", nargs="?", default="")
    parser.add_argument("--disk", metavar="FOLDER", help="a kept folder that holds `disk`, `inodes`, `outside-before`")
    parser.add_argument("--times", type=int, default=1)
    given = parser.parse_args()
    if not given.case and not given.disk:
        parser.error("name a case, or a kept folder with --disk")
    with Bench(given.scenario, cores=1) as bench:
        for _ in range(given.times):
            result = replay_disk(bench, given.disk) if given.disk else play(bench, Spec.parse(given.case))
            if result.problems:
                break
    print("\n".join(result.problems) or "nothing found")
    if result.problems:
        print(f"folder: {result.folder}")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
