"""A house: an engine in memory whose watcher is a real projector with a real health, for the tests of both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from builders import a_job, a_template
from contracts.memory import Disk, MemoryEngine, MemorySyncer, World

from hybrid_engine.daemon.health import Health
from hybrid_engine.daemon.projector import Projector
from hybrid_engine.files import views
from hybrid_engine.model.job import Job
from hybrid_engine.model.state import WorkflowState


class MemoryViews:
    """`ports.views.Views`; `writes` counts them."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self.progress: dict[str, dict[str, tuple[float, str | None]]] = {}
        self.queue: dict[str, Any] | None = None
        self.writes: list[str] = []
        self.failures = 0

    def state_bytes(self, state: WorkflowState) -> bytes:
        return views.render_state(views.state_record(state))

    def write_state(self, workflow: str, data: bytes) -> None:
        self.writes.append(workflow)
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.states[workflow] = json.loads(data)

    def grown(self, state: WorkflowState) -> None:
        pass

    def write_progress(self, workflow: str, progress: Mapping[str, tuple[float, str | None]]) -> None:
        self.writes.append(f"progress of {workflow}")
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.progress[workflow] = dict(progress)

    def has_state(self, workflow: str) -> bool:
        return workflow in self.states

    def has_queue(self) -> bool:
        return self.queue is not None

    def write_queued(self, workflow: str) -> None:
        self.writes.append(f"first of {workflow}")
        self.states.setdefault(workflow, {"status": "queued"})

    def queue_line(self, entry: Any) -> bytes:
        return views.queue_line(views.queue_entry(entry, entry.status, entry.waits_for, entry.size))

    def write_queue(
        self, lines: Iterable[bytes], counts: Mapping[str, int], updated_at: str, engine: Mapping[str, Any] | None
    ) -> None:
        self.writes.append("queue")
        self.queue = {"jobs": [json.loads(line) for line in lines], "counts": dict(counts), "engine": engine}


class MemoryIndex:
    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def put_state(self, state: WorkflowState) -> None:
        self.rows[state.id] = state.status

    def put_job(self, job: Job) -> None:
        self.rows[job.id] = "queued"

    def remove(self, workflow: str) -> None:
        self.rows.pop(workflow, None)

    def put_missing(self, workflows: list[str]) -> None:
        for workflow in workflows:
            self.rows.setdefault(workflow, "queued")


class House:
    """An engine whose watcher is a real projector, with a real health."""

    def __init__(self, slots: int = 1) -> None:
        self.views, self.index = MemoryViews(), MemoryIndex()
        self.probes = 0
        self.engine = MemoryEngine(Disk(), World(), slots)
        engine: Any = self.engine
        self.background = MemorySyncer(engine.reactor)
        self.health = Health(engine.reactor, self.background, engine.clock, engine.gate, self.probe)
        self.projector = Projector(
            self.views, self.index, self.background, engine.reactor, engine.clock, engine.work, self.health,
            {"pid": 7}, lambda: {each.attempt.key: each.attempt for each in engine.executor.world.running()},
        )  # fmt: skip
        driver = engine.driver
        for part in (driver, driver._performer):
            part._watcher = self.projector
        driver.recorder._trouble = self.projector.disk

    def probe(self) -> None:
        if self.probes:
            self.probes -= 1
            raise OSError(28, "No space left on device")

    def admit(self, workflow: str, **fields: Any) -> None:
        template = a_template({"a": {"retry": {"attempts": 2, "delay": 60, "jitter": False}}, "b": None})
        self.engine.admit(a_job(workflow, template, **fields), template)

    def settle(self) -> None:
        self.engine.settle()
        while self.background.pending:
            self.background.do()
            self.engine.settle()

    def wait(self, seconds: float) -> None:
        end = self.engine.reactor.now + seconds
        while self.engine.reactor.now < end - 1e-9:
            self.settle()
            self.engine.reactor.advance(0.01)
        self.settle()

    def end(self, key: str, kind: str = "completed") -> None:
        self.engine.executor.end(key, kind)
        self.settle()

    def problems(self) -> list[str]:
        """As everybody sees them."""
        assert self.views.queue is not None
        return list(self.views.queue["engine"]["problems"])
