"""The scenario of the toy engine with a commit log, and which method must find which of its bugs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from tests.crash import scenario_toy, toy, toylog
from tests.crash.toylog_segments import frames

BUGS: dict[str, tuple[str, ...]] = {
    "act-before-sync": ("power",),
    "unlink-before-syncfs": ("power",),
    "unlink-unsynced": ("power",),
    "behind-a-torn-tail": ("torn", "power"),
    "late-descriptor": ("lost-write",),
    "sync-retried": ("failed-sync",),
    "trusting-start": ("kill-power", "failed-sync"),
}


class LogToyScenario(scenario_toy.ToyScenario):
    """The workflows of the other toy; the one of a single step is removed when it is finished."""

    def __init__(self, bug: str) -> None:
        super().__init__(bug)
        self.name = f"toylog:{bug}" if bug else "toylog"

    def act(self, home: str, outside: str) -> int:
        asking = toy.Toy(home, outside)
        for template in toy.TEMPLATES:
            try:
                asking.ask(f"{template}-job", template)
            except OSError:
                continue
        return self.recover(home, outside)

    def recover(self, home: str, outside: str) -> int:
        try:
            return toylog.LogToy(home, outside, self.bug).run()
        except OSError as error:
            print(f"the toy gave up: {error}")
            return 1

    def logged(self, home: str) -> Mapping[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        folder = os.path.join(home, ".hybrid", "log")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            with open(os.path.join(folder, name), "rb") as file:
                for id, line in (pair for batch in frames(file.read()) for pair in batch):
                    found.setdefault(id, []).append(line)
        return {id: sorted(set(lines), key=lambda line: json.loads(line)["n"]) for id, lines in found.items()}


def scenario(variant: str) -> LogToyScenario:
    return LogToyScenario(variant)
