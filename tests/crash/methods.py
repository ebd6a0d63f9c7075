"""The methods: each runs many cases of one scenario and returns a report of what it found.

A case has a spelling that `python -m tests.crash.replay` takes: stages joined by `/`. The first is the fault of `act`,
then come faults of recoveries (`kill:57/kill:12`), or a power cut of the recorded run (`power:strict:57:names-skip`);
`+hard` at the end means that the steps die together with the engine. After the last stage comes a recovery without any
fault, the oracle, a second recovery, and the check that it changed nothing.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from tests.crash import diskimages, oracle, powerloss
from tests.crash.faultlib import Fault, Operation, read_log
from tests.crash.runner import Bench, Case, Run, UntilMissed


@dataclass(frozen=True, slots=True)
class Spec:
    """One case in writing."""

    faults: tuple[Fault, ...]
    power: str = ""
    hard: bool = False

    def __str__(self) -> str:
        stages = [str(fault) for fault in self.faults] + ([f"power:{self.power}"] if self.power else [])
        return "/".join(stages) + ("+hard" if self.hard else "")

    @classmethod
    def parse(cls, text: str) -> Spec:
        stages = text.removesuffix("+hard").split("/")
        power = stages.pop().removeprefix("power:") if stages[-1].startswith("power:") else ""
        return cls(tuple(Fault.parse(stage) for stage in stages), power, text.endswith("+hard"))


@dataclass(slots=True)
class Finding:
    """A broken promise: how to see it again, what was broken, where the folder is kept."""

    spec: str
    problems: list[str]
    folder: str


@dataclass(slots=True)
class Report:
    method: str
    cases: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    met: int = 0

    def line(self) -> str:
        rate = 60 * self.cases / self.seconds if self.seconds else 0
        return f"{self.method:<34} {self.cases:>7} {rate:>9.0f} {len(self.findings):>7}"


@dataclass(slots=True)
class Result:
    fired: int
    problems: list[str]
    folder: str = ""


# ---- one case ------------------------------------------------------------------------------------------------------


def play(bench: Bench, spec: Spec, recording: Recording | None = None, image: diskimages.Image | None = None) -> Result:
    """One case from its spelling; its folder is kept when it found something."""
    if spec.power and not recording:
        recording = record(bench, spec.faults[0])
    with bench.case() as case:
        if spec.power and recording:
            problems, fired = _cut_power(bench, case, spec, recording, image or recording.image(spec.power)), 1
        else:
            problems, fired = _strike(bench, case, spec)
        folder = ""
        if problems and (folder := bench.keep(case, f"{bench.scenario.name}-{spec}")):
            with open(os.path.join(folder, "problems"), "w", encoding="utf-8") as file:
                file.write("\n".join([f"replay: {replay_line(bench.scenario.name, str(spec), folder)}", *problems, ""]))
        return Result(fired, problems, folder)


def replay_line(scenario: str, spec: str, folder: str) -> str:
    """The command that shows a finding again: by its very disk, if there is one, for no two recordings are alike."""
    disk = folder and "power:" in spec
    return f"python -m tests.crash.replay {scenario} " + (f"--disk '{folder}'" if disk else spec)


def _strike(bench: Bench, case: Case, spec: Spec) -> tuple[list[str], int]:
    problems: list[str] = []
    seen: list[oracle.Facts] = []
    fired = 0
    for stage, fault in enumerate(spec.faults):
        run = case.run("recover" if stage else "act", fault, sweep="hard" if spec.hard else "")
        fired = run.fired
        problems += _check_run(bench, case, fault, run)
        seen.append(oracle.facts(case.home, case.outside))
        problems += oracle.before(case.home)
    return problems + recovered(bench, case, seen), fired


def _check_run(bench: Bench, case: Case, fault: Fault, run: Run) -> list[str]:
    where = f"at operation {fault.at} ({run.operation} {run.path})"
    if run.hung:
        return [f"hung {where}"]
    if fault.kills and run.fired:
        return [] if run.killed else [f"ended with {run.exit} when killed {where}"]
    if "Traceback (most recent call last)" in case.printed():
        return [f"a traceback was printed {where}"]
    allowed = {0} | (bench.scenario.refusals if run.fired else set())
    return [] if run.exit in allowed else [f"ended with {run.exit} after {fault} {where}"]


def recovered(bench: Bench, case: Case, seen: list[oracle.Facts], *, power_lost: bool = False) -> list[str]:
    """Recover without a fault, twice, and ask the oracle."""
    scenario = bench.scenario
    run = case.run("recover", sweep="gently")
    if run.hung or run.exit != 0:
        return [f"recovery {'hung' if run.hung else f'ended with {run.exit}'}: {case.printed()[-300:]!r}"]
    problems = [f"left running: {command}" for command in run.strays]
    problems += oracle.after(case.home, case.outside, scenario.plans, scenario.fold, seen, power_lost=power_lost)
    first = oracle.fingerprint(case.home)
    seen = [oracle.facts(case.home, case.outside)]
    run = case.run("recover", sweep="gently")
    if run.hung or run.exit != 0:
        problems.append(f"the second recovery {'hung' if run.hung else f'ended with {run.exit}'}")
    if oracle.fingerprint(case.home) != first:
        problems.append("a second recovery changed journals or states")
    if not problems:
        problems += oracle.after(case.home, case.outside, scenario.plans, scenario.fold, seen, power_lost=power_lost)
    return problems


# ---- power loss ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Recording:
    """One recorded run: the home before it, the operations, what the world saw in the end, what was wrong with it."""

    base: list[powerloss.Entry]
    operations: list[Operation]
    outside: bytes
    fault: Fault
    problems: list[str]

    def seen_before(self, cut: int) -> bytes:
        """What the world had seen when the operation after the cut began."""
        return self.outside[: self.operations[cut].watched] if cut < len(self.operations) else self.outside

    def image(self, power: str) -> diskimages.Image:
        """The disk of a spelling: `<world>:<cut>:<state>[:seed<seed>]`."""
        world, cut, name, *rest = power.split(":")
        seed = rest[0].removeprefix("seed") if rest else "1"
        return diskimages.state(self.base, self.operations, world, int(cut), name, seed=seed)


def record(bench: Bench, fault: Fault | None = None) -> Recording:
    """Run `act` once, undisturbed or with one failing call, and write down all it does to the disk."""
    fault = fault or Fault()
    with bench.case() as case:
        base = powerloss.snapshot(case.home)
        run = case.run("act", fault, record=True, sweep="gently")
        problems = _check_run(bench, case, fault, run)
        with open(case.outside, "rb") as file:
            outside = file.read()
        return Recording(base, read_log(case.log), outside, replace(fault, at=fault.at if run.fired else 0), problems)


def _cut_power(bench: Bench, case: Case, spec: Spec, recording: Recording, image: diskimages.Image) -> list[str]:
    shutil.rmtree(case.home)
    case.disguise(image.write(case.home))
    with open(case.outside, "wb") as file:
        file.write(recording.seen_before(int(spec.power.split(":")[1])))
    shutil.copy(case.outside, case.outside + "-before")
    seen = [oracle.facts(case.home, case.outside)]
    problems = [*oracle.before(case.home, power_lost=True), *recovered(bench, case, seen, power_lost=True)]
    if problems:
        image.write(os.path.join(case.folder, "disk"))
        with open(os.path.join(case.folder, "inodes"), "w", encoding="utf-8") as inodes:
            inodes.writelines(f"{node.ino} {path}\n" for path, node in image.files.items())
    return problems


def _states(
    recording: Recording, worlds: Iterable[str], wanted: Callable[[int], bool], draws: int, seed: str
) -> Iterator[tuple[Spec, diskimages.Image]]:
    """Every distinct disk after every wanted cut."""
    known: set[tuple[str, int]] = set()
    for world in worlds:
        disk = powerloss.Disk(recording.base, world)
        for cut in range(len(recording.operations) + 1):
            if wanted(cut):
                for name, choice in diskimages.choices(disk, draws, f"{seed}:{cut}"):
                    image = diskimages.Image(disk, choice)
                    mark = (image.digest(), len(recording.seen_before(cut)))
                    if mark not in known:
                        known.add(mark)
                        yield Spec((recording.fault,), f"{world}:{cut}:{name}:seed{seed}"), image
            if cut < len(recording.operations):
                disk.apply(recording.operations[cut])


# ---- the methods ---------------------------------------------------------------------------------------------------


class Method:
    """Collects the cases of one method into a report; stops early when only the first finding is wanted."""

    def __init__(self, bench: Bench, name: str, stop_at: int = 20) -> None:
        self.bench = bench
        self.report = Report(name)
        self.stop_at = stop_at
        self._begun = time.monotonic()

    def run(
        self, work: Callable[[Spec], Result], specs: Iterable[Spec], after: Callable[[int], None] | None = None
    ) -> Report:
        def one(spec: Spec) -> tuple[Spec, Result]:
            return spec, work(spec)

        def until_enough() -> Iterator[Spec]:
            for spec in specs:
                if len(self.report.findings) >= self.stop_at:
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


def at_every_operation(
    bench: Bench, name: str, fault: Fault, *, stride: int = 1, first: int = 1, stop_at: int = 20
) -> Report:
    """The fault at the 1st, 2nd, 3rd … operation until a run ends without meeting it.

    Every second kill takes the steps along: it is the machine that died, not only the engine.
    """
    loop = UntilMissed(stride, first)
    specs = (Spec((replace(fault, at=at),), hard=fault.kills and at // stride % 2 == 0) for at in loop)
    return Method(bench, name, stop_at).run(partial(play, bench), specs, loop.tell)


def during_recovery(bench: Bench, *, first: int = 1, stride: int = 1, inner: int = 1, stop_at: int = 20) -> Report:
    """Kill at a, kill the recovery at b, recover again: for every `stride`-th a, every `inner`-th b."""
    method = Method(bench, "kill during recovery", stop_at)
    total = count(bench)
    for at in range(first, total + 1, stride):
        loop = UntilMissed(inner, 1 + at % inner)
        specs = (Spec((Fault("kill", at), Fault("kill", again)), hard=again % 2 == 0) for again in loop)
        method.run(partial(play, bench), specs, loop.tell)
    return method.report


def count(bench: Bench, fault: Fault | None = None) -> int:
    """How many operations an undisturbed run makes (that could meet this kind of fault)."""
    with bench.case() as case:
        return case.run("act", replace(fault, at=0) if fault else Fault(), sweep="gently").count


def power_loss(
    bench: Bench, *, worlds: Iterable[str] = powerloss.WORLDS, draws: int = 8, seed: str = "1",
    share: float = 1.0, stop_at: int = 20, fault: Fault | None = None, name: str = "power loss",
    behind: Callable[[Operation], bool] = lambda _: True,
) -> Report:  # fmt: skip
    """Every legal disk after every cut of one recorded run, or of a share of the cuts, chosen by the seed.

    `behind` chooses the operations right after which the power may go.
    """
    method = Method(bench, name, stop_at)
    recording = record(bench, fault)
    if recording.problems:
        method.note(Spec((recording.fault,)), Result(1, recording.problems))
    dice = random.Random(seed)
    cuts = [at for at, operation in enumerate(recording.operations, 1) if behind(operation)]
    chosen = {cut for cut in cuts if dice.random() < share}
    images: dict[str, diskimages.Image] = {}

    def specs() -> Iterator[Spec]:
        for spec, image in _states(recording, worlds, chosen.__contains__, draws, seed):
            images[str(spec)] = image
            yield spec

    return method.run(lambda spec: play(bench, spec, recording, images.pop(str(spec))), specs())


def failed_sync(
    bench: Bench, *, stride: int = 1, first: int = 1, draws: int = 2, seed: str = "1", share: float = 0.1,
    stop_at: int = 20,
) -> Report:  # fmt: skip
    """Each sync fails once with EIO; what it left unwritten never reaches the disk; then the power goes."""
    only = Fault("once", error="EIO", only="fsync+fdatasync")
    method = Method(bench, "a sync fails, then power loss", stop_at)
    for at in range(first, count(bench, only) + 1, stride):
        fault = replace(only, at=at)
        part = power_loss(bench, worlds=("ordered",), draws=draws, seed=seed, stop_at=stop_at, fault=fault, share=share)
        method.report.cases += part.cases
        method.report.findings += part.findings
        if len(method.report.findings) >= stop_at:
            break
    return method.run(partial(play, bench), ())
