"""Health: what is wrong is said, once, and decides whether new work may begin; what runs may always end."""

from __future__ import annotations

import pytest
from house import House

from hybrid_engine.daemon import health as healths
from hybrid_engine.model.attempt import Attempt


@pytest.fixture
def house() -> House:
    return House()


def test_a_disk_that_fails_is_said_once_and_nothing_new_starts_until_it_works(house: House) -> None:
    house.probes = 3
    house.health.disk(OSError(28, "No space left on device"))
    house.health.disk(OSError(28, "No space left on device"))
    house.admit("w1")
    house.wait(2.5)
    assert not house.engine.executor.world.processes
    assert house.views.queue is not None
    assert "No space left" in house.views.queue["engine"]["problems"][0]
    house.wait(3)
    assert list(house.engine.executor.world.processes) == ["w1/a/1"]
    assert house.views.queue["engine"]["problems"] == []


def test_too_little_room_stops_new_work_and_not_what_runs(house: House) -> None:
    house.admit("w1")
    house.wait(0.1)
    house.health.space(10, 1000)
    house.health.space(9, 1000)
    house.admit("w2")
    house.end("w1/a/1", "failed")
    house.wait(1)
    assert house.engine.executor.world.running() == []
    assert len(house.health.problems) == 1
    house.health.space(2000, 1000)
    house.wait(1)
    assert [process.attempt.key for process in house.engine.executor.world.running()] == ["w2/a/1"]
    assert not house.health.problems


def test_a_disk_that_works_again_does_not_start_work_while_there_is_too_little_room(house: House) -> None:
    house.health.space(10, 1000)
    house.health.disk(OSError(5, "Input/output error"))
    house.wait(3)
    assert list(house.health.problems) == ["space"]
    assert not house.engine.gate.is_open


def test_a_stopping_engine_is_not_set_to_work_again(house: House) -> None:
    house.health.disk(OSError(5, "Input/output error"))
    house.engine.gate.shut("stopping")
    house.wait(3)
    assert not house.health.problems
    assert not house.engine.gate.is_open


def test_a_log_that_grows_too_large_stops_new_work_until_a_checkpoint_succeeds(house: House) -> None:
    house.health.log_size(101, 100)
    assert (list(house.health.problems), house.engine.gate.is_open) == (["log"], False)
    changes = house.health.changes
    house.health.log_size(101, 100)
    assert house.health.changes == changes, "it is said once"
    house.health.log_size(100, 100)
    assert (house.health.problems, house.engine.gate.is_open) == ({}, True)


def test_too_few_files_are_a_problem_unless_the_file_system_does_not_count_them(house: House) -> None:
    house.health.inodes(50, 1_000_000)
    assert list(house.health.problems) == ["inodes"]
    house.health.inodes(5_000, 1_000_000)
    house.health.inodes(0, 0)
    assert not house.health.problems


def test_a_shortage_of_the_machine_is_forgotten_when_it_does_not_come_again(house: House) -> None:
    attempt = Attempt("w1", "a", 1)
    house.health.short_of(BlockingIOError(11, "Resource temporarily unavailable"), attempt)
    assert (
        "cannot be begun" in house.health.problems["machine"]
        or "could not be begun" in house.health.problems["machine"]
    )
    assert house.engine.gate.is_open
    house.wait(healths.FORGET_SHORTAGE + 1)
    assert not house.health.problems


def test_every_change_is_told_and_what_is_no_change_is_not(house: House) -> None:
    told: list[int] = []
    house.health.changed = lambda: told.append(house.health.changes)
    house.health.problem("index", None)
    house.health.problem("index", "it is rebuilt")
    house.health.problem("index", "it is rebuilt")
    house.health.problem("index", None)
    house.health.disk(OSError(5, "Input/output error"))
    house.health.disk(None)
    assert told == [1, 2, 3]


def test_a_probe_that_fails_is_made_again_until_it_works(house: House) -> None:
    house.probes = 4
    house.health.disk(OSError(5, "Input/output error"))
    house.wait(4.5 * healths.PROBE)
    assert "disk" in house.health.problems
    house.wait(2 * healths.PROBE)
    assert not house.health.problems
    assert house.engine.gate.is_open
