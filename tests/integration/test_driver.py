"""The driver, with everything around it in memory. First any story at all, then those whose order matters."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from builders import a_job, a_template, at
from contracts.memory import Disk, MemoryEngine, World
from hypothesis import HealthCheck, settings
from lives import Life, tell

from hybrid_engine.model import events as e
from hybrid_engine.model.events import EVENT_TYPES
from hybrid_engine.model.template import Template
from hybrid_engine.model.waits import sentence

LifeOfAnEngine = Life.TestCase
LifeOfAnEngine.settings = settings(
    max_examples=60, stateful_step_count=50, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("block", range(2))
def test_in_long_lives_too_everything_ends_and_nothing_leaks(block: int) -> None:
    """Say `tell(seed)` with the seed that a failure names to have the same story again."""
    told: Counter[str] = Counter()
    for seed in range(block * 50, block * 50 + 50):
        told += tell(seed)
    assert set(EVENT_TYPES) - set(told) == {"step_progressed"}, "the stories are too tame"  # no longer journaled


class Stage:
    """An engine with some slots, on which a story is told."""

    def __init__(self, slots: int = 4) -> None:
        self.disk, self.world, self.slots = Disk(), World(), slots
        self.engine = MemoryEngine(self.disk, self.world, slots)

    def admit(self, workflow: str, template: Template, **fields: Any) -> None:
        self.engine.admit(a_job(workflow, template, **fields), template)
        self.engine.settle()

    def signal(self, workflow: str, verb: str) -> None:
        self.engine.signal(workflow, verb, f"{verb}.{len(self.disk.events(workflow))}")
        self.engine.settle()

    def end(self, key: str, kind: str = "completed") -> None:
        self.engine.executor.end(key, kind)
        self.engine.settle()

    def restart(self) -> None:
        self.disk.crash()
        self.engine = MemoryEngine(self.disk, self.world, self.slots, self.engine.reactor.now)
        self.engine.settle()

    def running(self) -> list[str]:
        return sorted(process.attempt.key for process in self.world.running())

    def status(self, workflow: str) -> str:
        state = self.disk.state(workflow)
        return state.status if state else "queued"

    def waits_for(self, workflow: str) -> str | None:
        entry = self.engine.driver.backlog.get(workflow)
        return sentence(entry.waits_for) if entry else None

    def types(self, workflow: str) -> list[str]:
        return [event.TYPE for event in self.disk.events(workflow)]


# --- slots and order ------------------------------------------------------------------------------------------------


def test_jobs_start_by_priority_then_due_time_then_arrival() -> None:
    stage = Stage(slots=1)
    stage.admit("first", a_template())
    stage.admit("later", a_template(), due_at=at(2), queued_at=at(0))
    stage.admit("sooner", a_template(), due_at=at(1), queued_at=at(0))
    stage.admit("urgent", a_template(), priority=5, due_at=at(3), queued_at=at(0))
    stage.engine.reactor.advance(5)
    order = []
    while stage.running():
        (key,) = stage.running()
        order.append(key.split("/")[0])
        stage.end(key)
    assert order == ["first", "urgent", "sooner", "later"]


def test_steps_of_a_workflow_run_side_by_side_up_to_the_slots() -> None:
    stage = Stage(slots=2)
    stage.admit(
        "w", a_template({"a": {"needs": []}, "b": {"needs": []}, "c": {"needs": []}, "d": {"needs": ["a", "c"]}})
    )
    assert stage.running() == ["w/a/1", "w/b/1"]
    stage.end("w/a/1")
    assert stage.running() == ["w/b/1", "w/c/1"]
    stage.end("w/b/1")
    stage.end("w/c/1")
    assert stage.running() == ["w/d/1"]
    stage.end("w/d/1")
    assert stage.status("w") == "completed"


def test_a_slot_is_handed_on_to_the_next_step_in_the_same_commit() -> None:
    stage = Stage(slots=1)
    stage.admit("w", a_template(["a", "b"]))
    before = stage.engine.driver.recorder.commits
    stage.end("w/a/1")
    assert stage.engine.driver.recorder.commits == before + 1
    assert stage.running() == ["w/b/1"]


def test_a_retry_that_waits_holds_no_slot_and_no_descriptor() -> None:
    stage = Stage(slots=1)
    stage.admit("w", a_template({"a": {"retry": {"attempts": 2, "delay": 40, "jitter": False}}}))
    stage.end("w/a/1", "failed")
    assert stage.waits_for("w") == f"retry at {at(40)}"
    stage.admit("other", a_template())
    assert stage.running() == ["other/one/1"]
    stage.engine.reactor.advance(39)
    assert stage.running() == ["other/one/1"]
    stage.end("other/one/1")
    stage.engine.reactor.advance(2)
    stage.engine.settle()
    assert stage.running() == ["w/a/2"]


def test_a_pause_does_not_shorten_the_wait_of_a_later_retry() -> None:
    stage = Stage()
    retry = {"attempts": 3, "delay": 10, "factor": 10, "max_delay": "1h", "jitter": False}
    stage.admit("w", a_template({"a": {"retry": retry}}))
    stage.end("w/a/1", "failed")
    stage.signal("w", "pause")
    stage.signal("w", "resume")
    stage.engine.reactor.advance(10)
    stage.engine.settle()
    stage.end("w/a/2", "failed")
    stage.engine.reactor.advance(50)
    stage.engine.settle()
    assert stage.running() == []
    stage.engine.reactor.advance(51)
    stage.engine.settle()
    assert stage.running() == ["w/a/3"]


# --- pools ----------------------------------------------------------------------------------------------------------

ALONE = a_template(concurrency="db")


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_a_free_place_passes_by_a_workflow_that_does_not_want_it_any_more(verb: str) -> None:
    stage = Stage()
    for workflow in ("one", "two", "three"):
        stage.admit(workflow, ALONE)
    assert (stage.running(), stage.waits_for("two")) == (["one/one/1"], "pool db")
    first = "three" if stage.waits_for("three") == "pool db" else "two"
    stage.signal("three", verb)
    stage.end("one/one/1")
    assert stage.running() == ["two/one/1"], first


@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_a_free_place_passes_by_a_step_that_does_not_want_it_any_more(verb: str) -> None:
    stage = Stage()
    template = a_template({"a": {"concurrency": "gpu"}})
    for workflow in ("one", "three", "two"):
        stage.admit(workflow, template)
    assert (stage.running(), stage.waits_for("two")) == (["one/a/1"], "pool gpu")
    stage.signal("three", verb)
    stage.end("one/a/1")
    assert stage.running() == ["two/a/1"]


def test_a_workflow_that_is_retried_waits_for_a_place_in_its_pool() -> None:
    stage = Stage()
    stage.admit("one", ALONE)
    stage.end("one/one/1", "failed")
    stage.admit("two", ALONE)
    stage.signal("one", "retry")
    assert (stage.status("one"), stage.running(), stage.waits_for("one")) == ("running", ["two/one/1"], "pool db")
    stage.restart()
    assert stage.running() == ["two/one/1"]
    stage.end("two/one/1")
    assert stage.running() == ["one/one/2"]


def test_all_steps_of_a_retried_workflow_go_on_when_it_has_its_place() -> None:
    stage = Stage()
    template = a_template({"a": {"needs": []}, "b": {"needs": []}}, concurrency="db")
    stage.admit("one", template)
    stage.end("one/a/1", "failed")
    stage.end("one/b/1", "failed")
    stage.admit("two", template)
    stage.signal("one", "retry")
    stage.end("two/a/1")
    assert stage.running() == ["two/b/1"]
    stage.end("two/b/1")
    assert stage.running() == ["one/a/2", "one/b/2"]


def test_a_workflow_between_two_steps_keeps_its_place_over_a_restart() -> None:
    stage = Stage()
    stage.admit("one", a_template({"a": {"retry": {"attempts": 2, "delay": 10}}}, concurrency="db"))
    stage.end("one/a/1", "failed")
    stage.admit("two", ALONE, priority=9)
    stage.restart()
    assert (stage.running(), stage.waits_for("two")) == ([], "pool db")


def test_a_job_whose_pool_is_full_is_accepted_and_leaves_no_run_behind() -> None:
    stage = Stage()
    stage.admit("one", ALONE)
    stage.admit("two", ALONE)
    assert set(stage.engine.driver.runs) == {"one"}
    assert stage.types("two") == ["workflow_created"]


def test_a_signal_and_a_full_pool_at_once_do_not_begin_a_journal_twice() -> None:
    stage = Stage()
    stage.admit("one", ALONE)
    stage.engine.admit(a_job("two", ALONE), ALONE)
    stage.engine.signal("two", "resume", "resume.1")
    stage.engine.settle()
    stage.end("one/one/1")
    stage.end("two/one/1")
    assert stage.types("two")[:2] == ["workflow_created", "workflow_started"]
    assert stage.status("two") == "completed"


# --- signals --------------------------------------------------------------------------------------------------------


def test_a_cancelled_workflow_is_cancelled_only_when_nothing_of_it_runs() -> None:
    stage = Stage()
    stage.admit("w", a_template({"a": {"needs": []}, "b": {"needs": []}, "c": {"needs": ["a", "b"]}}))
    stage.signal("w", "cancel")
    assert (stage.status("w"), stage.running()) == ("running", ["w/a/1", "w/b/1"])
    assert all(process.cancelled for process in stage.world.running())
    stage.end("w/a/1", "cancelled")
    assert stage.status("w") == "running"
    stage.end("w/b/1", "completed")
    state = stage.disk.state("w")
    assert state is not None
    assert state.status == "cancelled"
    assert {name: step.status for name, step in state.steps.items()} == {
        "a": "cancelled", "b": "completed", "c": "cancelled",
    }  # fmt: skip


@pytest.mark.parametrize("moment", ["queued", "delayed", "pool", "running", "retrying", "paused", "waiting for a slot"])
def test_a_cancel_ends_a_workflow_in_whatever_state_it_is(moment: str) -> None:
    stage = Stage(slots=1)
    template = a_template({"a": {"retry": {"attempts": 2, "delay": 10}}}, concurrency="db")
    if moment in ("queued", "pool"):
        stage.admit("other", template if moment == "pool" else a_template())
    stage.admit("w", template, due_at=at(60 if moment == "delayed" else 0))
    if moment == "retrying":
        stage.end("w/a/1", "failed")
    elif moment == "paused":
        stage.signal("w", "pause")
    elif moment == "waiting for a slot":
        stage.end("w/a/1", "failed")
        stage.admit("other", a_template())
        stage.engine.reactor.advance(30)
    stage.signal("w", "cancel")
    if "w/a/1" in stage.running():
        stage.end("w/a/1", "cancelled")
    assert stage.status("w") == "cancelled"
    assert "w" not in stage.engine.driver.backlog
    stage.engine.reactor.advance(100)
    stage.engine.settle()
    assert stage.status("w") == "cancelled"
    assert not any(key.startswith("w/") for key in stage.running())
    assert stage.engine.driver.dispatcher.slots.used == len(stage.running())


def test_a_paused_workflow_lets_its_attempts_end_and_begins_no_other() -> None:
    stage = Stage()
    stage.admit("w", a_template(["a", "b"]))
    stage.signal("w", "pause")
    stage.end("w/a/1")
    assert (stage.status("w"), stage.running()) == ("paused", [])
    assert stage.engine.driver.is_idle
    stage.restart()
    assert stage.running() == []
    stage.signal("w", "resume")
    assert stage.running() == ["w/b/1"]


def test_a_paused_job_whose_time_comes_is_still_shown_as_paused() -> None:
    stage = Stage()
    stage.admit("w", a_template(), due_at=at(30))
    stage.signal("w", "pause")
    stage.engine.reactor.advance(60)
    entry = stage.engine.driver.backlog.get("w")
    assert entry is not None
    assert entry.status == "paused"
    stage.signal("w", "resume")
    assert stage.running() == ["w/one/1"]


def test_a_signal_is_acted_on_once_however_often_it_is_read() -> None:
    stage = Stage()
    stage.admit("w", a_template())
    stage.engine.signal("w", "pause", "pause.1")
    stage.engine.signal("w", "pause", "pause.1")
    stage.engine.settle()
    stage.signal("w", "resume")
    stage.engine.signal("w", "pause", "pause.1")
    stage.engine.settle()
    assert stage.types("w").count("workflow_paused") == 1
    assert not stage.disk.signals["w"]


def test_a_retry_runs_again_what_failed_and_what_that_kept_from_running() -> None:
    stage = Stage()
    stage.admit("w", a_template(["a", "b", "c"]))
    stage.end("w/a/1")
    stage.end("w/b/1", "failed")
    assert stage.status("w") == "failed"
    stage.signal("w", "retry")
    assert stage.running() == ["w/b/2"]
    stage.end("w/b/2")
    stage.end("w/c/1")
    assert stage.status("w") == "completed"
    assert [event.step for event in stage.disk.events("w") if isinstance(event, e.StepReopened)] == ["b", "c"]


def test_a_retry_that_comes_while_the_workflow_is_leaving_the_queue_is_not_lost() -> None:
    stage = Stage()
    stage.admit("w", a_template())
    engine = stage.engine
    engine.executor.end("w/one/1", "failed")
    engine.reactor.run()
    engine.signal("w", "retry", "retry.1")
    engine.settle()
    assert stage.running() == ["w/one/2"]
    assert len(stage.disk.queue) == 1
    stage.end("w/one/2")
    assert stage.status("w") == "completed"
    assert not stage.disk.queue


def test_a_retry_that_was_already_acted_on_does_not_keep_a_finished_workflow_in_the_queue() -> None:
    """The signal's file outlived a crash between the commit and its removal; by now the workflow has failed again."""
    stage = Stage()
    stage.admit("w", a_template())
    stage.end("w/one/1", "failed")
    stage.engine.signal("w", "retry", "retry.1")
    stage.engine.settle()
    stage.end("w/one/2", "failed")
    stage.engine.signal("w", "retry", "retry.1")
    stage.engine.settle()
    assert stage.status("w") == "failed"
    assert not stage.disk.queue
    assert not stage.engine.driver.runs
    assert not stage.disk.signals["w"]


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "teleport"])
def test_a_signal_to_a_finished_workflow_changes_nothing_and_goes(verb: str) -> None:
    stage = Stage()
    stage.admit("w", a_template())
    stage.end("w/one/1")
    before = bytes(stage.disk.journals["w"])
    stage.signal("w", verb)
    assert bytes(stage.disk.journals["w"]) == before
    assert not stage.disk.signals["w"]


