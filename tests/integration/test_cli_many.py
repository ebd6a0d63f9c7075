"""Commands for many workflows: which ones a filter means, what is said and asked before, and what may not be mixed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commandline import Hybrid, add_story, greeting_home, on_a_terminal
from homes import COMPLETED, a_workflow, at, everything

from hybrid_engine.cli import jobs, selection
from hybrid_engine.files import dropbox, journal, queue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.model import events as e


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    return greeting_home(tmp_path, monkeypatch)


@pytest.fixture
def hybrid(layout: Layout, capsys: pytest.CaptureFixture[str]) -> Hybrid:
    return Hybrid(capsys)


@pytest.fixture
def story(layout: Layout) -> Layout:
    return add_story(layout)


def signals(layout: Layout) -> dict[str, list[str]]:
    """The verbs that lie in the signals of each workflow."""
    return {
        name: [signal.split(".")[0] for signal in os.listdir(layout.signals(name))]
        for name in sorted(os.listdir(layout.workflows))
        if os.path.isdir(layout.signals(name))
    }


def test_cancel_of_all_touches_what_is_unfinished_and_says_how_many(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("cancel", "--all")
    assert found.code == 0
    assert "cancel: 2 workflows" in found.err
    assert signals(story) == {"w-going": ["cancel"], "w-new": ["cancel"]}


def test_a_filter_chooses_among_what_the_verb_can_be_done_to(hybrid: Hybrid, story: Layout) -> None:
    assert hybrid("retry", "--template", "report").code == 0
    assert signals(story) == {"w-failed": ["retry"]}
    assert hybrid("pause", "--status", "running").code == 0
    assert signals(story)["w-going"] == ["pause"]
    found = hybrid("resume", "--all", "--json")
    assert (found.code, found.json) == (0, [])
    assert "resume: 0 workflows" in found.err
    assert "cannot cancel workflows that are completed" in hybrid("cancel", "--status", "completed").err


def test_ids_and_filters_are_not_mixed_and_nothing_means_nothing(hybrid: Hybrid, story: Layout) -> None:
    for argv in (["cancel", "w-new", "--all"], ["wait", "w-new", "--template", "x"], ["cancel"], ["wait"]):
        assert hybrid(*argv).code == 2
    assert hybrid("prune", "w-done", "--keep", "1").code == 2
    assert signals(story) == {}


def test_a_terminal_is_asked_and_no_means_no(story: Layout) -> None:
    code, printed = on_a_terminal("cancel", "--all", home=story.home, answer="n\n")
    assert "Cancel 2 workflows?" in printed
    assert "nothing was done" in printed
    assert (code, signals(story)) == (1, {})
    assert on_a_terminal("cancel", "--all", home=story.home, answer="y\n")[0] == 0
    assert len(signals(story)) == 2


def test_a_terminal_is_not_asked_when_the_answer_is_given_or_the_workflow_is_named(story: Layout) -> None:
    for argv in (["cancel", "--all", "--yes"], ["pause", "w-going"]):
        assert "?" not in on_a_terminal(*argv, home=story.home)[1]
    assert len(signals(story)["w-going"]) == 2


def test_wait_takes_filters(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("wait", "--status", "running", "--timeout", "0")
    assert (found.code, found.out) == (12, "w-going timeout\n")
    assert "waiting for 1 workflow\n" in found.err


# --- prune and remove


def test_prune_without_limits_names_those_there_are(hybrid: Hybrid, story: Layout) -> None:
    before = everything(story)
    found = hybrid("prune")
    assert found.code == 2
    for option in ("--older-than", "--keep", "--max-size", "--all"):
        assert option in found.err
    assert everything(story) == before


def test_prune_by_filters_alone_wants_to_be_confirmed(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("prune", "--status", "failed")
    assert found.code == 2
    assert "--yes" in found.err
    assert hybrid("prune", "--status", "failed", "--dry-run", "--json").json["ids"] == ["w-failed"]
    assert hybrid("prune", "--status", "failed", "--yes").out == "w-failed\n"
    assert sorted(os.listdir(story.workflows)) == ["w-done", "w-going", "w-new"]
    assert "not a final status" in hybrid("prune", "--status", "running", "--yes").err


def test_prune_by_a_filter_that_the_index_does_not_have_keeps_the_newest_of_those(
    hybrid: Hybrid, story: Layout
) -> None:
    for number in (6, 7, 8):
        a_workflow(story, f"w-{number}", *COMPLETED, minute=number)
    found = hybrid("prune", "--keep", "1", "--since", "2026-11-20T08:05:00Z")
    assert (found.code, found.out.split()) == (0, ["w-7", "w-6"])
    assert {"w-8", "w-done", "w-failed"} <= set(os.listdir(story.workflows))


def test_prune_asks_on_a_terminal_what_it_would_remove(story: Layout) -> None:
    assert "Remove 1 workflow," in on_a_terminal("prune", "--keep", "1", home=story.home, answer="n\n")[1]
    assert os.path.exists(story.workflow("w-done"))
    assert on_a_terminal("prune", "--keep", "1", home=story.home, answer="y\n")[0] == 0
    assert not os.path.exists(story.workflow("w-done"))
    assert "nothing to remove" in on_a_terminal("prune", "--keep", "1", home=story.home)[1]


def test_remove_takes_finished_workflows_by_a_part_of_their_ids(hybrid: Hybrid, story: Layout) -> None:
    found = hybrid("remove", "w-don", "w-going", "w-nobody")
    assert (found.code, found.out) == (5, "w-done\n")
    assert "w-going is running: cancel it first" in found.err
    assert sorted(os.listdir(story.workflows)) == ["w-failed", "w-going", "w-new"]
    assert hybrid("remove", "w-going").code == 5
    assert [row["id"] for row in hybrid("list", "--json").json_lines] == ["w-new", "w-going", "w-failed"]


# --- enqueue


def test_a_dry_run_says_what_would_be_accepted_and_writes_nothing(hybrid: Hybrid, layout: Layout) -> None:
    before = everything(layout)
    found = hybrid("enqueue", "greet", "-p", "times=2", "-l", "a=b", "--delay", "1h", "--dry-run", "--json")
    job = found.json["job"]
    assert found.code == 0
    assert (job["params"], job["labels"]) == ({"name": "world", "times": 2}, {"a": "b"})
    assert job["due_at"] > job["queued_at"]
    assert "id" not in job
    assert "would be accepted" in hybrid("enqueue", "greet", "--dry-run").out
    for wrong in (["-p", "times=0"], ["-p", "nmae=x"], ["--delay", "soon"]):
        assert hybrid("enqueue", "greet", "--dry-run", *wrong).code == 2
    assert everything(layout) == before


def test_enqueue_says_whether_the_job_is_accepted_and_was_known(hybrid: Hybrid, layout: Layout) -> None:
    first = hybrid("enqueue", "greet", "--key", "k", "--json").json
    assert (first["accepted"], first["known"]) == (True, False)
    Path(layout.templates, "greet.yaml").write_text("steps: {one: {run: 'true'}}")
    again = hybrid("enqueue", "greet", "--key", "k", "--json").json
    assert again == {**first, "known": True}


def test_a_job_that_no_daemon_has_taken_yet_is_not_said_to_be_accepted(
    hybrid: Hybrid, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PATIENCE", 0)
    with BriefLock(layout) as mine:
        assert mine
        Path(layout.home_lock).write_text(json.dumps({"pid": os.getpid(), "host": "here"}))
        found = hybrid("enqueue", "greet", "--json").json
    assert (found["accepted"], found["known"]) == (False, False)
    assert os.path.exists(dropbox.inbox_path(layout, found["id"]))


def test_enqueue_tells_a_rejection(hybrid: Hybrid, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(layout: Layout, request: dict[str, object], job: queue.Job) -> bool:
        Path(layout.rejected, f"{job.id}.json").write_text(json.dumps(request))
        Path(layout.rejected, f"{job.id}.json.reason.json").write_text('{"reason": "too late"}')
        return False

    monkeypatch.setattr("hybrid_engine.files.submission.submit", reject)
    found = hybrid("enqueue", "greet", "--json")
    assert (found.code, found.json["accepted"], found.json["rejected"]) == (2, False, "too late")


def test_enqueue_wait_exits_as_the_workflow_ended(
    hybrid: Hybrid, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(layout: Layout, request: dict[str, object], job: queue.Job) -> bool:
        Path(layout.frozen_template("v1")).write_text("{}")
        a_workflow(layout, job.id, e.WorkflowFailed({"message": "no luck"}))
        return True

    monkeypatch.setattr("hybrid_engine.files.submission.submit", fail)
    found = hybrid("enqueue", "greet", "--wait")
    assert found.code == 10
    assert "failed" in found.err


def test_nobody_is_asked_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "can_ask", lambda: False)
    assert selection.confirmed("Really?", yes=False)


# --- retry

THREE = """\
steps:
  one: {run: "true"}
  two: {run: "true"}
  beside: {needs: [], run: "true"}
  last: {needs: two, run: "true"}
