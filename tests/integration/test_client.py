"""`Client`: enqueue one and many, look and wait, without and with a daemon."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from homes import COMPLETED, STARTED, a_workflow

import hybrid_engine
from hybrid_engine.errors import ConflictError, HomeError, InputError, JobError, NotFoundError, TemplateError
from hybrid_engine.files import dropbox, queue, submission
from hybrid_engine.files.home import init_home
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock
from hybrid_engine.files.log import single
from hybrid_engine.rules.requests import check_request

TEMPLATE = "params: {n: {type: integer, default: 1}}\nsteps: {hello: {run: 'true'}}\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(str(tmp_path / "home"))
    init_home(found, sample=False)
    Path(found.templates, "greet.yaml").write_text(TEMPLATE)
    Path(found.frozen_template("v1")).write_text("{}")
    return found


@pytest.fixture
def client(layout: Layout) -> hybrid_engine.Client:
    return hybrid_engine.Client(layout.home, user="ann")


def dropped(layout: Layout) -> list[dict[str, object]]:
    [batch] = [name for name in os.listdir(layout.inbox) if name.endswith(".jsonl")]
    return [json.loads(line) for line in Path(layout.inbox, batch).read_text().splitlines()]


def test_a_client_of_no_home_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="hybrid init"):
        hybrid_engine.Client(str(tmp_path / "none"))


def test_the_home_comes_from_the_environment(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_HOME", layout.home)
    assert hybrid_engine.Client().home == layout.home


def test_enqueue_accepts_when_no_engine_runs(client: hybrid_engine.Client, layout: Layout) -> None:
    workflow = client.enqueue("greet", {"n": 3}, priority=7, labels={"team": "a"}, delay=timedelta(minutes=5))
    job = queue.read_job(layout.journal(workflow))
    assert (job.params, job.priority, job.labels, job.user, job.trigger) == ({"n": 3}, 7, {"team": "a"}, "ann", "api")
    assert job.due_at > job.queued_at
    assert client.get(workflow)["status"] == "queued"
    assert [row["id"] for row in client.list(status="queued", labels={"team": "a"})] == [workflow]


def test_values_of_a_program_are_not_read_as_text(client: hybrid_engine.Client) -> None:
    with pytest.raises(JobError, match="whole number"):
        client.enqueue("greet", {"n": "3"})


def test_a_moment_must_have_a_time_zone(client: hybrid_engine.Client, layout: Layout) -> None:
    with pytest.raises(JobError, match="time zone"):
        client.enqueue("greet", at=datetime(2030, 1, 1))  # noqa: DTZ001
    workflow = client.enqueue("greet", at=datetime(2030, 1, 1, tzinfo=UTC))
    assert queue.read_job(layout.journal(workflow)).due_at == "2030-01-01T00:00:00.000000Z"


def test_the_same_key_is_the_same_workflow_one_by_one_and_in_many(client: hybrid_engine.Client, layout: Layout) -> None:
    first = client.enqueue("greet", key="k")
    assert client.enqueue("greet", key="k") == first
    ids = client.enqueue_many([{"template": "greet", "key": key} for key in ("k", "new", "new")])
    assert ids[0] == first
    assert ids[1] == ids[2]
    assert [job["id"] for job in dropped(layout)] == [ids[1]]


def test_many_are_one_file_of_sound_job_files(client: hybrid_engine.Client, layout: Layout) -> None:
    jobs = [{"template": "greet", "params": {"n": number}, "delay": "1h"} for number in range(50)]
    ids = client.enqueue_many(jobs)
    found = dropped(layout)
    assert [job["id"] for job in found] == ids == sorted(set(ids))
    assert [check_request(job)["params"] for job in found] == [job["params"] for job in jobs]
    assert all("delay" not in job and job["trigger"] == "api" and job["user"] == "ann" for job in found)
    assert client.get(ids[7])["accepted"] is False


def test_nothing_is_written_when_one_of_many_is_wrong(client: hybrid_engine.Client, layout: Layout) -> None:
    with pytest.raises(JobError) as caught:
        client.enqueue_many(
            [{"template": "greet"}, {"template": "gret"}, {"template": "greet", "params": {"m": 1}}, {"id": "x"}]
        )
    told = str(caught.value)
    assert "jobs[1].template" in told
    assert "'greet'" in told
    assert "jobs[2].params.m" in told
    assert "jobs[3]" in told
    assert os.listdir(layout.inbox) == ["rejected"]
    assert client.enqueue_many([]) == []
    assert os.listdir(layout.inbox) == ["rejected"]


def test_a_template_is_read_once_for_many(client: hybrid_engine.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from hybrid_engine.files.templates import TemplateStore

    asked: list[str] = []
    current = TemplateStore.current
    monkeypatch.setattr(TemplateStore, "current", lambda self, name: (asked.append(name), current(self, name))[1])
    client.enqueue_many([{"template": "greet"}] * 100)
    assert asked == ["greet"]


def test_a_template_that_was_never_good_is_an_error(client: hybrid_engine.Client, layout: Layout) -> None:
    Path(layout.templates, "bad.yaml").write_text("steps: 3\n")
    with pytest.raises(TemplateError, match=r"bad\.yaml"):
        client.enqueue("bad")


def test_wait_gives_the_status_of_one_or_of_each(client: hybrid_engine.Client, layout: Layout) -> None:
    a_workflow(layout, "w1", *COMPLETED)
    a_workflow(layout, "w2", *STARTED)
    assert client.wait("w1") == "completed"
    assert client.wait(["w1"]) == {"w1": "completed"}
    with pytest.raises(TimeoutError, match="w2"):
        client.wait(["w1", "w2"], timeout=0)
    with pytest.raises(NotFoundError):
        client.wait("w3", timeout=0)


def test_commands_are_signals_and_conflicts_are_told(client: hybrid_engine.Client, layout: Layout) -> None:
    a_workflow(layout, "w1", *STARTED)
    a_workflow(layout, "w2", *COMPLETED)
    client.pause("w1")
    client.cancel("w1", "enough")
    assert sorted(name.split(".")[0] for name in os.listdir(layout.signals("w1"))) == ["cancel", "pause"]
    for command in (client.cancel, client.pause, client.resume, client.retry):
        with pytest.raises(ConflictError):
            command("w2")
    assert client.why("w2").startswith("completed")
    with pytest.raises(NotFoundError, match="no step 'nowhere'"):
        client.retry("w2", steps=["nowhere"])
    assert not os.path.exists(layout.signals("w2"))
    client.retry("w2", from_step="one")
    assert len(os.listdir(layout.signals("w2"))) == 1


def test_an_id_is_not_for_programs_to_choose(client: hybrid_engine.Client) -> None:
    with pytest.raises(JobError, match="use `key`"):
        client.enqueue_many([{"template": "greet", "id": "mine"}])
    with pytest.raises(InputError):
        client.enqueue("greet", user="../root")


def test_a_crash_after_the_drop_loses_nothing(
    client: hybrid_engine.Client, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    Path(layout.home_lock).write_text(json.dumps({"pid": os.getpid()}))
    with BriefLock(layout) as mine, monkeypatch.context() as patch:
        assert mine, "somebody else is the engine"
        patch.setattr(submission, "engine_lives", die)
        with pytest.raises(KeyboardInterrupt):
            client.enqueue("greet")
    [name] = [name for name in os.listdir(layout.inbox) if name != "rejected"]
    assert client.get(name.removesuffix(".json"))["status"] == "queued"
    assert dropbox.inbox_path(layout, name.removesuffix(".json")) == os.path.join(layout.inbox, name)


def test_a_crash_after_the_commit_loses_nothing(
    client: hybrid_engine.Client, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(single, "_place", die)
        with pytest.raises(KeyboardInterrupt):
            client.enqueue("greet", {"n": 3}, key="k")
    assert os.listdir(layout.workflows) == []
    workflow = client.enqueue("greet", {"n": 4}, key="k")
    record = client.get(workflow)
    assert (record["status"], record["params"]) == ("queued", {"n": 3})
