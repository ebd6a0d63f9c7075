"""What a scenario is: something that asks for workflows and runs them, and what must have become of them in the end.

The methods know no engine; they know this. `outside` is a file beside the home that no crash takes back: one line per
thing the world has seen (`asked <tag>`, `acked <tag>`, `ran <workflow> <step> <attempt>`; before a finished workflow is
removed, `removing <workflow> <tag>`, and once it is gone for good, `gone <workflow> <tag>`). A scenario must append
these lines itself, from the asking side and from within its steps, each by one write.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Plan:
    """How workflows of one template must end. `needs` names the steps that are final before a step starts."""

    status: str
    steps: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Scenario(Protocol):
    """`act` runs under the fault, `recover` (usually) without; all return an exit code. All paths are real paths."""

    name: str
    preload: tuple[str, ...]
    """Modules that a fork server imports beforehand."""

    plans: Mapping[str, Plan]
    refusals: frozenset[int]
    """Exit codes with which `act` may end when an error (not a kill) struck; 0 is always right."""

    patience: float
    """Seconds a lasting error is left in force once it struck."""

    limit: float
    """Seconds after which a run counts as hung."""

    def make(self, home: str, outside: str) -> None:
        """Build the home that is safely on the disk before anything happens."""

    def warm(self, home: str, outside: str) -> int:
        """Run once on the fresh home, undisturbed; what it leaves is safely on the disk, too."""

    def act(self, home: str, outside: str) -> int:
        """Ask for the workflows and run them until nothing is left to do."""

    def recover(self, home: str, outside: str) -> int:
        """Run what is there until nothing is left to do."""

    def fold(self, home: str, workflow: str) -> bytes:
        """The bytes that `state.json` of a workflow must have, from its journal alone."""

    def logged(self, home: str) -> Mapping[str, list[bytes]]:
        """For each workflow the lines of its journal that a commit log holds whole, in order; {} without such a log.

        What they say is as true as the journal, which may lack them until the next start.
        """


def load(name: str) -> Scenario:
    """`toy`, `toy:<bug>`, `engine` …: the first word names the module `scenario_<word>`, the rest is its business."""
    kind, _, variant = name.partition(":")
    module = importlib.import_module(f"tests.crash.scenario_{kind}")
    found: Scenario = module.scenario(variant)
    return found


def note(outside: str, *words: str) -> None:
    """Append one line to the world's memory."""
    fd = os.open(outside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, (" ".join(words) + "\n").encode())
    finally:
        os.close(fd)
