"""The projector: views and the index follow what is committed, at a pace that costs little, and never lie."""

from __future__ import annotations

import json

import pytest
from house import House

from hybrid_engine.daemon import projector as projectors


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
    for number in range(50):
        house.engine.signal("w1", "pause" if number % 2 else "resume", f"signal.{number}")
        house.wait(0.02)
    assert 3 <= house.views.writes.count("w1") <= 1 / projectors.SHORTEST + 2
    house.wait(1)
    assert house.views.states["w1"]["status"] == "paused"


def test_progress_is_a_view_of_its_own_which_goes_with_its_workflow(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    house.views.writes.clear()
    for percent in range(100):
        house.engine.executor.progress("w1/a/1", percent)
        house.wait(0.01)
    assert house.views.progress["w1"] == {"a": (99, None)}
    assert "w1" not in house.views.writes
    assert house.views.writes.count("progress of w1") <= 1 / projectors.TICK + 2
    house.end("w1/a/1")
    house.wait(0.1)
    house.engine.executor.progress("w1/b/1", 5)
    house.settle()
    house.end("w1/b/1")
    house.wait(1)
    assert house.views.progress["w1"] == {}


def test_progress_that_cannot_be_written_does_not_end_the_showing(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    house.views.failures = 1
    house.engine.executor.progress("w1/a/1", 5)
    house.wait(0.2)
    assert "disk" in house.health.problems
    house.end("w1/a/1")
    house.wait(3)
    assert house.views.states["w1"]["steps"]["b"]["status"] == "running"


def test_what_waits_is_shown_when_there_is_nothing_better_to_do(house: House) -> None:
    for number in range(120):
        house.admit(f"w{number:03}")
    house.wait(3)
    assert len(house.views.states) == 120
    assert {state["status"] for name, state in house.views.states.items() if name != "w000"} == {"queued"}


def test_the_last_view_is_never_followed_by_an_older_one(house: House) -> None:
    house.admit("w1")
    house.settle()
    house.engine.reactor.advance(0.01)
    house.end("w1/a/1")
    house.end("w1/b/1")
    assert json.loads(house.engine.disk.states["w1"])["status"] == "completed"
    house.views.writes.clear()
    house.wait(1)
    assert "w1" not in house.views.writes
    assert "first of w1" not in house.views.writes


def test_nothing_that_is_not_committed_is_shown(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    house.engine.disk.faults.extend(["commit"] * 4)
    house.end("w1/a/1")
    house.wait(1)
    assert house.views.states["w1"]["steps"]["a"]["status"] == "running"
    assert house.index.rows["w1"] == "running"
    house.engine.disk.faults.clear()
    house.wait(10)
    assert house.views.states["w1"]["steps"]["b"]["status"] == "running"


def test_a_job_that_changes_while_the_view_of_the_queue_is_made_stays_in_it(house: House) -> None:
    """The lines are joined in a thread, and entries change under it."""
    for workflow in ("w1", "w2", "w3"):
        house.admit(workflow)
    house.engine.settle()
    house.projector.write_queue()
    work, _ = house.background.pending.pop()
    house.engine.executor.end("w1/a/1", "failed")
    house.engine.settle()
    work()
    assert house.views.queue is not None
    assert [job["id"] for job in house.views.queue["jobs"]] == ["w1", "w2", "w3"]


def test_a_workflow_that_somebody_removed_is_shown_no_more(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    house.engine.driver.removed("w1")
    house.views.writes.clear()
    house.wait(1)
    assert house.views.queue is not None
    assert house.views.queue["jobs"] == []
    assert (house.index.rows, "w1" in house.views.writes) == ({}, False)


def test_a_workflow_that_rests_in_the_memory_of_nobody_is_shown_before(house: House) -> None:
    house.admit("w1")
    house.wait(0.1)
    house.engine.signal("w1", "pause", "pause.1")
    house.end("w1/a/1")
    assert "w1" not in house.engine.driver.runs
    assert (house.views.states["w1"]["status"], house.index.rows["w1"]) == ("paused", "paused")


def test_a_job_that_was_found_at_the_start_gets_into_the_index(house: House) -> None:
    house.projector.found_queued("of another day")
    house.projector.restore_views()
    house.wait(1)
    assert house.index.rows == {"of another day": "queued"}


def test_what_the_projector_has_nothing_to_do_with_costs_nothing(house: House) -> None:
    house.admit("w1")
    house.wait(2)
    house.views.writes.clear()
    house.wait(5)
    assert house.views.writes == []
    assert (house.engine.reactor.next_timer() or 9) > projectors.TICK


def test_views_that_somebody_removed_come_back(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    house.views.states.clear()
    house.views.queue = None
    house.wait(1)
    assert house.views.queue is None, "nothing has changed"
    house.projector.restore_views()
    house.wait(1)
    assert house.views.states["w1"]["status"] == "running"
    assert house.views.queue is not None


def test_a_view_that_cannot_be_written_is_written_when_it_can(house: House) -> None:
    house.views.failures = 1
    house.admit("w1")
    house.wait(0.3)
    assert "disk" in house.health.problems
    house.wait(3)
    assert house.views.states["w1"]["status"] == "running"
    assert not house.health.problems


def test_a_workflow_that_cannot_go_on_is_a_problem_until_a_person_acts(house: House) -> None:
    house.projector.stuck("w1", ValueError("a bug"))
    house.wait(1)
    assert house.problems() == ["workflow w1: a bug"]


def test_what_is_wrong_is_shown_at_once_and_so_is_its_end(house: House) -> None:
    house.admit("w1")
    house.wait(1)
    house.health.problem("watcher", "it died")
    house.wait(0.5)
    assert house.problems() == ["watcher: it died"]
    house.health.problem("watcher", None)
    house.wait(0.5)
    assert house.problems() == []
