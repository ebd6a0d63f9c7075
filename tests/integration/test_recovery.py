"""Recovery: the laws of the journal, and the table of what may be found at a start."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from builders import a_job, a_template, at, created
from contracts.memory import Disk, MemoryEngine, MemoryExecutor, World
from contracts.storage import InAFolder
from laws import no_result_is_older_than_what_it_was_made_from
from lives import Life, life_of, rendered

from hybrid_engine.files import journal as codec
from hybrid_engine.files import queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.store import FileStore
from hybrid_engine.model import events as e
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.ids import queue_name
from hybrid_engine.model.jsontext import encode
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.template import Template
from hybrid_engine.model.waits import sentence
from hybrid_engine.rules.transitions import fold

STORIES = range(6)


@pytest.fixture(scope="module", params=STORIES)
def life(request: pytest.FixtureRequest) -> Life:
    """A long life that has ended, with all its journals."""
    return life_of(request.param)


# --- the laws -------------------------------------------------------------------------------------------------------


def test_folding_a_journal_gives_its_last_view_byte_for_byte(life: Life) -> None:
    for workflow in life.templates:
        state = fold((entry.n, entry.at, entry.event) for entry in life.disk.entries(workflow))
        assert state is not None
        assert rendered(state) == life.disk.states[workflow]


def test_from_every_prefix_of_every_journal_an_engine_finds_a_way_to_an_end(life: Life) -> None:
    """Nothing else is left of the home: no attempt is known, and no signal."""
    for workflow, template in life.templates.items():
        entries = life.disk.entries(workflow)
        for length in range(1, len(entries) + 1):
            disk = Disk()
            disk.templates[template.version] = template
            lines = b"".join(codec.encode(entry.n, entry.at, [entry.event]) for entry in entries[:length])
            disk.journals[workflow] = bytearray(lines)
            disk.replay()
            engine = MemoryEngine(disk, World(), slots=2, now=10_000.0)
            let_go(engine, workflow)
            state = disk.state(workflow)
            assert state is not None, (workflow, length)
            assert state.is_final, (workflow, length, [entry.event for entry in entries[:length]])
            assert not disk.queue
            assert disk.events(workflow)[:length] == [entry.event for entry in entries[:length]]


def let_go(engine: MemoryEngine, workflow: str) -> None:
    for _ in range(200):
        engine.settle()
        state = engine.disk.state(workflow)
        if state is not None and state.status == "paused":
            engine.signal(workflow, "resume", f"resume.{state.seq}")
        for process in engine.executor.world.running():
            engine.executor.end(process.attempt.key)
        engine.settle()
        if not engine.driver.backlog.entries:
            return
        engine.reactor.advance(engine.reactor.next_timer() or 1.0)


def test_no_committed_step_runs_again(life: Life) -> None:
    for workflow in life.templates:
        completed: set[str] = set()
        for event in life.disk.events(workflow):
            if isinstance(event, e.StepStarted):
                assert event.step not in completed
            elif isinstance(event, e.StepCompleted):
                completed.add(event.step)
            elif isinstance(event, e.StepReopened):
                completed.discard(event.step)


def test_the_same_story_gives_the_same_bytes() -> None:
    for seed in STORIES:
        first, second = life_of(seed), life_of(seed)
        assert first is not second
        for workflow in first.templates:
            assert first.disk.journals[workflow] == second.disk.journals[workflow]


def test_recovering_twice_is_recovering_once() -> None:
    for seed in STORIES:
        life = life_of(seed)
        for workflow in life.templates:
            state = life.disk.state(workflow)
            assert state is not None
            life.disk.queue.add(queue_name(state.priority, state.due_at, workflow))
        before = {workflow: bytes(data) for workflow, data in life.disk.journals.items()}
        for _ in range(2):
            MemoryEngine(life.disk, World(), slots=2).settle()
        assert {workflow: bytes(data) for workflow, data in life.disk.journals.items()} == before
        assert not life.disk.queue


def test_a_retry_whose_write_was_torn_is_made_whole() -> None:
    template = a_template({"a": {"needs": []}, "b": {"needs": []}, "c": {"needs": ["a", "b"]}})
    story: list[e.Event] = [
        created(steps=["a", "b", "c"], version=template.version), e.WorkflowStarted(),
        e.StepStarted("a", 1), e.StepStarted("b", 1), e.StepFailed("a", 1), e.StepFailed("b", 1),
        e.StepSkipped("c", "upstream", "a"), e.WorkflowFailed(),
        e.WorkflowReopened(signal="retry.1"), e.StepReopened("a"), e.StepReopened("b"), e.StepReopened("c"),
    ]  # fmt: skip
    for kept in (9, 10, 11, 12):
        disk = Disk()
        disk.templates[template.version] = template
        lines = b"".join(codec.encode(n, at(n), [event]) for n, event in enumerate(story[:kept], 1))
        disk.journals["w1"] = bytearray(lines)
        disk.replay()
        disk.signals["w1"]["retry.1"] = Signal("retry", "retry.1")
        world = World()
        engine = MemoryEngine(disk, world, slots=4)
        engine.settle()
        assert sorted(world.processes) == ["w1/a/2", "w1/b/2"], kept
        let_go(engine, "w1")
        state = disk.state("w1")
        assert state is not None
        assert state.status == "completed"


def test_a_torn_retry_of_format_1_gives_fresh_results_to_what_is_completed_behind_it_too() -> None:
    template = a_template({"a": {"continue_on_error": True}, "b": None, "x": {"needs": []}, "y": {"needs": ["x"]}})
    story: list[e.Event] = [
        created(steps=["a", "b", "x", "y"], version=template.version), e.WorkflowStarted(),
        *(e.StepStarted(step, 1) for step in ("a", "x")), e.StepFailed("a", 1), e.StepFailed("x", 1),
        e.StepSkipped("y", "upstream", "x"), e.StepStarted("b", 1), e.StepCompleted("b", 1), e.WorkflowFailed(),
        e.WorkflowReopened(signal="retry.1"), e.StepReopened("a"), e.StepReopened("x"), e.StepReopened("y"),
    ]  # fmt: skip
    for kept in range(11, len(story) + 1):
        disk = disk_with(template, story[:kept])
        let_go(MemoryEngine(disk, World(), slots=4), "w1")
        state = disk.state("w1")
        assert state is not None
        assert {name: step.attempt for name, step in state.steps.items()} == {"a": 2, "b": 2, "x": 2, "y": 1}, kept
        no_result_is_older_than_what_it_was_made_from(template, disk.events("w1"))


def test_a_start_after_a_retry_of_chosen_steps_opens_no_others() -> None:
    template = a_template({"a": {"needs": []}, "b": {"needs": ["a"]}, "x": {"needs": []}})
    story: list[e.Event] = [
        created(steps=["a", "b", "x"], version=template.version), e.WorkflowStarted(),
        *(e.StepStarted(step, 1) for step in ("a", "x")), e.StepFailed("x", 1), e.StepCompleted("a", 1),
        e.StepStarted("b", 1), e.StepCompleted("b", 1), e.WorkflowFailed(),
        e.WorkflowReopened(signal="retry.1", steps=["a"]), e.StepReopened("a"), e.StepReopened("b"),
    ]  # fmt: skip
    for kept in (10, 11, 12):
        disk = disk_with(template, story[:kept])
        let_go(MemoryEngine(disk, World(), slots=4), "w1")
        state = disk.state("w1")
        assert state is not None
        assert {name: step.attempt for name, step in state.steps.items()} == {"a": 2, "b": 2, "x": 1}, kept
        assert state.status == "failed"


def disk_with(template: Template, story: list[e.Event]) -> Disk:
    """A disk with the journal of `w1`, one event a second."""
    disk = Disk()
    disk.templates[template.version] = template
    disk.journals["w1"] = bytearray(b"".join(codec.encode(n, at(n), [event]) for n, event in enumerate(story, 1)))
    disk.replay()
    return disk


# --- what may be found at a start, in a real home -------------------------------------------------------------------


class Found:
    """A home with a workflow `w1` of two steps, accepted and then treated as a test likes. Its log is empty."""

    def __init__(self, home: Layout) -> None:
        self.home = home
        self.template = a_template(["a", "b"])
        self.world, self.disk = World(), Disk()
        self.place = InAFolder(home, self.template)
        self.accept("w1")

    def accept(self, workflow: str, **fields: Any) -> None:
        os.mkdir(self.home.workflow(workflow))
        job = a_job(workflow, self.template, **fields)
        Path(self.home.journal(workflow)).write_bytes(queue.created_line(job, job.queued_at))
        os.link(self.home.frozen_template(self.template.version), self.home.template(workflow))
        queue.add(self.home, job)

    def as_of_format_1(self) -> None:
        """An engine of format 1 accepted it, and it has not begun."""
        job = a_job("w1", self.template)
        os.unlink(self.home.journal("w1"))
        os.unlink(self.home.queued(queue.name_of(job)))
        Path(self.home.job("w1")).write_text(encode(job.as_record()) + "\n")
        queue.add(self.home, job)

    def write(self, *events: e.Event, workflow: str = "w1") -> None:
        story = [created(workflow, ["a", "b"], version=self.template.version), *events]
        lines = [codec.encode(n, at(n), [event]) for n, event in enumerate(story, 1)]
        Path(self.home.journal(workflow)).write_bytes(b"".join(lines))

    def start(self) -> MemoryEngine:
        self.place.again()
        engine = MemoryEngine(self.disk, self.world, slots=4, store=self.place.store, log=self.place.log)
        engine.settle()
        self.place.go_on()
        return engine

    def finish(self, workflow: str = "w1") -> str:
        """Start an engine, let everything go on to its end, and tell how the workflow ended."""
        engine = self.start()
        for _ in range(20):
            for process in self.world.running():
                engine.executor.end(process.attempt.key)
            engine.reactor.advance(60)
            engine.settle()
            self.place.go_on()
        state = fold((entry.n, entry.at, entry.event) for entry in codec.read(self.home.journal(workflow)).entries)
        assert state is not None
        assert Path(self.home.state(workflow)).read_bytes() == rendered(state)
        return state.status

    def queued(self) -> list[str]:
        return sorted(os.listdir(self.home.queue))


RUNNING = (e.WorkflowStarted(), e.StepStarted("a", 1))
ENDED = (*RUNNING, e.StepCompleted("a", 1), e.StepStarted("b", 1), e.StepCompleted("b", 1), e.WorkflowCompleted())


@pytest.fixture
def found(home: Layout) -> Iterator[Found]:
    found = Found(home)
    yield found
    found.place.close()


@pytest.mark.parametrize("format", [1, 2])
def test_a_job_with_no_folder_gets_one_from_its_name_in_the_queue(found: Found, format: int) -> None:
    if format == 1:
        found.as_of_format_1()
    shutil.rmtree(found.home.workflow("w1"))
    assert found.finish() == "completed"
    assert queue.read_job(found.home.journal("w1")).id == "w1"
    assert os.path.exists(found.home.template("w1"))
    assert not found.queued()


@pytest.mark.parametrize("story", ["running", "ended"])
def test_a_workflow_that_had_begun_and_whose_folder_is_gone_is_never_begun_anew(found: Found, story: str) -> None:
    """Its name in the queue is all that is left of it: a second name of its journal."""
    found.write(*(RUNNING if story == "running" else ENDED))
    told = Path(found.home.journal("w1")).read_bytes()
    shutil.rmtree(found.home.workflow("w1"))
    found.start()
    assert not [key for key in found.world.processes if key.startswith("w1/a/1")]
    assert [path for path in Path(found.home.home).rglob("*") if path.is_file() and path.read_bytes() == told]


def test_a_job_with_half_a_folder_gets_the_rest(found: Found) -> None:
    found.as_of_format_1()
    os.unlink(found.home.template("w1"))
    assert found.finish() == "completed"
    assert os.path.exists(found.home.template("w1"))


def test_a_job_of_format_1_that_has_not_begun_is_accepted_anew_as_it_was_asked_for(found: Found) -> None:
    found.as_of_format_1()
    engine = found.start()
    assert engine.report.waiting == ["w1"]
    assert codec.read(found.home.journal("w1")).entries[0].event == created(
        steps=["a", "b"], version=found.template.version
    )
    assert found.finish() == "completed"
    assert not found.queued()


def test_a_journal_of_format_1_of_which_not_one_line_is_whole_begins_anew_and_its_rest_is_kept(found: Found) -> None:
    found.as_of_format_1()
    Path(found.home.journal("w1")).write_bytes(b'{"n":1,"at":"2026')
    assert found.finish() == "completed"
    assert Path(found.home.workflow("w1"), "journal.torn-1").read_bytes() == b'{"n":1,"at":"2026'


def test_a_journal_of_which_not_one_line_is_whole_is_put_aside_for_nothing_else_says_what_was_asked(
    found: Found,
) -> None:
    Path(found.home.journal("w1")).write_bytes(b'{"n":1,"at":"2026')
    assert "w1" in found.start().put_aside
    kept = [path.read_bytes() for path in Path(found.home.quarantine, "w1").iterdir()]
    assert b'{"n":1,"at":"2026' in kept
    assert not found.queued()


def test_a_torn_line_is_cut_and_kept(found: Found) -> None:
    found.write(*RUNNING)
    whole = Path(found.home.journal("w1")).read_bytes()
    with open(found.home.journal("w1"), "ab") as file:
        file.write(b'{"n":4,"at":"20')
    found.start()
    assert Path(found.home.journal("w1")).read_bytes().startswith(whole)
    assert Path(found.home.workflow("w1"), "journal.torn-1").read_bytes() == b'{"n":4,"at":"20'
    assert codec.read(found.home.journal("w1")).damage is None


def test_a_damaged_journal_is_put_aside_with_its_reason_and_the_others_go_on(found: Found) -> None:
    found.accept("w2", priority=3)
    found.write(*RUNNING)
    data = bytearray(Path(found.home.journal("w1")).read_bytes())
    data[30] ^= 1
    Path(found.home.journal("w1")).write_bytes(bytes(data))
    assert found.finish("w2") == "completed"
    aside = Path(found.home.quarantine, "w1")
    assert (aside / "journal.jsonl").read_bytes() == bytes(data)
    assert "line 1 is bad" in json.loads((aside / "reason.json").read_text())["reason"]
    assert not os.path.exists(found.home.workflow("w1"))
    assert not found.queued()


@pytest.mark.parametrize(
    "story",
    [
        (e.StepCompleted("a", 1),),
        (e.WorkflowStarted(), e.WorkflowStarted()),
        (*ENDED, e.StepStarted("a", 2)),
    ],
)
def test_a_journal_that_tells_an_impossible_story_is_put_aside(found: Found, story: tuple[e.Event, ...]) -> None:
    found.write(*story)
    engine = found.start()
    assert "impossible story" in engine.put_aside["w1"]
    assert os.path.exists(os.path.join(found.home.quarantine, "w1", "journal.jsonl"))


def test_the_journal_of_another_workflow_is_put_aside(found: Found) -> None:
    found.accept("w2")
    found.write(*RUNNING, workflow="w2")
    shutil.copy(found.home.journal("w2"), found.home.journal("w1"))
    assert "another workflow" in found.start().put_aside["w1"]


def test_a_finished_workflow_whose_file_is_still_in_the_queue_leaves_it(found: Found) -> None:
    found.write(*ENDED)
    assert found.queued()
    found.start()
    assert not found.queued()
    assert json.loads(Path(found.home.state("w1")).read_text())["status"] == "completed"
    assert not found.world.processes


def test_an_attempt_of_which_nobody_knows_is_lost_and_made_again(found: Found) -> None:
    found.write(*RUNNING)
    found.start()
    assert list(found.world.processes) == ["w1/a/2"]
    entries = codec.read(found.home.journal("w1")).entries
    assert [entry.event.TYPE for entry in entries][-2:] == ["step_retry_scheduled", "step_started"]
    lost = entries[-2].event
    assert isinstance(lost, e.StepRetryScheduled)
    assert lost.lost


@pytest.mark.parametrize("name", ["notes.txt", "9-soon-w1.json", ".DS_Store", "9-20261120T080000000000Z-..json"])
def test_what_is_no_job_in_the_queue_is_put_aside(found: Found, name: str) -> None:
    Path(found.home.queue, name).write_text("hello")
    assert found.finish() == "completed"
    assert not found.queued()
    assert Path(found.home.quarantine, name, "job.json").read_text() == "hello"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1}', b"\xff\xfe", b"{" * 5_000, b'{"id": "w2"'])
def test_a_file_of_the_queue_that_cannot_be_read_is_put_aside(found: Found, content: bytes) -> None:
    name = queue.name_of(a_job("w2", found.template))
    Path(found.home.queue, name).write_bytes(content)
    engine = found.start()
    found.finish()
    assert "w2" in engine.put_aside or "w2" in engine.watcher.stuck_ones
    assert not [left for left in found.queued() if "w1" in left]


@pytest.mark.parametrize("story", [None, RUNNING, ENDED])
def test_a_job_that_is_in_the_queue_twice_is_taken_up_once(found: Found, story: tuple[e.Event, ...] | None) -> None:
    os.link(found.home.journal("w1"), found.home.queued(queue_name(0, at(1), "w1")))
    assert len(found.queued()) == 2
    if story is not None:
        found.write(*story)
    engine = found.start()
    assert engine.driver.dispatcher.slots.used == len(found.world.running()) == (story is not ENDED)
    assert len(found.queued()) == (story is not ENDED)
    assert found.finish() == "completed"
    assert not found.queued()


@pytest.mark.parametrize(
    ("due", "priority"),
    [("2036-01-01T00:00:00.000000Z", 0), (None, 0), (5, 0), (at(0), "high"), (at(0), None)],
)
def test_a_lying_view_of_the_queue_does_not_change_what_is_done(found: Found, due: Any, priority: Any) -> None:
    """The view saves reading journals at a start; edited or damaged, it must not decide anything."""
    shown = {
        "id": "w1", "template": "report", "priority": priority, "due_at": due, "queued_at": at(0), "user": "ada",
        "labels": {}, "status": "queued", "waits_for": None, "size": os.stat(found.home.journal("w1")).st_size,
    }  # fmt: skip
    line = json.dumps(shown, sort_keys=True)
    Path(found.home.queue_state).write_text('{\n  "counts": {},\n  "jobs": [\n' + line + "\n]\n}\n")
    engine = found.start()
    assert found.queued() == [queue.name_of(a_job("w1", found.template))]
    assert list(found.world.processes) == ["w1/a/1"]
    assert engine.driver.backlog.get("w1") is not None


def test_an_older_view_of_the_queue_saves_reading_the_journal_of_a_job_that_has_not_begun(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    found.accept("w2")
    size = os.stat(found.home.journal("w1")).st_size
    lines = [
        json.dumps(
            {
                "id": workflow, "template": "report", "priority": 0, "due_at": at(0), "queued_at": at(0),
                "user": "ada", "labels": {}, "status": "queued", "waits_for": None, "size": size,
            }, sort_keys=True,
        ) for workflow in ("w1", "w2")
    ]  # fmt: skip
    Path(found.home.queue_state).write_text('{\n  "counts": {},\n  "jobs": [\n' + ",\n".join(lines) + "\n]\n}\n")
    found.write(*RUNNING, workflow="w2")
    read: list[str] = []
    history = FileStore.history
    monkeypatch.setattr(
        FileStore, "history", lambda store, workflow: (read.append(workflow), history(store, workflow))[1]
    )
    engine = found.start()
    assert read == ["w2"], "its journal has grown since"
    assert (engine.report.waiting, engine.report.under_way) == (["w1"], 1)


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "link to itself"])
@pytest.mark.parametrize("name", ["journal.jsonl", "job.json"])
def test_what_stands_in_the_place_of_a_file_is_put_aside_and_the_others_go_on(
    found: Found, name: str, kind: str
) -> None:
    found.accept("w2")
    path = Path(found.home.workflow("w1"), name)
    if name == "job.json":
        found.as_of_format_1()
        os.unlink(found.home.queued(queue.name_of(a_job("w1", found.template))))
        os.symlink("/dev/null", found.home.queued(queue.name_of(a_job("w1", found.template))))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "link to itself" else "/etc/passwd")
    assert found.finish("w2") == "completed"
    assert not found.queued()
    assert os.path.lexists(os.path.join(found.home.quarantine, "w1", name))


def test_a_journal_of_a_newer_version_is_left_as_it_is_whatever_is_asked_of_it(found: Found) -> None:
    path = Path(found.home.journal("w1"))
    line = b'{"n":1,"at":"%b","type":"workflow_teleported"' % at(0).encode()
    path.write_bytes(line + b',"crc":"%08x"}\n' % crc32(line + b"}", codec.SEED))
    before = path.read_bytes()
    found.disk.signals["w1"]["cancel.1"] = Signal("cancel", "cancel.1")
    engine = found.start()
    engine.signal("w1", "pause", "pause.1")
    engine.settle()
    assert path.read_bytes() == before
    entry = engine.driver.backlog.get("w1")
    assert entry is not None
    assert str(sentence(entry.waits_for)).startswith("a person")
    assert found.queued()
    assert not found.world.processes


@pytest.mark.parametrize("operation", ["history", "job", "quarantine"])
def test_what_the_disk_does_not_let_us_take_up_is_taken_up_later(found: Found, operation: str) -> None:
    if operation == "job":
        found.as_of_format_1()
    else:
        found.write(*RUNNING, *([e.WorkflowStarted()] if operation == "quarantine" else []))
    found.accept("w2")
    store = found.place.store
    failures, real = [OSError(errno.EIO, os.strerror(errno.EIO))] * 3, getattr(store, operation)

    def failing(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*arguments)

    setattr(store, operation, failing)
    engine = MemoryEngine(found.disk, found.world, slots=4, store=store, log=found.place.log)
    entry = engine.driver.backlog.get("w1")
    assert entry is not None
    assert str(sentence(entry.waits_for)).startswith("the disk")
    for _ in range(4):
        engine.recovery.again()
        engine.works_again()
        engine.settle()
    assert "w2/a/1" in found.world.processes
    begun = {"history": ["w1/a/2"], "job": ["w1/a/1"], "quarantine": []}
    assert [key for key in found.world.processes if key.startswith("w1/")] == begun[operation]
    assert ("w1" in engine.put_aside) == (operation == "quarantine")


def test_an_attempt_that_cannot_be_looked_at_now_is_looked_at_later(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    found.write(*RUNNING)
    failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))] * 3
    attach = MemoryExecutor.attach

    def failing(self: MemoryExecutor, attempt: Attempt) -> bool:
        if failures:
            raise failures.pop()
        return attach(self, attempt)

    monkeypatch.setattr(MemoryExecutor, "attach", failing)
    engine = found.start()
    engine.reactor.advance(10)
    engine.settle()
    assert list(found.world.processes) == ["w1/a/2"]
    assert engine.driver.dispatcher.slots.used == 1
