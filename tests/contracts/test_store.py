"""The contract of `ports.storage.Store`: the folder and the memory keep it alike."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, at
from contracts.storage import RUNNING, STARTED, TEMPLATE, InAFolder, InMemory, Place, accepted, born, then

from hybrid_engine.errors import InputError, JobError, JournalError
from hybrid_engine.files import journal
from hybrid_engine.files.layout import Layout
from hybrid_engine.model import events as e
from hybrid_engine.model.ids import queue_name


@pytest.fixture(params=["memory", "folder"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place: Place = InMemory() if request.param == "memory" else InAFolder(request.getfixturevalue("home"))
    yield place
    place.close()


def name_of(workflow: str) -> str:
    return queue_name(0, at(0), workflow)


def events_of(place: Place, workflow: str = "w1") -> list[e.Event]:
    history = place.store.history(workflow)
    return [event for *_, event in history.entries] if history else []


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_unfinished_jobs_come_in_the_order_of_work(place: Place) -> None:
    for workflow, priority, due in (("b", 0, 5), ("a", 0, 5), ("late", 0, 9), ("urgent", 9, 9)):
        place.log.commit([born(workflow, priority=priority, due_at=at(due))])
    found = list(place.again().store.unfinished())
    assert [each.workflow for each in found] == ["urgent", "a", "b", "late"]
    assert [each.name for each in found] == place.queued()
    assert [each.size for each in found] == [len(place.journal(each.workflow)) for each in found]


def test_that_a_job_has_not_begun_is_not_said_of_one_that_has(place: Place) -> None:
    place.log.commit([born("w1"), born("w2")])
    place.log.commit([then(2, STARTED)])
    begun = {each.workflow: each.begun for each in place.again().store.unfinished()}
    assert begun["w1"] in (True, None)
    assert begun["w2"] in (False, None)


def test_a_job_is_given_back_as_it_was_accepted(place: Place) -> None:
    job = a_job("w1", TEMPLATE, params={"x": [1, None]}, labels={"l": "v"}, key="k", user="ada", source="a.json")
    place.log.commit([accepted(job)])
    assert place.store.job("w1").as_record() == job.as_record()
    (found,) = place.again().store.unfinished()
    for given in (place.store.job("w1"), place.store.job("w1", found.name)):
        assert given.as_record() == job.as_record()


def test_a_job_that_nobody_accepted_is_an_error(place: Place) -> None:
    with pytest.raises(JobError):
        place.store.job("nobody")


def test_a_template_is_given_by_its_version(place: Place) -> None:
    place.log.commit([born()])
    assert place.store.template(TEMPLATE.version, "w1").to_frozen() == TEMPLATE.to_frozen()


def test_what_was_committed_exists_at_once_and_after_a_kill(place: Place) -> None:
    assert not place.store.exists("w1")
    place.log.commit([born()])
    assert place.store.exists("w1")
    assert place.again().store.exists("w1")


def test_a_finished_job_leaves_the_queue_with_its_last_view_and_may_come_back(place: Place) -> None:
    job = a_job("w1", TEMPLATE)
    place.log.commit([accepted(job)])
    place.go_on()
    (name,) = place.queued()
    for view in (b"the last view", b"once more"):
        place.store.finish(job, name, view)
        place.go_on()
        assert (place.queued(), place.state("w1")) == ([], view)
    place.store.requeue(job)
    place.store.requeue(job)
    place.go_on()
    assert place.queued() == [name]


def test_a_job_that_is_finished_before_anybody_saw_it_in_the_queue_is_never_seen_there(place: Place) -> None:
    job = a_job("w1", TEMPLATE)
    place.log.commit([accepted(job)])
    place.store.finish(job, name_of("w1"), b"the last view")
    place.go_on()
    assert (place.queued(), place.state("w1")) == ([], b"the last view")


def test_what_comes_back_at_once_is_in_the_queue(place: Place) -> None:
    """A `retry` that comes with the end of its workflow."""
    job = a_job("w1", TEMPLATE)
    place.log.commit([accepted(job)])
    place.go_on()
    (name,) = place.queued()
    place.store.finish(job, name, b"the last view")
    place.store.requeue(job)
    place.go_on()
    assert place.queued() == [name]


def test_another_name_of_a_job_can_be_forgotten(place: Place) -> None:
    place.log.commit([born()])
    place.go_on()
    (found,) = place.store.unfinished()
    place.store.leave_queue(found.name)
    place.store.leave_queue(found.name)
    assert place.queued() == []
    assert place.store.job("w1").id == "w1"


@pytest.mark.parametrize("is_placed", [True, False])
def test_what_is_put_aside_is_not_found_again(place: Place, is_placed: bool) -> None:
    place.log.commit([born("w1"), born("w2")])
    if is_placed:
        place.go_on()
    place.store.quarantine("w1", "a reason", name_of("w1"))
    assert not place.store.exists("w1")
    assert [each.workflow for each in place.again().store.unfinished()] == ["w2"]
    assert not place.store.exists("w1")


def test_a_signal_that_is_dropped_is_gone_and_dropping_it_again_is_harmless(place: Place) -> None:
    place.log.commit([born()])
    place.store.settle("w1")
    place.signal("w1", "cancel.1")
    place.signal("w1", "pause.2")
    for _ in range(2):
        place.store.drop_signal("w1", "cancel.1")
    assert place.signals("w1") == ["pause.2"]


def test_what_cannot_be_put_in_its_place_is_put_aside_with_what_was_committed_of_it(home: Layout) -> None:
    """It never got its name in the queue either."""
    place = InAFolder(home)
    place.log.commit([born("w1"), born("w2")])
    os.makedirs(home.journal("w1"))
    place.store.quarantine("w1", "a reason", name_of("w1"))
    aside = Path(home.quarantine, "w1")
    assert json.loads((aside / "reason.json").read_text())["reason"] == "a reason"
    assert [entry.n for entry in journal.parse((aside / "log-lines.jsonl").read_bytes()).entries] == [1]
    assert [each.workflow for each in place.again().store.unfinished()] == ["w2"]
    place.close()


# --- large outputs ----------------------------------------------------------------------------------------------------

OUTPUT = b'{"rows":["\xc3\xa4",1]}'


def test_an_output_that_was_kept_is_read_by_its_reference_also_after_a_kill(place: Place) -> None:
    place.log.commit([born()])
    place.store.settle("w1")
    reference = place.store.write_output("w1", "a", 2, OUTPUT)
    assert (reference["path"], reference["bytes"]) == ("steps/a/2/output.json", len(OUTPUT))
    assert place.store.read_output("w1", reference) == {"rows": ["ä", 1]}
    assert place.store.write_output("w1", "a", 2, OUTPUT) == reference
    assert place.again().store.read_output("w1", reference) == {"rows": ["ä", 1]}


def test_another_output_than_the_reference_names_is_an_error(place: Place) -> None:
    place.log.commit([born()])
    place.store.settle("w1")
    reference = place.store.write_output("w1", "a", 1, OUTPUT)
    place.store.write_output("w1", "a", 1, OUTPUT.replace(b"1", b"2"))
    with pytest.raises(InputError, match="changed"):
        place.store.read_output("w1", reference)


def test_no_output_is_kept_of_a_workflow_that_is_no_more(place: Place) -> None:
    with pytest.raises(JobError):
        place.store.write_output("w1", "a", 1, OUTPUT)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"path": "steps/a/2/output.json"}, "cannot be read: No such file"),
        ({"path": "steps/../../../inbox/x.json"}, "names no output"),
        ({"path": "/etc/passwd"}, "names no output"),
        ({"path": None}, "names no output"),
        ({"bytes": "1"}, "names no output"),
        ({"bytes": 3}, "was changed"),
        ({"sha256": "0"}, "was changed"),
    ],
)
def test_a_reference_that_cannot_be_followed_is_an_error(home: Layout, wrong: dict[str, Any], told: str) -> None:
    place = InAFolder(home)
    place.log.commit([born()])
    place.store.settle("w1")
    reference = place.store.write_output("w1", "a", 1, OUTPUT)
    with pytest.raises(InputError, match=told):
        place.store.read_output("w1", {**reference, **wrong})
    place.close()


# --- histories --------------------------------------------------------------------------------------------------------


def test_nobody_has_no_history(place: Place) -> None:
    assert place.store.history("w1") is None


def test_a_history_is_numbered_and_dated(place: Place) -> None:
    place.log.commit([born()])
    place.log.commit([then(2, RUNNING)])
    for _ in range(2):
        history = place.store.history("w1")
        assert history is not None
        assert [(n, moment) for n, moment, _ in history.entries] == [(1, at(0)), (2, at(2)), (3, at(2))]
        assert events_of(place)[1:] == RUNNING
        place.again()


def test_a_history_goes_on_where_it_was_left(place: Place) -> None:
    place.log.commit([born()])
    place.again().log.commit([then(2, STARTED)])
    place.again().log.commit([then(3, [e.StepStarted("a", 1)])])
    assert events_of(place)[1:] == RUNNING


def test_a_torn_tail_is_cut_and_the_history_goes_on(place: Place) -> None:
    place.log.commit([born()])
    place.log.commit([then(2, STARTED)])
    place.log.checkpoint(lambda error: None)
    place.go_on()
    whole = place.journal("w1")
    place.write_journal("w1", whole + b'{"n":3,"at":"20')
    assert events_of(place)[1:] == STARTED
    assert place.journal("w1") == whole
    place.log.commit([then(3, [e.StepStarted("a", 1)])])
    assert events_of(place)[1:] == RUNNING


def test_a_damaged_history_is_an_error(place: Place) -> None:
    place.log.commit([born()])
    place.log.commit([then(2, STARTED)])
    place.log.commit([then(3, [e.StepStarted("a", 1)])])
    place.log.checkpoint(lambda error: None)
    place.go_on()
    data = bytearray(place.journal("w1"))
    data[20] ^= 1
    place.write_journal("w1", bytes(data))
    with pytest.raises(JournalError, match="line 1 is bad"):
        place.store.history("w1")


def test_what_is_settled_is_in_its_place_now(place: Place) -> None:
    place.log.commit([born("w1"), born("w2")])
    for _ in range(2):
        place.store.settle("w1")
        assert place.journal("w1").count(b"\n") == 1
    place.log.commit([then(2, RUNNING)])
    place.store.settle("w1")
    assert place.journal("w1").count(b"\n") == 3
    assert any("-w1.json" in name for name in place.queued())