# --- outcomes -------------------------------------------------------------------------------------------------------


def test_a_late_result_of_an_earlier_attempt_changes_nothing() -> None:
    stage = Stage()
    stage.admit("w", a_template({"a": {"retry": {"attempts": 3, "delay": 0}}}))
    stage.end("w/a/1", "failed")
    stage.engine.reactor.advance(1)
    stage.engine.settle()
    stage.end("w/a/2")
    stage.engine.executor.say_again("w/a/1")
    stage.engine.settle()
    assert stage.status("w") == "completed"
    assert stage.engine.driver.dispatcher.slots.used == 0


def test_an_attempt_that_cannot_begin_for_want_of_something_is_begun_later_and_keeps_its_slot() -> None:
    stage = Stage(slots=1)
    stage.world.shortages = 3
    stage.admit("w", a_template())
    assert (stage.running(), stage.engine.driver.dispatcher.slots.used) == ([], 1)
    stage.engine.reactor.advance(1)
    assert stage.running() == ["w/one/1"]


def test_a_cancel_reaches_an_attempt_that_never_could_begin() -> None:
    stage = Stage(slots=1)
    stage.world.shortages = 100
    stage.admit("w", a_template())
    stage.signal("w", "cancel")
    stage.engine.reactor.advance(1)
    stage.engine.settle()
    assert stage.status("w") == "cancelled"
    assert stage.engine.driver.dispatcher.slots.used == 0


