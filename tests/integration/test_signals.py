"""Signals dropped for workflows: in order, once, and none of them lost because it cannot be understood."""

from __future__ import annotations

import errno
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from intaking import Porch, an_intake

from hybrid_engine.files import atomic, dropbox, journal
from hybrid_engine.files import signals as folders
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.rules.transitions import fold


@pytest.fixture
def porch(home: Layout) -> Iterator[Porch]:
    yield from an_intake(home)


def a_workflow(porch: Porch) -> str:
    porch.rename("a.json", '{"template": "report"}')
    (workflow,) = porch.take()
    return workflow


def by_hand(porch: Porch, workflow: str, name: str, content: str = "") -> Path:
    path = Path(porch.home.signals(workflow), name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    dropbox.ring(porch.home, workflow)
    return path


def events(porch: Porch, workflow: str) -> list[str]:
    try:
        return [entry.event.TYPE for entry in journal.read(porch.home.journal(workflow)).entries]
    except FileNotFoundError:
        return []


def state(porch: Porch, workflow: str) -> WorkflowState:
    found = fold((entry.n, entry.at, entry.event) for entry in journal.read(porch.home.journal(workflow)).entries)
    assert found is not None
    return found


def test_a_signal_with_a_bell_is_acted_on_and_tidied_up(porch: Porch) -> None:
    workflow = a_workflow(porch)
    dropbox.send_signal(porch.home, workflow, "cancel", {"by": "ada", "reason": "no need"})
    assert porch.left() == [f".signal-{workflow}"]
    porch.look()
    assert porch.queued() == []
    assert porch.left() == []
    assert not os.path.exists(porch.home.signals(workflow))
    assert '"by":"ada","reason":"no need"' in Path(porch.home.journal(workflow)).read_text()


def test_a_bell_stays_until_its_signal_is_committed(porch: Porch) -> None:
    """A retry of a finished workflow has nothing else that would make the next engine look."""
    porch.slots = 1
    porch.restart()
    porch.rename("a.json", '{"template": "report"}')
    porch.take()
    (process,) = porch.world.running()
    porch.engine.executor.end(process.attempt.key, "failed")
    porch.settle()
    workflow = process.attempt.workflow
    dropbox.send_signal(porch.home, workflow, "retry")
    porch.intake.look()
    assert porch.left() == [f".signal-{workflow}"]
    porch.restart()
    porch.look()
    assert [found.attempt.key for found in porch.world.running()] == [f"{workflow}/one/2"]
    porch.take()
    assert porch.left() == []


def test_a_signal_dropped_by_hand_is_found_without_a_bell(porch: Porch) -> None:
    porch.slots = 1
    porch.restart()
    porch.rename("a.json", '{"template": "report"}')
    porch.take()
    (process,) = porch.world.running()
    folder = Path(porch.home.signals(process.attempt.workflow))
    folder.mkdir()
    (folder / "cancel").touch()
    porch.intake.signals.read_lost()
    porch.settle()
    assert process.cancelled


def test_a_signal_dropped_by_hand_twice_is_two_signals(porch: Porch) -> None:
    """Their names are remembered, and both have the same."""
    workflow = a_workflow(porch)
    for verb in ("pause", "resume", "pause"):
        by_hand(porch, workflow, verb)
        porch.take()
    assert [kind for kind in events(porch, workflow) if kind.startswith("workflow_")][1:] == [
        "workflow_paused", "workflow_resumed", "workflow_paused"
    ]  # fmt: skip
    assert not os.path.exists(porch.home.signals(workflow))


@pytest.mark.parametrize("content", ["", "{}", "\n", '{"by": null}', '{"by": "ada", "reason": "' + "x" * 5_000 + '"}'])
def test_a_signal_may_say_who_asks_and_why(porch: Porch, content: str) -> None:
    workflow = a_workflow(porch)
    by_hand(porch, workflow, "cancel", content)
    porch.take()
    assert porch.queued() == []
    assert porch.rejected() == []


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("teleport", "", "unknown_signal"),
        ("cancle.5f", '{"by": "ada"}', "unknown_signal"),
        ("CANCEL", "", "unknown_signal"),
        ("cancel", "nonsense", None),
        ("cancel", "[1]", "wrong_type"),
        ("cancel", '{"by": 5}', "wrong_type"),
        ("cancel", '{"by": "a", "by": "b"}', None),
        ("cancel", '{"reason": NaN}', None),
        ("cancel", '{"because": "x"}', "unknown_field"),
        ("cancel", '{"by": "' + "x" * 100_000 + '"}', "too_large"),
        ("cancel", "[" * 100_000, "too_large"),
    ],
)
def test_what_is_no_signal_is_put_aside_with_its_reason(porch: Porch, name: str, content: str, code: str) -> None:
    workflow = a_workflow(porch)
    by_hand(porch, workflow, name, content)
    porch.take()
    assert porch.queued() == [workflow]
    assert porch.left() == []
    assert not os.path.exists(porch.home.signals(workflow))
    (aside,) = porch.rejected()
    assert Path(porch.home.rejected, aside).read_text() == content
    reason = porch.reason(aside)
    assert workflow in aside
    assert reason["file"] == name
    assert reason["reason"]
    if code is not None:
        assert reason["code"] == code


