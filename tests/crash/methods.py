"""The methods: each runs many cases of one scenario and returns a report of what it found.

What a case is and how it is spelled is said in cases.py; which disks there are after a power cut, in powercuts.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from tests.crash.cases import Result, Spec, play
from tests.crash.faultlib import Fault
from tests.crash.runner import Bench, UntilMissed

PASSES = 8


@dataclass(slots=True)
class Finding:
    """A broken promise: how to see it again, what was broken, where the folder is kept."""

    spec: str
    problems: list[str]
    folder: str


@dataclass(slots=True)
class Report:
    """`whole` is false when there was no time for all cases."""

    method: str
    cases: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    met: int = 0
    whole: bool = True

    def line(self) -> str:
        rate = 60 * self.cases / self.seconds if self.seconds else 0
        share = "all" if self.whole else "part"
        return f"{self.method:<34} {self.cases:>7} {share:>6} {rate:>9.0f} {self.seconds:>8.0f} {len(self.findings):>7}"


class Method:
    """Collects the cases of one method into a report; stops early when only the first finding is wanted, or when the
    `seconds` for it are over."""

    def __init__(self, bench: Bench, name: str, stop_at: int = 20, seconds: float | None = None) -> None:
        self.bench = bench
        self.report = Report(name)
        self.stop_at = stop_at
        self._begun = time.monotonic()
        self._end = self._begun + seconds if seconds is not None else None

    @property
    def is_over(self) -> bool:
        """Has it found enough, or used up its time?"""
        if self._end is not None and time.monotonic() > self._end:
            self.report.whole = False
            return True
        return len(self.report.findings) >= self.stop_at

    def run(
        self, work: Callable[[Spec], Result], specs: Iterable[Spec], after: Callable[[int], None] | None = None
    ) -> Report:
        def one(spec: Spec) -> tuple[Spec, Result]:
            return spec, work(spec)

        def until_enough() -> Iterator[Spec]:
            for spec in specs:
                if self.is_over:
                    return
                yield spec

        for spec, result in self.bench.map(one, until_enough()):
            self.note(spec, result)
            if after:
                after(result.fired)
        self.report.seconds = time.monotonic() - self._begun
        return self.report

    def note(self, spec: Spec, result: Result) -> None:
        self.report.cases += 1
        self.report.met += result.fired > 0
        if result.problems:
            self.report.findings.append(Finding(str(spec), result.problems, result.folder))


def spread(number: int) -> list[int]:
    """0 … number - 1 in an order whose every beginning lies evenly over the whole."""
    bits = max(1, (number - 1).bit_length())
    reversed_bits = (int(f"{n:0{bits}b}"[::-1], 2) for n in range(1 << bits))
    return [n for n in reversed_bits if n < number]


def at_every_operation(
    bench: Bench, name: str, fault: Fault, *, stride: int = 1, first: int = 1, stop_at: int = 20,
    seconds: float | None = None,
) -> Report:  # fmt: skip
    """The fault at the 1st, 2nd, 3rd … operation until a run ends without meeting it.

    Every second kill takes the steps along: it is the machine that died, not only the engine. With little time it goes
    through the run several times in wide strides, so that what there is no time for is spread over the whole of it.
    """
    method = Method(bench, name, stop_at, seconds)
    passes = 1 if seconds is None else PASSES
    for offset in spread(passes):
        loop = UntilMissed(stride * passes, first + stride * offset)
        specs = (Spec((replace(fault, at=at),), hard=fault.kills and at // stride % 2 == 0) for at in loop)
        method.run(partial(play, bench), specs, loop.tell)
        if method.is_over:
            break
    return method.report


def during_recovery(
    bench: Bench, *, first: int = 1, stride: int = 1, inner: int = 1, stop_at: int = 20, seconds: float | None = None
) -> Report:
    """Kill at a, kill the recovery at b, recover again: for every `stride`-th a, every `inner`-th b."""
    method = Method(bench, "kill during recovery", stop_at, seconds)
    outer = range(first, count(bench) + 1, stride)
    for at in (outer[index] for index in spread(len(outer))):
        loop = UntilMissed(inner, 1 + at % inner)
        specs = (Spec((Fault("kill", at), Fault("kill", again)), hard=again % 2 == 0) for again in loop)
        method.run(partial(play, bench), specs, loop.tell)
        if method.is_over:
            break
    return method.report


def count(bench: Bench, fault: Fault | None = None) -> int:
    """How many operations an undisturbed run makes (that could meet this kind of fault)."""
    with bench.case() as case:
        return case.run("act", replace(fault, at=0) if fault else Fault(), sweep="gently").count