@pytest.mark.parametrize("fault", ["commit", "settle"])
def test_a_disk_that_fails_delays_and_loses_nothing(fault: str) -> None:
    stage = Stage()
    stage.disk.faults.extend([fault] * 3)
    stage.admit("w", a_template())
    assert len(stage.disk.faults) < 3, "this never fails"
    for _ in range(20):
        stage.engine.works_again() if not stage.disk.faults else None
        stage.engine.reactor.advance(2)
        stage.engine.settle()
        for key in stage.running():
            stage.end(key)
    stage.engine.works_again()
    stage.engine.settle()
    for key in stage.running():
        stage.end(key)
    stage.engine.reactor.advance(10)
    stage.engine.settle()
    assert stage.status("w") == "completed"
    assert stage.types("w") == [
        "workflow_created", "workflow_started", "step_started", "step_completed", "workflow_completed",
    ]  # fmt: skip
    assert not stage.disk.queue


def test_nothing_is_submitted_before_its_start_is_on_disk() -> None:
    stage = Stage()
    stage.disk.faults.append("commit")
    stage.engine.admit(a_job("w"), a_template())
    stage.engine.settle()
    assert stage.running() == []
    stage.engine.reactor.advance(1)
    stage.engine.settle()
    assert stage.running() == ["w/one/1"]


