"""The contract of `ports.storage.Store` and its journals: the folder and the memory keep it alike."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, a_template, at, created
from contracts.memory import Disk, MemoryStore

from hybrid_engine.engine.run import Signal
from hybrid_engine.errors import JobError, JournalError
from hybrid_engine.files import atomic, queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.store import FileStore
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model import events as e
from hybrid_engine.model.job import Job
from hybrid_engine.ports.storage import Journal, Store

TEMPLATE = a_template(["a", "b"])
BEGIN: list[e.Event] = [created(steps=["a", "b"], version=TEMPLATE.version), e.WorkflowStarted()]


class InMemory:
    """A home in memory; `again` is the store of another engine on it."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.store: Store = MemoryStore(self.disk)

    def again(self) -> Store:
        return MemoryStore(self.disk)

    def accept(self, job: Job) -> None:
        self.disk.accept(job, TEMPLATE)

    def queued(self) -> list[str]:
        return sorted(self.disk.queue)

    def state(self, workflow: str) -> bytes:
        return self.disk.states[workflow]

    def signal(self, workflow: str, name: str) -> None:
        self.disk.signals[workflow][name] = Signal(name, name)

    def signals(self, workflow: str) -> list[str]:
        return list(self.disk.signals[workflow])

    def fail_next_append(self, patch: pytest.MonkeyPatch) -> None:
        self.disk.faults.append("append")

    def damage(self, workflow: str) -> None:
        self.disk.journals[workflow].data[20] ^= 1

    def tear(self, workflow: str) -> None:
        del self.disk.journals[workflow].data[-5:]


