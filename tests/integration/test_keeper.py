"""The keeper: views follow what is committed, at a pace that costs little, and health says what is wrong, once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from builders import a_job, a_template
from contracts.memory import Disk, MemoryEngine, World

from hybrid_engine.daemon import keeper as keepers
from hybrid_engine.daemon.keeper import Keeper
from hybrid_engine.files import views
from hybrid_engine.model.job import Job
from hybrid_engine.model.state import WorkflowState


class MemoryViews:
    """`ports.views.Views`; `writes` counts them."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}
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

    def has_state(self, workflow: str) -> bool:
        return workflow in self.states

    def has_queue(self) -> bool:
        return self.queue is not None

    def write_queued(self, workflow: str) -> None:
        self.writes.append(f"first of {workflow}")
        self.states.setdefault(workflow, {"status": "queued"})

    def queue_line(self, entry: Any) -> bytes:
        return views.queue_line(views.queue_entry(entry, entry.status, entry.waits_for))

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

    def put_missing(self, workflows: list[str]) -> None:
        for workflow in workflows:
            self.rows.setdefault(workflow, "queued")


class House:
    """An engine whose watcher is a real keeper."""

    def __init__(self, slots: int = 1) -> None:
        self.views, self.index = MemoryViews(), MemoryIndex()
        self.engine = MemoryEngine(Disk(), World(), slots)
        self.probes = 0
        self.keeper = Keeper(
            self.views,
            self.index,
            self.engine.background,
            self.engine.reactor,
            self.engine.clock,
            {"pid": 7},
            self.probe,
        )
        self.keeper.driver = self.engine.driver
        self.keeper.reopener = self.engine.recovery.reopen
        driver: Any = self.engine.driver
        for part in (driver, driver.closer, driver._performer):
            part._watcher = self.keeper
        driver._recorder._trouble = self.keeper.disk

    def probe(self) -> None:
        if self.probes:
            self.probes -= 1
            raise OSError(28, "No space left on device")

    def admit(self, workflow: str, **fields: Any) -> None:
        template = a_template({"a": {"retry": {"attempts": 2, "delay": 60, "jitter": False}}, "b": None})
        job = a_job(workflow, template, **fields)
        self.engine.disk.accept(job, template)
        self.engine.driver.admit(self.entry(job), job)
        self.keeper.queued(job)

    @staticmethod
    def entry(job: Job) -> Any:
        from hybrid_engine.engine.run import Entry

        return Entry.of(job)

    def wait(self, seconds: float) -> None:
        end = self.engine.reactor.now + seconds
        while self.engine.reactor.now < end - 1e-9:
            self.engine.settle()
            self.engine.reactor.advance(0.01)
        self.engine.settle()

    def end(self, key: str, kind: str = "completed") -> None:
        self.engine.executor.end(key, kind)
        self.engine.settle()


@pytest.fixture
def house() -> House:
    return House()


