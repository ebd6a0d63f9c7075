"""Who gets a slot, and when: slots of broken workflows, the order of steps, and a wall clock that is set.

The driver with everything around it in memory, and a wall clock that can be set while the reactor's goes on.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from builders import START, a_job, a_template, at
from contracts.memory import Disk, MemoryEngine, World

from hybrid_engine.engine import turn
from hybrid_engine.engine.dispatcher import LONGEST_TIMER

pytestmark = pytest.mark.timeout(20)
"""A timer that is set for now again and again would keep the clock from moving."""


class ClockedEngine(MemoryEngine):
    """Its wall clock has been set forward by `ahead` seconds."""

    ahead = 0.0

    def clock(self) -> datetime:
        return START + timedelta(seconds=self.reactor.now + self.ahead)


@pytest.fixture
def world() -> World:
    return World()


def running(world: World) -> list[str]:
    return sorted(process.attempt.key for process in world.running())


def test_steps_of_a_workflow_get_slots_in_the_order_of_its_template(world: World) -> None:
    engine = MemoryEngine(Disk(), world, 1)
    template = a_template({name: {"needs": []} for name in ("c", "a", "d", "b")})
    engine.admit(a_job("w", template), template)
    order = []
    for _ in range(4):
        engine.settle()
        (key,) = running(world)
        order.append(key.split("/")[1])
        engine.executor.end(key)
    assert order == ["c", "a", "d", "b"]


def test_the_step_whose_turn_it_is_comes_before_one_that_became_ready_earlier(world: World) -> None:
    """The order is the template's, not that in which steps became ready."""
    engine = MemoryEngine(Disk(), world, 1)
    template = a_template(
        {"first": {"needs": []}, "middle": {"needs": ["first"]}, "last": {"needs": []}, "end": {"needs": []}}
    )
    engine.admit(a_job("w", template), template)
    engine.settle()
    engine.executor.end("w/first/1")
    engine.settle()
    assert running(world) == ["w/middle/1"]


def test_a_workflow_that_breaks_while_a_step_of_it_runs_gives_its_slot_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = MemoryEngine(Disk(), world, 1)
    template = a_template(["one"])
    for name in ("breaks", "waits"):
        engine.admit(a_job(name, template), template)
        engine.settle()
    assert running(world) == ["breaks/one/1"]
    handle = turn.handle

    def breaking(run: turn.Run, *rest: object) -> None:
        if run.id == "breaks":
            raise RuntimeError("a bug")
        handle(run, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(turn, "handle", breaking)
    engine.executor.end("breaks/one/1")
    engine.settle()
    assert running(world) == ["waits/one/1"]
    assert engine.driver.dispatcher.slots.used == 1


# --- a clock that is set ----------------------------------------------------------------------------------------------


def test_a_job_whose_time_has_come_because_the_clock_was_set_starts_within_half_a_minute(world: World) -> None:
    engine = ClockedEngine(Disk(), world, 1)
    template = a_template(["one"])
    engine.admit(a_job("w", template, due_at=at(3600)), template)
    engine.reactor.advance(10)
    engine.ahead = 7200.0
    engine.reactor.advance(LONGEST_TIMER)
    assert running(world) == ["w/one/1"]


def test_a_job_is_not_started_early_because_the_clock_was_set_back(world: World) -> None:
    engine = ClockedEngine(Disk(), world, 1)
    template = a_template(["one"])
    engine.admit(a_job("w", template, due_at=at(100)), template)
    engine.ahead = -60.0
    engine.reactor.advance(130)
    assert running(world) == []
    engine.reactor.advance(30 + LONGEST_TIMER)
    assert running(world) == ["w/one/1"]


def waiting_for_its_retry(world: World, delay: float) -> ClockedEngine:
    """Its first attempt has failed; the next comes after `delay` seconds, which is the longest delay, too."""
    engine = ClockedEngine(Disk(), world, 1)
    retry = {"attempts": 2, "delay": delay, "max_delay": delay, "jitter": False}
    template = a_template({"one": {"retry": retry}})
    engine.admit(a_job("w", template), template)
    engine.settle()
    engine.executor.end("w/one/1", "failed")
    engine.settle()
    return engine


def test_a_retry_waits_no_longer_than_its_longest_delay_although_the_clock_was_set_back(world: World) -> None:
    engine = waiting_for_its_retry(world, 60.0)
    engine.reactor.advance(20)
    engine.ahead = -86_400.0
    engine.reactor.advance(39)
    assert running(world) == []
    engine.reactor.advance(1.1)
    assert running(world) == ["w/one/2"]


def test_a_retry_whose_time_has_come_because_the_clock_was_set_begins_within_half_a_minute(world: World) -> None:
    engine = waiting_for_its_retry(world, 3600.0)
    engine.reactor.advance(10)
    engine.ahead = 86_400.0
    engine.reactor.advance(LONGEST_TIMER)
    assert running(world) == ["w/one/2"]