def test_an_unknown_signal_is_told_with_the_nearest_right_one(porch: Porch) -> None:
    workflow = a_workflow(porch)
    by_hand(porch, workflow, "cancle")
    porch.take()
    assert "cancel" in porch.reason(*porch.rejected())["hint"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_is_no_plain_file_is_never_followed(porch: Porch, tmp_path: Path, kind: str) -> None:
    workflow = a_workflow(porch)
    path = by_hand(porch, workflow, "cancel")
    path.unlink()
    if kind == "link":
        (tmp_path / "x").write_text("{}")
        path.symlink_to(tmp_path / "x")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    dropbox.send_signal(porch.home, workflow, "pause")
    porch.take()
    assert len(porch.rejected()) == 1
    assert events(porch, workflow)[-1] == "workflow_paused"


def test_a_bad_signal_does_not_keep_a_good_one_waiting(porch: Porch) -> None:
    workflow = a_workflow(porch)
    by_hand(porch, workflow, "teleport")
    dropbox.send_signal(porch.home, workflow, "cancel")
    porch.take()
    assert porch.queued() == []
    assert len(porch.rejected()) == 1


@pytest.mark.parametrize("name", ["cancel.part", "pause~", ".cancel"])
def test_a_signal_that_is_being_written_is_left_alone(porch: Porch, name: str) -> None:
    workflow = a_workflow(porch)
    path = by_hand(porch, workflow, name)
    porch.take()
    assert porch.queued() == [workflow]
    assert path.exists()


def test_a_signal_that_somebody_has_open_for_writing_is_waited_for(porch: Porch) -> None:
    workflow = a_workflow(porch)
    path = by_hand(porch, workflow, "cancel")
    with open(path, "w") as file:
        file.write('{"by": "a')
        file.flush()
        porch.look()
        porch.wait(2)
        assert porch.queued() == [workflow]
        file.write('da"}')
    porch.take()
    assert porch.queued() == porch.rejected() == []
    assert state(porch, workflow).cancel_requested_at
    assert '"by":"ada"' in Path(porch.home.journal(workflow)).read_text()


def test_a_signal_that_cannot_be_read_for_a_moment_is_read_later(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was acted on as if it said nothing."""
    workflow = a_workflow(porch)
    by_hand(porch, workflow, "cancel", '{"by": "ada"}')
    failures = [errno.EMFILE, errno.EIO, errno.ENOMEM]
    real = os.open

    def failing(path: str, *arguments: int, **options: int) -> int:
        if "/signals/cancel" in str(path) and failures:
            raise OSError(failures.pop(), "for a moment")
        return real(path, *arguments, **options)

    monkeypatch.setattr(folders.os, "open", failing)
    porch.look()
    assert porch.queued() == [workflow]
    assert porch.rejected() == []
    porch.take()
    assert porch.queued() == []
    assert '"by":"ada"' in Path(porch.home.journal(workflow)).read_text()


def test_a_signal_that_cannot_be_put_aside_is_kept(porch: Porch) -> None:
    workflow = a_workflow(porch)
    os.rmdir(porch.home.rejected)
    Path(porch.home.rejected).write_text("in the way")
    path = by_hand(porch, workflow, "teleport", "precious")
    porch.look()
    porch.wait(3)
    assert path.read_text() == "precious"
    os.unlink(porch.home.rejected)
    porch.take()
    assert len(porch.rejected()) == 1


def test_a_burst_of_signals_is_acted_on_in_order_and_once_each(porch: Porch) -> None:
    workflow = a_workflow(porch)
    for _ in range(20):
        for verb in ("pause", "resume"):
            dropbox.send_signal(porch.home, workflow, verb)
    porch.take()
    told = [kind for kind in events(porch, workflow) if kind in ("workflow_paused", "workflow_resumed")]
    assert told == ["workflow_paused", "workflow_resumed"] * 20


@pytest.mark.parametrize("seed", range(12))
def test_a_signal_of_a_burst_is_not_repeated_after_a_crash(
    porch: Porch, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More are dropped than a state remembers. A power cut brings back every file whose removal was not synced."""
    workflow = a_workflow(porch)
    dice = random.Random(seed)
    sent = [dropbox.send_signal(porch.home, workflow, dice.choice(("pause", "resume"))) for _ in range(40)]
    folder = porch.home.signals(workflow)
    contents = {name: Path(folder, name).stat() for name in sent}
    durable = set(sent)
    sync = atomic.sync_folder

    def watched(path: str) -> None:
        sync(path)
        if path == folder:
            durable.intersection_update(os.listdir(folder))

    monkeypatch.setattr(atomic, "sync_folder", watched)
    acted: list[str] = []
    for _ in range(6):
        porch.intake.look()
        for _ in range(dice.randrange(60)):
            porch.engine.reactor.run()
            porch.step()
            porch.engine.reactor.advance(0.003)
        os.makedirs(folder, exist_ok=True)
        for name in durable - set(os.listdir(folder)):
            Path(folder, name).write_text("{}\n")
            os.utime(Path(folder, name), ns=(contents[name].st_atime_ns, contents[name].st_mtime_ns))
        dropbox.ring(porch.home, workflow)
        porch.restart()
    porch.take()
    lines = [json.loads(line) for line in Path(porch.home.journal(workflow)).read_text().splitlines()]
    acted = [line["signal"] for line in lines if line.get("signal")]
    assert len(acted) == len(set(acted))
    verbs = [name.split(".")[0] for name in sent]
    assert [name.split(".")[0] for name in acted] == alternating(verbs)


def alternating(verbs: list[str]) -> list[str]:
    """What of them changes something, beginning with a workflow that is not paused."""
    found: list[str] = []
    for verb in verbs:
        if verb != (found[-1] if found else "resume"):
            found.append(verb)
    return found


@pytest.mark.parametrize("name", [".signal-nobody", ".signal-..", ".signal-", ".signal-a b"])
def test_a_bell_for_nobody_is_harmless(porch: Porch, name: str) -> None:
    (porch.inbox / name).touch()
    porch.rename("a.json", '{"template": "report"}')
    assert len(porch.take()) == 1


def test_a_retry_is_done_of_the_steps_that_it_names_and_put_aside_when_they_cannot_be_ones(porch: Porch) -> None:
    porch.slots = 1
    porch.restart()
    porch.rename("a.json", '{"template": "report"}')
    (workflow,) = porch.take()
    (process,) = porch.world.running()
    porch.engine.executor.end(process.attempt.key)
    porch.settle()
    folder = Path(porch.home.signals(workflow))
    for number, content in enumerate(
        ('{"step": ["one"]}', '{"step": "no, name!"}', '{"step": "one", "from": "one"}'), 1
    ):
        folder.mkdir(exist_ok=True)
        (folder / f"retry.{number}").write_text(content)
        dropbox.ring(porch.home, workflow)
        porch.look()
        porch.wait(1)
        assert porch.world.running() == []
        assert len(porch.rejected()) == number
    folder.mkdir(exist_ok=True)
    (folder / "retry.9").write_text('{"step": "one"}')
    dropbox.ring(porch.home, workflow)
    porch.look()
    porch.wait(1)
    assert [found.attempt.key for found in porch.world.running()] == [f"{workflow}/one/2"]