def test_views_follow_a_workflow_through_its_life(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    assert house.views.states["w1"]["steps"]["a"]["status"] == "running"
    assert house.views.queue is not None
    (job,) = house.views.queue["jobs"]
    assert (job["status"], job["waits_for"]) == ("running", None)
    house.end("w1/a/1")
    house.end("w1/b/1")
    house.wait(1)
    assert house.views.queue["jobs"] == []
    assert house.index.rows == {"w1": "completed"}
    assert json.loads(house.engine.disk.states["w1"])["status"] == "completed"


def test_the_queue_counts_what_its_jobs_wait_for(house: House) -> None:
    house.admit("retrying", priority=9)
    house.wait(0.1)
    house.end("retrying/a/1", "failed")
    house.admit("running", priority=8)
    house.admit("waiting")
    house.admit("delayed", due_at="2036-01-01T00:00:00.000000Z")
    house.admit("paused")
    house.engine.signal("paused", "pause", "pause.1")
    house.wait(2)
    assert house.views.queue is not None
    assert house.views.queue["counts"] == {"retrying": 1, "running": 1, "queued": 1, "delayed": 1, "paused": 1}
    assert house.views.queue["engine"]["slots"] == 1


def test_a_busy_workflow_is_not_shown_at_every_change(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    house.views.writes.clear()
    for percent in range(100):
        house.engine.executor.progress("w1/a/1", percent)
        house.wait(0.01)
    assert 3 <= house.views.writes.count("w1") <= 1 / keepers.SHORTEST + 2
    house.wait(1)
    assert house.views.states["w1"]["steps"]["a"]["progress"]["percent"] == 99


def test_what_waits_is_shown_when_there_is_nothing_better_to_do(house: House) -> None:
    for number in range(120):
        house.admit(f"w{number:03}")
    house.wait(3)
    assert len(house.views.states) == 120
    assert {state["status"] for name, state in house.views.states.items() if name != "w000"} == {"queued"}


def test_the_last_view_comes_after_one_that_is_still_being_written(house: House) -> None:
    house.admit("w1")
    house.engine.settle()
    house.engine.reactor.advance(0.1)
    assert house.engine.background.pending, "a view is on its way"
    house.engine.executor.end("w1/a/1")
    house.engine.reactor.run()
    while house.engine.syncer.pending:
        house.engine.syncer.do()
        house.engine.reactor.run()
    house.engine.executor.end("w1/b/1")
    house.engine.reactor.run()
    while house.engine.syncer.pending:
        house.engine.syncer.do()
        house.engine.reactor.run()
    assert house.engine.disk.queue, "it has ended, and waits for the view before it"
    house.wait(1)
    assert not house.engine.disk.queue
    assert json.loads(house.engine.disk.states["w1"])["status"] == "completed"


def test_views_that_somebody_removed_come_back(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    house.views.states.clear()
    house.views.queue = None
    house.wait(1)
    assert house.views.queue is None, "nothing has changed"
    house.keeper.restore_views()
    house.wait(1)
    assert house.views.states["w1"]["status"] == "running"
    assert house.views.queue is not None


# --- health -----------------------------------------------------------------------------------------------------------


def test_a_disk_that_fails_is_said_once_and_nothing_new_starts_until_it_works(house: House) -> None:
    house.probes = 3
    house.keeper.disk(OSError(28, "No space left on device"))
    house.keeper.disk(OSError(28, "No space left on device"))
    house.admit("w1")
    house.wait(2.5)
    assert not house.engine.executor.world.processes
    assert house.views.queue is not None
    assert "No space left" in house.views.queue["engine"]["problems"][0]
    house.wait(3)
    assert list(house.engine.executor.world.processes) == ["w1/a/1"]
    assert house.views.queue["engine"]["problems"] == []


def test_a_view_that_cannot_be_written_is_written_when_it_can(house: House) -> None:
    house.views.failures = 1
    house.admit("w1")
    house.wait(0.3)
    assert "disk" in house.keeper.problems
    house.wait(3)
    assert house.views.states["w1"]["status"] == "running"
    assert not house.keeper.problems


def test_too_little_room_stops_new_work_and_not_what_runs(house: House) -> None:
    house.admit("w1")
    house.wait(0.1)
    house.keeper.space(10, 1000)
    house.keeper.space(9, 1000)
    house.admit("w2")
    house.end("w1/a/1", "failed")
    house.wait(1)
    assert house.engine.executor.world.running() == []
    assert len(house.keeper.problems) == 1
    house.keeper.space(2000, 1000)
    house.wait(1)
    assert [process.attempt.key for process in house.engine.executor.world.running()] == ["w2/a/1"]
    assert not house.keeper.problems


def test_a_disk_that_works_again_does_not_start_work_while_there_is_too_little_room(house: House) -> None:
    house.keeper.space(10, 1000)
    house.keeper.disk(OSError(5, "Input/output error"))
    house.wait(3)
    assert list(house.keeper.problems) == ["space"]
    assert not house.engine.driver.accepting_work


def test_a_stopping_engine_is_not_set_to_work_again(house: House) -> None:
    house.keeper.disk(OSError(5, "Input/output error"))
    house.keeper.stopping = True
    house.wait(3)
    assert not house.keeper.problems
    assert not house.engine.driver.accepting_work


def test_a_workflow_that_cannot_go_on_is_a_problem_until_a_person_acts(house: House) -> None:
    house.keeper.stuck("w1", ValueError("a bug"))
    house.wait(1)
    assert house.views.queue is not None
    assert house.views.queue["engine"]["problems"] == ["workflow w1: a bug"]
