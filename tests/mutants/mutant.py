"""What a mutant is, and how one is tried: applied to a copy of the tree, with a chosen part of the tests, for a while.

The texts are found wherever they have moved to within their file. One whose text is not there exactly once any more is
`stale`, and the run fails: it must be written anew, or dropped with what it changed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CAUGHT, SURVIVED, STALE, BROKEN = "caught", "SURVIVED", "STALE", "BROKEN"
_FIRST = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.M)
_LIMIT = re.compile(r"Timeout \(>|Failed: Timeout")
_COPIED = ("hybrid_engine", "tests", "templates", "functions", "samples", "scripts", "docs", "pyproject.toml", "bin")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `old` becomes `new` in `file`; `tests` (paths, as pytest takes them) must fail by it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant; `by` is the test that caught it, or why it could not be tried."""

    word: str
    by: str = ""


def mutated(source: str, mutant: Mutant) -> str:
    """The text of the file with the change. Raises ValueError when there is not exactly one place for it."""
    places = source.count(mutant.old)
    if places != 1:
        raise ValueError(f"{mutant.file} has the text {places} times")
    return source.replace(mutant.old, mutant.new)


class Tree:
    """A copy of the source in which one mutant at a time is alive."""

    def __init__(self, source: Path, copy: Path, seconds: float) -> None:
        self._source = source
        self._copy = copy
        self._seconds = seconds
        for name in _COPIED:
            if (source / name).is_dir():
                shutil.copytree(source / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif (source / name).exists():
                shutil.copy(source / name, copy / name)

    def sound(self, tests: Iterable[str]) -> Verdict:
        """Without a mutant all tests must pass, else a failure says nothing."""
        verdict = self._run(tests)
        return Verdict(BROKEN, f"fails without any mutant: {verdict.by}") if verdict.word != SURVIVED else verdict

    def try_out(self, mutant: Mutant) -> Verdict:
        """Apply it, run its tests, take it back."""
        path = self._copy / mutant.file
        original = path.read_text(encoding="utf-8") if path.exists() else ""
        try:
            text = mutated(original, mutant)
            compile(text, mutant.file, "exec")
        except ValueError as error:
            return Verdict(STALE, str(error))
        except SyntaxError as error:
            return Verdict(BROKEN, f"is not Python: {error}")
        path.write_text(text, encoding="utf-8")
        try:
            return self._run(mutant.tests)
        finally:
            path.write_text(original, encoding="utf-8")

    def _run(self, tests: Iterable[str]) -> Verdict:
        # A folder of its own: clearing away what all runs of the machine left takes longer than many of these tests.
        quick = ("-p", "no:cacheprovider", f"--basetemp={self._copy / '.pytest'}")
        command = [sys.executable, "-m", "pytest", "-x", "-q", *quick, *tests]
        env = {**os.environ, "PYTHONPATH": str(self._copy), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            command, cwd=self._copy, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            said, _ = process.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired:
            return Verdict(CAUGHT, f"over its time of {self._seconds:g} s")
        finally:
            end_group(process.pid)
            process.wait()
        return verdict_of(process.returncode, said)


def verdict_of(code: int, said: str) -> Verdict:
    """What pytest's exit code and last words mean for a mutant."""
    if code == 0:
        return Verdict(SURVIVED)
    first = _FIRST.search(said)
    if code == 1 and first:
        return Verdict(CAUGHT, first[1] + (" (hung)" if _LIMIT.search(said) else ""))
    if code == 1 or (first and code == 2):
        return Verdict(CAUGHT, first[1] if first else "the run was ended")
    last = said.strip().splitlines()[-1:] or [""]
    return Verdict(BROKEN, f"pytest ended with {code}: {last[0]:.100}")


def end_group(group: int) -> None:
    """What a hung test left running must not meet the next mutant."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
