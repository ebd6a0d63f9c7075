"""The scenario of the toy engine, and which method must find which of its bugs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from tests.crash import toy
from tests.crash.scenario import Plan

BUGS: dict[str, tuple[str, ...]] = {
    "in-place": ("kill", "torn", "error", "power"),
    "no-file-sync": ("power",),
    "no-folder-sync": ("power",),
    "no-journal-sync": ("power",),
    "behind-a-torn-tail": ("torn",),
    "short-write": ("short",),
    "sync-retried": ("failed-sync",),
    "start-unwritten": ("kill", "power"),
}


class ToyScenario:
    """Three workflows: one step; a chain with a retry; a diamond with a step that fails and is let fail."""

    preload: tuple[str, ...] = ()
    refusals: frozenset[int] = frozenset({1})
    patience = 0.02
    limit = 20.0

    def __init__(self, bug: str) -> None:
        self.name = f"toy:{bug}" if bug else "toy"
        self.bug = bug
        ends = {name: dict.fromkeys(steps, "completed") for name, steps in toy.TEMPLATES.items()}
        ends["diamond"]["left"] = "failed"
        self.plans: Mapping[str, Plan] = {
            name: Plan("completed", ends[name], steps) for name, steps in toy.TEMPLATES.items()
        }

    def make(self, home: str, outside: str) -> None:
        for folder in ("inbox", "queue", "workflows", ".hybrid/tmp"):
            os.makedirs(os.path.join(home, folder), 0o700)
        view: dict[str, object] = {"engine": None, "counts": {"total": 0}, "jobs": []}
        with open(os.path.join(home, "queue-state.json"), "w", encoding="utf-8") as file:
            json.dump(view, file)

    def warm(self, home: str, outside: str) -> int:
        return 0

    def act(self, home: str, outside: str) -> int:
        engine = toy.Toy(home, outside, self.bug)
        for template in toy.TEMPLATES:
            try:
                engine.ask(f"{template}-job", template)
            except OSError:
                continue
        return self.recover(home, outside)

    def recover(self, home: str, outside: str) -> int:
        try:
            return toy.Toy(home, outside, self.bug).run()
        except OSError as error:
            print(f"the toy gave up: {error}")
            return 1

    def fold(self, home: str, workflow: str) -> bytes:
        with open(os.path.join(home, "workflows", workflow, "journal.jsonl"), "rb") as file:
            return toy.render(file.read())

    def logged(self, home: str) -> Mapping[str, list[bytes]]:
        return {}


def scenario(variant: str) -> ToyScenario:
    return ToyScenario(variant)