"""


@pytest.fixture
def ended(hybrid: Hybrid, layout: Layout) -> dict[str, str]:
    """The ids of two workflows: one failed at its second step, one is completed."""
    Path(layout.templates, "three.yaml").write_text(THREE)
    made = (
        e.StepStarted("one", 1),
        e.StepCompleted("one", 1),
        e.StepStarted("beside", 1),
        e.StepCompleted("beside", 1),
    )
    last_one = e.StepStarted("last", 1), e.StepCompleted("last", 1)
    begun = (e.WorkflowStarted(), *made, e.StepStarted("two", 1))
    ids = {}
    for how, last in (
        ("failed", (e.StepFailed("two", 1), e.StepSkipped("last", "upstream", "two"), e.WorkflowFailed())),
        ("completed", (e.StepCompleted("two", 1), *last_one, e.WorkflowCompleted())),
    ):
        ids[how] = workflow = hybrid("enqueue", "three").out.strip()
        with open(layout.journal(workflow), "ab") as file:
            for n, event in enumerate((*begun, *last), 2):
                file.write(journal.encode(n, at(n), [event]))
        os.unlink(layout.state(workflow))
    return ids


def content_of(layout: Layout, workflow: str) -> dict[str, str]:
    [signal] = Path(layout.signals(workflow)).iterdir()
    return dict(json.loads(signal.read_text()))


def test_a_dry_run_of_a_retry_says_what_would_run_and_changes_nothing(
    hybrid: Hybrid, layout: Layout, ended: dict[str, str]
) -> None:
    before = everything(layout)
    found = hybrid("retry", ended["failed"], "--dry-run")
    assert found.out == f"{ended['failed']} would run again:\n  two (now failed)\n  last (now skipped)\n"
    assert "takes effect" not in found.err
    row = hybrid("retry", ended["failed"], "--from", "one", "--dry-run", "--json").json
    steps = {"one": "completed", "two": "failed", "last": "skipped"}
    assert row == [{"id": ended["failed"], "dry_run": True, "steps": steps}]
    row = hybrid("retry", ended["completed"], "--step", "beside", "--dry-run", "--json").json
    assert row[0]["steps"] == {"beside": "completed"}
    assert everything(layout) == before


def test_a_retry_hands_on_which_steps_run_again(hybrid: Hybrid, layout: Layout, ended: dict[str, str]) -> None:
    assert hybrid("retry", ended["failed"], "--from", "one", "--user", "ann", "--reason", "new data").code == 0
    assert content_of(layout, ended["failed"]) == {"by": "ann", "reason": "new data", "from": "one"}
    assert hybrid("retry", ended["completed"], "--step", "two", "--step", "beside", "--user", "ann").code == 0
    assert content_of(layout, ended["completed"]) == {"by": "ann", "step": "two,beside"}


def test_a_retry_that_cannot_be_meant_is_refused(hybrid: Hybrid, layout: Layout, ended: dict[str, str]) -> None:
    done, failed = ended["completed"], ended["failed"]
    for argv, code, said in (
        ((done,), 5, "--from STEP and --step STEP"), ((failed, "--from", "twoo"), 4, "did you mean 'two'?"),
        ((failed, "--from", "one", "--step", "two"), 2, "not both"), ((done, "--step", "nothing"), 4, "no step"),
        ((failed, "--step", "last"), 5, "step last needs two, which is failed"),
    ):  # fmt: skip
        found = hybrid("retry", *argv)
        assert (found.code, said in found.err) == (code, True), (argv, found.err)
    assert signals(layout) == {}
    assert hybrid("retry", failed, "--step", "last", "--step", "two").code == 0


def test_a_filter_takes_completed_workflows_only_when_it_says_so(
    hybrid: Hybrid, layout: Layout, ended: dict[str, str]
) -> None:
    assert hybrid("retry", "--template", "three", "--from", "one").code == 0
    assert set(signals(layout)) == {ended["failed"]}
    assert hybrid("retry", "--template", "three", "--status", "completed", "--from", "one").code == 0
    assert set(signals(layout)) == set(ended.values())


def test_a_retry_says_that_the_template_has_changed_since(
    hybrid: Hybrid, layout: Layout, ended: dict[str, str]
) -> None:
    assert "template three" not in hybrid("retry", ended["failed"], "--dry-run").err
    Path(layout.templates, "three.yaml").write_text(THREE + "  more: {run: 'true'}\n")
    for argv in ((ended["failed"], "--dry-run"), (ended["failed"],)):
        found = hybrid("retry", *argv)
        assert f"template three has changed since {ended['failed']} was accepted" in found.err
    Path(layout.templates, "three.yaml").unlink()
    assert "template three was removed or broken" in hybrid("retry", ended["failed"]).err