def test_a_step_that_is_retried_in_the_turn_that_ends_it_keeps_its_place_in_its_pool() -> None:
    stage = Stage()
    template = a_template({"a": {"concurrency": "gpu"}})
    stage.admit("one", template)
    stage.signal("one", "cancel")
    stage.disk.faults.append("commit")
    stage.admit("other", a_template())  # the disk fails: what happens until it works again is looked at in one turn
    stage.end("one/a/1", "cancelled")
    stage.signal("one", "retry")
    assert stage.types("one")[-1] == "cancel_requested"
    stage.engine.works_again()
    stage.engine.reactor.advance(1)
    assert stage.types("one")[-4:] == ["workflow_cancelled", "workflow_reopened", "step_reopened", "step_started"]
    assert stage.running() == ["one/a/2", "other/one/1"]
    stage.admit("two", template)
    assert (stage.running(), stage.waits_for("two")) == (["one/a/2", "other/one/1"], "pool gpu")


def test_a_job_that_was_paused_while_its_pool_was_full_stays_paused_when_there_is_room() -> None:
    stage = Stage(slots=1)
    template = a_template({"a": {"retry": {"attempts": 2, "delay": 10}}}, concurrency="gpu")
    stage.admit("one", template)
    stage.admit("two", template)
    stage.signal("two", "pause")
    stage.end("one/a/1", "failed")  # the slot is free, and the pool is not
    assert stage.status("two") == "paused"
    assert stage.engine.driver.backlog.entries["two"].status == "paused"
    stage.engine.reactor.advance(10)
    stage.end("one/a/2")
    assert stage.running() == []
    assert stage.types("two") == ["workflow_created", "workflow_paused"]
    stage.signal("two", "resume")
    assert stage.running() == ["two/a/1"]