class InAFolder:
    """A home on the disk."""

    def __init__(self, home: Layout) -> None:
        self.home = home
        self.templates = TemplateStore(home)
        self.templates.freeze(TEMPLATE)
        self.store: Store = self.again()

    def again(self) -> Store:
        return FileStore(self.home, self.templates)

    def accept(self, job: Job) -> None:
        queue.accept_now(self.home, job)

    def queued(self) -> list[str]:
        return sorted(os.listdir(self.home.queue))

    def state(self, workflow: str) -> bytes:
        return Path(self.home.state(workflow)).read_bytes()

    def signal(self, workflow: str, name: str) -> None:
        os.makedirs(self.home.signals(workflow), exist_ok=True)
        Path(self.home.signals(workflow), name).touch()

    def signals(self, workflow: str) -> list[str]:
        folder = self.home.signals(workflow)
        return os.listdir(folder) if os.path.isdir(folder) else []

    def fail_next_append(self, patch: pytest.MonkeyPatch) -> None:
        """Half of it is written, then the disk is full."""

        def failing(fd: int, data: bytes) -> None:
            patch.undo()
            os.write(fd, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(atomic, "write_all", failing)

    def damage(self, workflow: str) -> None:
        path = Path(self.home.journal(workflow))
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.write_bytes(bytes(data))

    def tear(self, workflow: str) -> None:
        path = Path(self.home.journal(workflow))
        path.write_bytes(path.read_bytes()[:-5])


Place = InMemory | InAFolder


@pytest.fixture(params=["memory", "folder"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    yield InMemory() if request.param == "memory" else InAFolder(request.getfixturevalue("home"))


def written(journal: Journal, *batches: list[e.Event]) -> Journal:
    for batch in batches:
        journal.append(at(journal.n), batch)
        journal.sync()
    return journal


def a_begun(place: Place, *batches: list[e.Event]) -> Journal:
    """The journal of an accepted workflow `w1`."""
    place.accept(a_job("w1", TEMPLATE))
    return written(place.store.new_journal("w1"), BEGIN, *batches)


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_unfinished_jobs_come_in_the_order_of_work(place: Place) -> None:
    for workflow, priority, due in (("b", 0, 5), ("a", 0, 5), ("late", 0, 9), ("urgent", 9, 9)):
        place.accept(a_job(workflow, TEMPLATE, priority=priority, due_at=at(due)))
    written(place.store.new_journal("a"), [created("a")])
    found = list(place.again().unfinished())
    assert [each.workflow for each in found] == ["urgent", "a", "b", "late"]
    assert [each.has_journal for each in found] == [False, True, False, False]


def test_a_job_is_given_back_as_it_was_accepted(place: Place) -> None:
    job = a_job("w1", TEMPLATE, params={"x": [1, None]}, labels={"l": "v"}, key="k", user="ada", source="a.json")
    place.accept(job)
    (found,) = place.again().unfinished()
    for given in (place.store.restore(found), place.store.job("w1"), place.store.job("w1", found.name)):
        assert given.as_record() == job.as_record()


def test_a_job_that_nobody_accepted_is_an_error(place: Place) -> None:
    with pytest.raises(JobError):
        place.store.job("nobody")


def test_a_template_is_given_by_its_version(place: Place) -> None:
    place.accept(a_job("w1", TEMPLATE))
    assert place.store.template(TEMPLATE.version, "w1").to_frozen() == TEMPLATE.to_frozen()


def test_a_finished_job_leaves_the_queue_with_its_last_view(place: Place) -> None:
    job = a_job("w1", TEMPLATE)
    place.accept(job)
    (name,) = place.queued()
    place.store.finish(job, name, b"the last view")
    assert (place.queued(), place.state("w1")) == ([], b"the last view")
    place.store.finish(job, name, b"once more")
    assert place.state("w1") == b"once more"
    assert place.store.requeue(job) == name
    assert place.queued() == [name]


def test_another_name_of_a_job_can_be_forgotten(place: Place) -> None:
    place.accept(a_job("w1", TEMPLATE))
    (found,) = place.store.unfinished()
    place.store.forget(found)
    place.store.forget(found)
    assert place.queued() == []
    assert place.store.job("w1").id == "w1"


def test_what_is_put_aside_is_not_found_again(place: Place) -> None:
    a_begun(place)
    place.accept(a_job("w2", TEMPLATE))
    place.store.quarantine("w1", "a reason", place.queued()[0])
    assert [each.workflow for each in place.again().unfinished()] == ["w2"]


def test_a_signal_that_is_dropped_is_gone_and_dropping_it_again_is_harmless(place: Place) -> None:
    place.accept(a_job("w1", TEMPLATE))
    place.signal("w1", "cancel.1")
    place.signal("w1", "pause.2")
    for _ in range(2):
        place.store.drop_signal("w1", "cancel.1")
    assert place.signals("w1") == ["pause.2"]


# --- journals ---------------------------------------------------------------------------------------------------------


def events_of(place: Place) -> list[e.Event]:
    history = place.again().history("w1")
    return [event for *_, event in history.entries] if history else []


def test_a_workflow_without_a_journal_has_no_history(place: Place) -> None:
    place.accept(a_job("w1", TEMPLATE))
    assert place.store.history("w1") is None
    place.store.new_journal("w1")
    assert place.store.history("w1") is None
    assert not next(iter(place.again().unfinished())).has_journal


def test_what_is_appended_is_found_numbered_and_dated(place: Place) -> None:
    a_begun(place, [e.StepStarted("a", 1)])
    history = place.again().history("w1")
    assert history is not None
    assert [(n, moment) for n, moment, _ in history.entries] == [(1, at(0)), (2, at(0)), (3, at(2))]
    assert events_of(place) == [*BEGIN, e.StepStarted("a", 1)]


def test_a_journal_goes_on_where_it_was_left(place: Place) -> None:
    first = a_begun(place)
    first.close()
    history = place.again().history("w1")
    assert history is not None
    assert (history.journal.n, history.journal.size) == (first.n, first.size)
    written(history.journal, [e.StepStarted("a", 1)])
    assert len(events_of(place)) == 3
    history.journal.close()


def test_a_closed_journal_is_opened_again_when_it_is_needed(place: Place) -> None:
    journal = a_begun(place)
    journal.close()
    journal.close()
    written(journal, [e.StepStarted("a", 1)])
    assert len(events_of(place)) == 3
    journal.close()


def test_nothing_of_a_failed_append_is_in_the_journal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = a_begun(place)
    before = (journal.n, journal.size)
    place.fail_next_append(monkeypatch)
    with pytest.raises(OSError, match="space"):
        journal.append(at(9), [e.StepStarted("a", 1), e.StepStarted("b", 1)])
    assert (journal.n, journal.size) == before
    assert events_of(place) == BEGIN
    written(journal, [e.StepStarted("b", 1)])
    assert events_of(place) == [*BEGIN, e.StepStarted("b", 1)]
    journal.close()


def test_after_a_failed_sync_a_journal_starts_anew_from_what_was_sure(place: Place) -> None:
    journal = a_begun(place)
    sure = journal.size
    journal.append(at(9), [e.StepStarted("a", 1)])
    journal.rewrite(sure)
    assert (journal.n, journal.size) == (2, sure)
    assert events_of(place) == BEGIN
    written(journal, [e.StepStarted("b", 1)])
    assert events_of(place) == [*BEGIN, e.StepStarted("b", 1)]
    journal.close()


def test_a_journal_is_not_rewritten_from_what_cannot_be_read_back(place: Place) -> None:
    journal = a_begun(place)
    with pytest.raises(JournalError):
        journal.rewrite(journal.size - 1)
    journal.close()


def test_a_torn_tail_is_cut_and_the_journal_goes_on(place: Place) -> None:
    a_begun(place, [e.StepStarted("a", 1)]).close()
    place.tear("w1")
    history = place.store.history("w1")
    assert history is not None
    assert len(history.entries) == 2
    written(history.journal, [e.StepStarted("b", 1)])
    assert events_of(place) == [*BEGIN, e.StepStarted("b", 1)]
    history.journal.close()


def test_a_damaged_journal_is_an_error(place: Place) -> None:
    a_begun(place, [e.StepStarted("a", 1)], [e.StepCompleted("a", 1)]).close()
    place.damage("w1")
    with pytest.raises(JournalError, match="line 1 is bad"):
        place.again().history("w1")


def test_no_second_journal_is_begun_behind_a_first(place: Place) -> None:
    a_begun(place).close()

    def begin() -> Any:
        journal = place.again().new_journal("w1")
        journal.append(at(0), BEGIN)

    with pytest.raises((JournalError, AssertionError)):
        begin()
    assert events_of(place) == BEGIN
