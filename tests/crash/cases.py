"""One case: its spelling, its run, and what the oracle says of it.

A case has a spelling that `python -m tests.crash.replay` takes: stages joined by `/`. The first is the fault of `act`,
then come faults of recoveries (`kill:57/kill:12`), or a power cut of the recorded runs (`power:strict:57:names-skip`;
after `kill:57/` also of the recovery that followed the kill); `+hard` at the end means that the steps die together with
the engine. After the last stage comes a recovery without any fault, the oracle, a second recovery, and the check that
it changed nothing.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from tests.crash import diskimages, disknodes, oracle
from tests.crash.faultlib import Fault, Operation, read_log
from tests.crash.runner import Bench, Case, Run


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
class Result:
    fired: int
    problems: list[str]
    folder: str = ""


def play(bench: Bench, spec: Spec, recording: Recording | None = None, image: diskimages.Image | None = None) -> Result:
    """One case from its spelling; its folder is kept when it found something."""
    if spec.power and not recording:
        recording = record(bench, *spec.faults)
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
        logged = bench.scenario.logged(case.home)
        seen.append(oracle.facts(case.home, case.outside, logged))
        problems += oracle.before(case.home, logged)
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
    seen = [oracle.facts(case.home, case.outside, scenario.logged(case.home))]
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
    """Recorded runs: the home before them, the operations, what the world saw in the end, what was wrong with them.

    `faults` are those that struck; the power may go after the first `begins` operations, not before:
    there a fault struck, or the recovery after it began.
    """

    base: list[disknodes.Entry]
    operations: list[Operation]
    outside: bytes
    faults: tuple[Fault, ...]
    problems: list[str]
    begins: int = 0
    fired: bool = False

    def seen_before(self, cut: int) -> bytes:
        """What the world had seen when the operation after the cut began."""
        return self.outside[: self.operations[cut].watched] if cut < len(self.operations) else self.outside

    def image(self, power: str) -> diskimages.Image:
        """The disk of a spelling: `<world>:<cut>:<state>[:seed<seed>]`."""
        world, cut, name, *rest = power.split(":")
        seed = rest[0].removeprefix("seed") if rest else "1"
        return diskimages.state(self.base, self.operations, world, int(cut), name, seed=seed)


def record(bench: Bench, *faults: Fault) -> Recording:
    """Write down all that a run of `act` does to the disk, undisturbed or with a failing call.

    After a kill (or an end by itself, because of an error) the machine goes on, and so does the recording, with the
    recovery: what the first process wrote and did not sync is still seen by all, and lost if the power goes.
    """
    with bench.case() as case:
        base = disknodes.snapshot(case.home)
        problems: list[str] = []
        begins, run = 0, None
        for stage, fault in enumerate(faults or (Fault(),)):
            run = case.run("recover" if stage else "act", fault, record=True, sweep="" if fault.kills else "gently")
            problems += _check_run(bench, case, fault, run)
            if run.killed:
                begins = len(read_log(case.log))
        if run and (run.killed or run.exit):
            problems += _check_run(bench, case, Fault(), case.run("recover", Fault(), record=True, sweep="gently"))
        with open(case.outside, "rb") as file:
            outside = file.read()
        fired = run is not None and run.fired > 0
        operations = read_log(case.log)
        harmed = (at for at, operation in enumerate(operations) if operation.failed or operation.op == "lost")
        return Recording(base, operations, outside, faults or (Fault(),), problems, begins or next(harmed, 0), fired)


def _cut_power(bench: Bench, case: Case, spec: Spec, recording: Recording, image: diskimages.Image) -> list[str]:
    shutil.rmtree(case.home)
    case.disguise(image.write(case.home))
    with open(case.outside, "wb") as file:
        file.write(recording.seen_before(int(spec.power.split(":")[1])))
    shutil.copy(case.outside, case.outside + "-before")
    logged = bench.scenario.logged(case.home)
    seen = [oracle.facts(case.home, case.outside, logged)]
    problems = [*oracle.before(case.home, logged, power_lost=True), *recovered(bench, case, seen, power_lost=True)]
    if problems:
        image.write(os.path.join(case.folder, "disk"))
        with open(os.path.join(case.folder, "inodes"), "w", encoding="utf-8") as inodes:
            inodes.writelines(f"{node.ino} {path}\n" for path, node in image.files.items())
    return problems
