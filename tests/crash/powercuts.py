"""The methods that cut the power: which runs are recorded, and after which of their operations the power goes.

What is told of a run's end is only as durable as its last sync, so the cuts that matter lie around the commits: before
a sync, right after it, and behind each of the few operations that act on it. They are tried first, spread over the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from tests.crash import diskimages, powerloss
from tests.crash.cases import Recording, Result, Spec, play, record
from tests.crash.faultlib import BEGUN, Fault, Operation
from tests.crash.methods import Method, Report, count, spread
from tests.crash.runner import Bench

SYNCS = ("fsync", "fdatasync", "syncfs", "msync")
FOLLOWING = 3
"""So many operations behind a commit are looked at each by itself: they are what was held back until it was durable."""


def groups_of_cuts(
    recording: Recording, commits: int | None, seed: str, behind: Callable[[Operation], bool] | None = None
) -> list[list[int]]:
    """After how many operations the power goes: a group for each commit, then one for every other operation.

    With `commits` only so many groups, spread evenly; the seed says where they begin. Behind an error they come in
    their order instead: what it harmed is harmed most right after it. `behind` chooses operations, right after which
    the power goes.
    """
    operations = recording.operations
    cuts = range(recording.begins, len(operations) + 1)
    if behind:
        return [[at + 1] for at, operation in enumerate(operations) if at + 1 in cuts and behind(operation)]
    syncs = [at for at, operation in enumerate(operations) if operation.op in SYNCS and not operation.flags & BEGUN]
    known: set[int] = set()
    groups = []
    for sync in syncs:
        group = [cut for cut in range(sync, sync + 2 + FOLLOWING) if cut in cuts and cut not in known]
        known |= set(group)
        groups += [group] if group else []
    turn = int(seed) % max(1, len(groups))
    near = [groups[(index + turn) % len(groups)] for index in spread(len(groups))] if groups else []
    if recording.begins and not recording.faults[-1].kills:
        near = groups
    rest = [cut for cut in cuts if cut not in known]
    return near[:commits] if commits is not None else near + [[rest[index]] for index in spread(len(rest))]


def states(
    recording: Recording, worlds: Iterable[str], groups: list[list[int]], draws: int, seed: str
) -> Iterator[tuple[Spec, diskimages.Image]]:
    """Every distinct disk after these cuts."""
    known: set[tuple[str, int]] = set()
    for group in groups:
        for world in worlds:
            disk = powerloss.Disk(recording.base, world)
            for cut in range(group[-1] + 1):
                if cut in group:
                    for name, choice in diskimages.choices(disk, draws, f"{seed}:{cut}"):
                        image = diskimages.Image(disk, choice)
                        mark = (image.digest(), len(recording.seen_before(cut)))
                        if mark not in known:
                            known.add(mark)
                            yield Spec(recording.faults, f"{world}:{cut}:{name}:seed{seed}"), image
                if cut < len(recording.operations):
                    disk.apply(recording.operations[cut])


def cut_power(
    method: Method, recording: Recording, groups: list[list[int]], worlds: Iterable[str], draws: int, seed: str
) -> None:
    """All cases of one recording, into the report of the method."""
    if recording.problems:
        method.note(Spec(recording.faults), Result(1, recording.problems))
    images: dict[str, diskimages.Image] = {}

    def specs() -> Iterator[Spec]:
        for spec, image in states(recording, worlds, groups, draws, seed):
            images[str(spec)] = image
            yield spec

    method.run(lambda spec: play(method.bench, spec, recording, images.pop(str(spec))), specs())


# ---- the methods ---------------------------------------------------------------------------------------------------


def power_loss(
    bench: Bench, *, worlds: Iterable[str] = powerloss.WORLDS, draws: int = 8, seed: str = "1",
    commits: int | None = None, stop_at: int = 20, behind: Callable[[Operation], bool] | None = None,
    seconds: float | None = None,
) -> Report:  # fmt: skip
    """Every legal disk after every cut of one recorded run, or after the cuts around so many of its commits."""
    method = Method(bench, "power loss", stop_at, seconds)
    recording = record(bench)
    cut_power(method, recording, groups_of_cuts(recording, commits, seed, behind), worlds, draws, seed)
    return method.report


def after_kill(
    bench: Bench, *, kills: int | None = None, commits: int | None = None, draws: int = 2, seed: str = "1",
    stop_at: int = 20, seconds: float | None = None,
) -> Report:  # fmt: skip
    """Kill before a sync, recover, cut the power in the recovery or behind it, recover again.

    What the killed process wrote is seen by the recovery, durable or not; what a recovery trusts it must make durable.
    """
    faults = _places(bench, Fault("kill", only="+".join(SYNCS)), kills, seed)
    return _under_faults(bench, "kill, recovery, power loss", faults, powerloss.WORLDS, commits, draws, seed, stop_at,
                         seconds)  # fmt: skip


def failed_sync(
    bench: Bench, *, syncs: int | None = None, commits: int | None = None, draws: int = 2, seed: str = "1",
    worlds: Iterable[str] = powerloss.WORLDS, stop_at: int = 20, seconds: float | None = None,
) -> Report:  # fmt: skip
    """Each sync fails once with EIO; what it left unwritten never reaches the disk; then the power goes."""
    faults = _places(bench, Fault("once", error="EIO", only="+".join(SYNCS)), syncs, seed)
    return _under_faults(bench, "a sync fails, then power loss", faults, worlds, commits, draws, seed, stop_at,
                         seconds)  # fmt: skip


def lost_write(
    bench: Bench, *, writes: int | None = None, commits: int | None = None, draws: int = 2, seed: str = "1",
    stop_at: int = 20, seconds: float | None = None,
) -> Report:  # fmt: skip
    """The kernel gives up what was written, and tells only those descriptors that were open; then the power goes."""
    faults = _places(bench, Fault("lose"), writes, seed)
    return _under_faults(bench, "a write is lost, then power loss", faults, ("ordered",), commits, draws, seed,
                         stop_at, seconds)  # fmt: skip


def _places(bench: Bench, fault: Fault, most: int | None, seed: str) -> list[Fault]:
    """The fault at each place where it can strike in an undisturbed run, spread; only so many of them with `most`."""
    number = count(bench, fault)
    places = [1 + (index + int(seed)) % number for index in spread(number)]
    return [replace(fault, at=at) for at in places[:most]]


def _under_faults(
    bench: Bench, name: str, faults: list[Fault], worlds: Iterable[str], commits: int | None, draws: int, seed: str,
    stop_at: int, seconds: float | None,
) -> Report:  # fmt: skip
    """For each of these faults: record a run that meets it, then cut the power of that."""
    method = Method(bench, name, stop_at, seconds)
    for fault in faults:
        if method.is_over:
            break
        recording = record(bench, fault)
        if recording.fired:
            cut_power(method, recording, groups_of_cuts(recording, commits, seed), worlds, draws, seed)
    return method.report
