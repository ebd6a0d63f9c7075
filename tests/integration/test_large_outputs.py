"""Large outputs: in a file before the commit that names it, loaded only when an expression asks for one."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, a_template
from contracts.memory import Disk, MemoryEngine, MemoryReactor, MemorySyncer, World
from contracts.storage import InAFolder

from hybrid_engine.engine.outputs import LARGE
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.model import events as e
from hybrid_engine.model.template import Template

BIG = {"rows": 7, "text": "x" * LARGE}
USES = a_template(
    {
        "a": None,
        "b": {"needs": ["a"], "run": "true", "env": {"ROWS": "${{ steps.a.output.rows }}"}},
        "c": {"needs": ["a"], "run": "true", "if": "steps.a.output.rows == 7"},
        "d": {"needs": ["a"], "run": "true", "if": "steps.a.status == 'completed'"},
    }
)
ONE = a_template({"a": None})


class Stage:
    """An engine whose background work is done when the test says so."""

    def __init__(self, template: Template = ONE) -> None:
        self.disk, self.world = Disk(), World()
        self.start()
        self.engine.admit(a_job("w1", template), template)
        self.engine.settle()

    def start(self) -> None:
        def background(reactor: MemoryReactor) -> MemorySyncer:
            self.background = MemorySyncer(reactor)
            return self.background

        now = self.engine.reactor.now if hasattr(self, "engine") else 0.0
        self.engine = MemoryEngine(self.disk, self.world, slots=4, now=now, background=background)
        self.engine.settle()

    def end(self, output: Any, key: str = "w1/a/1") -> None:
        self.engine.executor.end(key, output=output)
        self.engine.settle()

    def do(self) -> None:
        self.background.do()
        self.engine.settle()

    def completed(self, step: str = "a") -> e.StepCompleted:
        (found,) = [x for x in self.disk.events("w1") if isinstance(x, e.StepCompleted) and x.step == step]
        return found

    def types(self) -> list[str]:
        return [event.TYPE for event in self.disk.events("w1")]

    def error(self, step: str) -> str:
        state = self.disk.state("w1")
        assert state is not None
        return str((state.steps[step].error or {}).get("message"))


def test_a_large_output_is_committed_by_reference_and_only_when_its_file_is_durable() -> None:
    stage = Stage()
    stage.end(BIG)
    assert stage.types()[-1] == "step_started"
    assert stage.engine.work.slots.used == 1
    stage.do()
    found = stage.completed()
    assert (found.output, found.output_ref) == (None, stage.engine.store.write_output("w1", "a", 1, encoded(BIG)))
    assert stage.types()[-1] == "workflow_completed"
    assert len(stage.disk.journals["w1"]) < 2_000
    view = json.loads(stage.disk.states["w1"])["steps"]["a"]
    assert (view.get("output"), view["output_ref"]) == (None, found.output_ref)


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("output", "is_large"),
    [
        ("x" * (LARGE - 2), False),
        ("x" * (LARGE - 1), True),
        ("ä" * (LARGE // 2 - 1), False),
        ("ä" * (LARGE // 2), True),
        ({"a": 1}, False),
        (None, False),
        (12.5, False),
    ],
)
def test_what_is_large_is_told_by_its_bytes_as_json(output: Any, is_large: bool) -> None:
    stage = Stage()
    stage.end(output)
    assert len(stage.background.pending) == is_large
    if is_large:
        stage.do()
    assert stage.completed().output == (None if is_large else output)


def test_steps_behind_see_a_large_output_as_any_other() -> None:
    stage = Stage(USES)
    stage.end(BIG)
    stage.do()
    begun = {process.attempt.step: process.attempt for process in stage.world.running()}
    assert sorted(begun) == ["b", "c", "d"]
    assert begun["b"].env == {"ROWS": "7"}


def test_only_the_step_that_uses_a_lost_output_fails() -> None:
    stage = Stage(USES)
    stage.end(BIG)
    write = stage.engine.store.write_output

    def spoiled(workflow: str, step: str, number: int, data: bytes) -> dict[str, Any]:
        reference = write(workflow, step, number, data)
        stage.disk.outputs.clear()
        return reference

    stage.engine.store.write_output = spoiled  # type: ignore[method-assign]
    stage.do()
    assert [process.attempt.step for process in stage.world.running()] == ["d"]
    assert "the output of step a is lost: its file was changed" in stage.error("b")
    assert stage.error("c").startswith("if: the output of step a is lost")


def test_an_outcome_that_comes_more_than_once_is_kept_once() -> None:
    stage = Stage()
    stage.end(BIG)
    stage.engine.executor.say_again("w1/a/1")
    stage.engine.settle()
    assert len(stage.background.pending) == 1
    stage.do()
    stage.engine.executor.say_again("w1/a/1")
    stage.engine.settle()
    assert not stage.background.pending
    assert stage.types().count("step_completed") == 1


def test_while_the_disk_fails_the_output_is_tried_again() -> None:
    stage = Stage()
    stage.disk.faults.extend(["output", "output"])
    stage.end(BIG)
    for _ in range(2):
        stage.do()
        assert stage.types()[-1] == "step_started"
        stage.engine.reactor.advance(1.0)
    stage.engine.works_again()
    stage.do()
    assert stage.completed().output_ref is not None


def test_an_output_that_is_not_wanted_any_more_is_not_tried_again() -> None:
    stage = Stage()
    stage.disk.faults.append("output")
    stage.end(BIG)
    stage.do()
    stage.engine.driver.removed("w1")
    stage.engine.reactor.advance(2.0)
    assert not stage.background.pending


def test_an_output_that_can_never_be_kept_fails_its_step() -> None:
    stage = Stage()
    stage.end(BIG)
    journal = stage.disk.journals.pop("w1")  # the store finds no place for it
    stage.background.do()
    stage.disk.journals["w1"] = journal
    stage.engine.settle()
    assert "its output cannot be kept" in stage.error("a")


def test_a_crash_between_the_file_and_the_commit_leaves_a_file_that_harms_nobody() -> None:
    stage = Stage()
    stage.end(BIG)
    stage.background.do()  # the file is written; the engine dies before it hears of it
    assert stage.disk.outputs
    stage.disk.crash()
    stage.start()
    stage.do()
    assert stage.types()[-2:] == ["step_completed", "workflow_completed"]


# --- in a folder ------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(home: Layout) -> Iterator[InAFolder]:
    found = InAFolder(home, ONE)
    yield found
    found.close()


def test_the_file_and_all_names_above_it_are_durable_before_the_commit(
    place: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, sync_data, rename = os.fsync, atomic.sync_data, atomic.rename
    base = place.home.workflows

    def told(fd: int) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), base)

    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(told(fd)), fsync(fd))[1])
    monkeypatch.setattr(atomic, "sync_data", lambda fd: (done.append("commit"), sync_data(fd))[1])
    monkeypatch.setattr(atomic, "rename", lambda *pair: (done.append("rename"), rename(*pair))[1])
    engine = MemoryEngine(Disk(), World(), store=place.store, log=place.log)
    engine.admit(a_job("w1", ONE), ONE)
    engine.settle()
    done.clear()
    engine.executor.end("w1/a/1", output=BIG)
    engine.settle()
    folder = "w1/steps/a/1"
    assert done[: done.index("commit")] == [
        f"{folder}/output.json.tmp", "rename", folder, "w1/steps/a", "w1/steps", "w1", ".",
    ]  # fmt: skip
    history = place.store.history("w1")
    assert history is not None
    (found,) = [event for *_, event in history.entries if isinstance(event, e.StepCompleted)]
    assert found.output_ref is not None
    assert place.store.read_output("w1", found.output_ref) == BIG
    assert Path(place.home.workflow("w1"), found.output_ref["path"]).stat().st_mode & 0o777 == 0o600


def test_a_folder_in_the_place_of_the_file_fails_the_step_and_a_full_disk_does_not(
    place: InAFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = MemoryEngine(Disk(), World(), store=place.store, log=place.log)
    engine.admit(a_job("w1", ONE), ONE)
    engine.settle()
    place.store.settle("w1")
    os.makedirs(Path(place.home.attempt("w1", "a", 1), "output.json", "sub"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "replace", full)
        engine.executor.end("w1/a/1", output=BIG)
        engine.settle()
        assert engine.driver.runs["w1"].state.steps["a"].status == "running"
    engine.works_again()
    engine.reactor.advance(1.0)
    history = place.store.history("w1")
    assert history is not None
    (failed,) = [event for *_, event in history.entries if isinstance(event, e.StepFailed)]
    assert "its output cannot be kept: Is a directory" in str(failed.error["message"])
