"""Try all mutants, or some: `python -m tests.mutants [group …] [--only WORD]`; prints a line for each as it is known.

Exits with 1 when one survived, is stale, or cannot be tried.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.mutants import log, logic, replay, storage
from tests.mutants.mutant import BROKEN, CAUGHT, STALE, Mutant, Tree, Verdict

ROOT = Path(__file__).parents[2]
GROUPS: Mapping[str, tuple[Mutant, ...]] = {
    "storage": (*log.MUTANTS, *replay.MUTANTS, *storage.MUTANTS),
    "logic": logic.MUTANTS,
}


def run_group(name: str, mutants: list[Mutant], tree: Tree) -> Counter[str]:
    """Try the mutants of a group and print what became of each."""
    sound: dict[tuple[str, ...], Verdict] = {}
    words: Counter[str] = Counter()
    for mutant in mutants:
        if mutant.tests not in sound:
            sound[mutant.tests] = tree.sound(mutant.tests)
        verdict = sound[mutant.tests]
        if verdict.word != BROKEN:
            verdict = tree.try_out(mutant)
        words[verdict.word] += 1
        print(f"{name:<8} {verdict.word:<9} {mutant.name:<66} {verdict.by}", flush=True)
    return words


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Do the tests catch small changes?")
    parser.add_argument("groups", nargs="*", default=[], metavar="group", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--only", default="", help="those with this word in their name or file")
    parser.add_argument("--seconds", type=float, default=300.0, help="the longest that the tests of one may take")
    given = parser.parse_args()
    unknown = set(given.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no group is called {', '.join(unknown)}: there are {', '.join(GROUPS)}")
    totals: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="hybrid-mutants-") as folder:
        tree = Tree(ROOT, Path(folder).resolve(), given.seconds)
        for name in given.groups or GROUPS:
            mutants = [mutant for mutant in GROUPS[name] if given.only in mutant.name or given.only in mutant.file]
            totals[name] = run_group(name, mutants, tree)
    print()
    for name, words in totals.items():
        told = ", ".join(f"{number} {word}" for word, number in sorted(words.items()))
        share = 100 * words[CAUGHT] / (words.total() or 1)
        print(f"{name:<8} {words.total()} mutants: {told} – {share:.0f} % caught")
    stale = sum(words[STALE] for words in totals.values())
    if stale:
        print(f"{stale} are stale: their text has gone; write them anew, or drop them with what they changed")
    return 1 if any(words.total() != words[CAUGHT] for words in totals.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