def test_a_retry_of_a_completed_workflow_runs_what_was_chosen_and_what_depends_on_it() -> None:
    stage = Stage()
    template = a_template({"a": None, "b": None, "c": None, "x": {"needs": []}})
    stage.admit("w", template)
    for step in ("a", "b", "c", "x"):
        stage.end(f"w/{step}/1")
    stage.signal("w", "retry")
    assert (stage.status("w"), stage.disk.signals["w"]) == ("completed", {})
    stage.engine.signal("w", "retry", "retry.7", "b")
    stage.engine.settle()
    assert stage.running() == ["w/b/2"]
    stage.end("w/b/2")
    stage.end("w/c/2")
    assert stage.status("w") == "completed"
    assert not stage.engine.driver.backlog.entries


# --- a clock that was set ---------------------------------------------------------------------------------------------


def test_a_job_without_a_delay_starts_although_the_clock_was_ahead_when_it_was_asked_for() -> None:
    stage = Stage()
    stage.admit("w", a_template(), queued_at=at(86_400), due_at=at(86_400))
    assert stage.running() == ["w/one/1"]


def test_a_retry_is_looked_at_again_when_the_clock_was_set_forward() -> None:
    stage = Stage()
    stage.admit("w", a_template({"a": {"retry": {"attempts": 2, "delay": 600, "jitter": False}}}))
    stage.end("w/a/1", "failed")
    ahead = stage.engine.clock() + timedelta(seconds=700)
    stage.engine.driver._performer._clock = lambda: ahead  # as it is from now on
    stage.engine.reactor.advance(31)
    stage.engine.settle()
    assert stage.running() == ["w/a/2"]
