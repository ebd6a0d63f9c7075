"""What a round does when its commit fails: nothing is begun, answered, removed or forgotten before it is durable."""

from __future__ import annotations

import pytest
from builders import a_job, a_template
from contracts.memory import Disk, MemoryEngine, World


@pytest.fixture
def engine() -> MemoryEngine:
    """On a disk that works."""
    return MemoryEngine(Disk(), World(), 2)


def running(engine: MemoryEngine) -> list[str]:
    return sorted(process.attempt.key for process in engine.executor.world.running())


def test_nothing_is_begun_or_answered_before_its_commit_and_then_all_of_it(engine: MemoryEngine) -> None:
    engine.disk.faults.append("commit")
    template = a_template(["one"])
    engine.admit(a_job("w", template), template)
    engine.settle()
    assert (running(engine), list(engine.disk.inbox)) == ([], ["w"])
    assert not engine.driver.is_settled
    engine.reactor.advance(1)
    assert (running(engine), list(engine.disk.inbox)) == (["w/one/1"], [])
    assert engine.driver.is_settled


def test_a_signal_lies_where_it_was_dropped_until_what_it_led_to_is_committed(engine: MemoryEngine) -> None:
    """Killed in between, the next engine reads it again."""
    template = a_template(["one"])
    engine.admit(a_job("w", template), template)
    engine.settle()
    engine.disk.faults.append("commit")
    engine.signal("w", "pause", "pause.1")
    engine.settle()
    assert list(engine.disk.signals["w"]) == ["pause.1"]
    engine.reactor.advance(1)
    assert not engine.disk.signals["w"]
    state = engine.disk.state("w")
    assert state is not None and state.status == "paused"


def test_an_end_that_could_not_be_committed_is_committed_later_and_once(engine: MemoryEngine) -> None:
    template = a_template(["one", "two"])
    engine.admit(a_job("w", template), template)
    engine.settle()
    engine.disk.faults += ["commit"] * 3
    engine.executor.end("w/one/1")
    engine.settle()
    assert running(engine) == []
    engine.reactor.advance(10)
    assert running(engine) == ["w/two/1"]
    assert [event.TYPE for event in engine.disk.events("w")].count("step_completed") == 1
