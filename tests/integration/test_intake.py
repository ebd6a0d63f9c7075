"""The intake: from files that strangers drop to accepted jobs, on a real home, with a clock moved by hand."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts.memory import Disk, MemoryEngine, MemorySyncer, World
from contracts.storage import InAFolder

from hybrid_engine.daemon.intake import Intake
from hybrid_engine.files import atomic, dropbox, queue
from hybrid_engine.files.inbox import FileInbox
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.job import Job

SETTLE, REJECT_AFTER = 0.5, 2.0
TEMPLATE = """\
params:
  n: {type: integer, default: 0}
  text: {type: string, default: ""}
steps:
  one: {run: "true"}
"""

BOMB = b"".join(b"%c: &%c [%b]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9)) for n in range(96, 110))
"""Each line is nine times the one before."""


class Porch:
    """A home with an engine that has no slot to spare, so that what it accepts stays in the queue."""

    def __init__(self, home: Layout, slots: int = 0) -> None:
        self.home = home
        self.inbox = Path(home.inbox)
        self.templates = TemplateStore(home)
        self.world, self.disk = World(), Disk()
        self.place = InAFolder(home)
        self.accepted: list[Job] = []
        self.slots = slots
        self.now = 0.0
        self.start()

    def start(self) -> None:
        """A (fresh) engine."""
        templates = TemplateStore(self.home)
        self.engine = MemoryEngine(
            self.disk, self.world, self.slots, self.now, store=self.place.store, log=self.place.log
        )
        self.engine.watcher.accepted_ones = self.accepted
        self.background, self.file_inbox = MemorySyncer(self.engine.reactor), FileInbox(self.home, templates)
        self.intake = Intake(
            self.file_inbox, self.engine.driver, self.place.log, self.background, self.engine.reactor,
            self.engine.clock, settle=SETTLE, reject_after=REJECT_AFTER,
        )  # fmt: skip

    def settle(self) -> None:
        """Do all that can be done now, in the background, too."""
        self.engine.settle()
        while self.background.pending or self.place.log.is_behind:
            if self.background.pending:
                self.background.do()
            self.place.log.write_behind(60.0)
            self.engine.settle()

    def restart(self) -> None:
        """Kill the engine and start another."""
        self.now = self.engine.reactor.now + 1.0
        self.place.again()
        self.start()

    def look(self) -> None:
        self.intake.look()
        self.settle()

    def wait(self, seconds: float) -> None:
        """Let time go on, looking whenever the intake wants to."""
        end = self.engine.reactor.now + seconds
        while self.engine.reactor.now < end:
            self.engine.reactor.advance(min(0.05, end - self.engine.reactor.now))
            self.settle()

    def take(self) -> list[str]:
        """Look, wait until nothing can change any more, and tell what was accepted so far, by template."""
        self.look()
        self.wait(10)
        assert self.intake.is_idle
        return sorted(self.queued())

    def queued(self) -> list[str]:
        return [name.split("-", 2)[2].removesuffix(".json") for name in sorted(os.listdir(self.home.queue))]

    def jobs(self) -> list[Job]:
        return [queue.read_job(os.path.join(self.home.queue, name)) for name in sorted(os.listdir(self.home.queue))]

    def left(self) -> list[str]:
        return sorted(name for name in os.listdir(self.inbox) if name != "rejected")

    def rejected(self) -> list[str]:
        return sorted(name for name in os.listdir(self.home.rejected) if not name.endswith(".reason.json"))

    def reason(self, name: str) -> dict[str, Any]:
        return dict(json.loads(Path(self.home.rejected, name + ".reason.json").read_text()))

    def rename(self, name: str, text: str | bytes) -> None:
        """Drop by rename."""
        data = text.encode() if isinstance(text, str) else text
        Path(self.home.tmp, "drop").write_bytes(data)
        os.rename(os.path.join(self.home.tmp, "drop"), self.inbox / name)

    def pretend_moved(self, name: str) -> None:
        """Make sure that the file looks moved here, however coarse the clock of the file system is."""
        status = os.stat(self.inbox / name)
        os.utime(self.inbox / name, ns=(status.st_mtime_ns, status.st_mtime_ns - 1_000_000_000))


@pytest.fixture
def porch(home: Layout) -> Iterator[Porch]:
    old = signal.signal(signal.SIGIO, signal.SIG_IGN)
    Path(home.templates, "report.yaml").write_text(TEMPLATE)
    porch = Porch(home)
    yield porch
    porch.place.close()
    signal.signal(signal.SIGIO, old)


# --- ways to drop ---------------------------------------------------------------------------------------------------


def test_a_json_file_renamed_into_the_inbox_is_accepted_at_once(porch: Porch) -> None:
    porch.rename(
        "a.json", '{"template": "report", "params": {"n": 3}, "priority": 5, "labels": {"x": "y"}, "user": "ada"}'
    )
    porch.look()
    (job,) = porch.jobs()
    assert (job.template, job.params, job.priority, job.labels) == ("report", {"n": 3, "text": ""}, 5, {"x": "y"})
    assert (job.user, job.trigger, job.source) == ("ada", "inbox", "a.json")
    assert job.id.startswith("user-ada-")
    assert porch.left() == []


def test_a_yaml_file_moved_into_the_inbox_is_accepted_at_once(porch: Porch) -> None:
    porch.rename("a.yaml", "template: report\nparams: {n: 3}\n")
    porch.pretend_moved("a.yaml")
    porch.look()
    assert len(porch.jobs()) == 1


def test_a_copied_file_is_accepted_when_its_writer_is_done(porch: Porch) -> None:
    for name, text in (("a.json", '{"template": "report"}'), ("b.yaml", "template: report\n")):
        (porch.inbox / name).write_text(text)
    assert len(porch.take()) == 2


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.jsonl"])
def test_a_slow_writer_is_waited_for(porch: Porch, name: str) -> None:
    """One byte in 100 ms, with the file open all the time: longer than any patience of the intake."""
    text = '{"template": "report", "params": {"n": 42}}\n'
    with open(porch.inbox / name, "wb", buffering=0) as file:
        for byte in text.encode():
            file.write(bytes([byte]))
            porch.look()
            porch.wait(0.1)
            assert not porch.queued()
            assert not porch.rejected()
    assert len(porch.take()) == 1
    assert porch.jobs()[0].params["n"] == 42


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"template": "report", "params": {"n": 42}}'),
        ("a.yaml", "template: report\npriority: 3\nparams:\n  text: abc\n  n: 42\n"),
        ("a.jsonl", '{"template": "report", "params": {"n": 42}}\n'),
    ],
)
def test_a_file_that_is_opened_anew_for_each_append_is_one_job(porch: Porch, name: str, text: str) -> None:
    """Nobody has it open in between, and its first half may be a job, too."""
    for letter in text:
        with open(porch.inbox / name, "a") as file:
            file.write(letter)
        porch.look()
        porch.wait(0.1)
        assert not porch.queued()
    assert len(porch.take()) == 1
    assert porch.jobs()[0].params["n"] == 42
    assert porch.rejected() == []


def test_a_pause_of_a_writer_that_is_shorter_than_the_patience_does_no_harm(porch: Porch) -> None:
    for part in ('{"template": ', '"report"', "}"):
        with open(porch.inbox / "a.json", "a") as file:
            file.write(part)
        porch.look()
        porch.wait(REJECT_AFTER * 0.8)
    assert len(porch.take()) == 1


@pytest.mark.parametrize(
    "name", [".a.json", "a.json.tmp", "a.json.part", "a.json~", ".a.json.swp", "a.json.crdownload"]
)
def test_work_in_progress_is_left_alone_until_it_has_its_name(porch: Porch, name: str) -> None:
    (porch.inbox / name).write_text('{"template": "report"}')
    assert porch.take() == []
    assert porch.left() == [name]
    os.rename(porch.inbox / name, porch.inbox / "a.json")
    assert len(porch.take()) == 1


def test_a_folder_in_the_inbox_is_left_alone(porch: Porch) -> None:
    (porch.inbox / "folder.json").mkdir()
    assert porch.take() == []
    assert porch.left() == ["folder.json"]


def test_ten_thousand_files_at_once_become_ten_thousand_jobs(porch: Porch) -> None:
    for number in range(10_000):
        with open(porch.inbox / f"{number:05}.json", "w") as file:
            file.write(json.dumps({"template": "report", "params": {"n": number}}))
    porch.look()
    assert len(set(porch.queued())) == 10_000
    assert [job.params["n"] for job in porch.accepted] == list(range(10_000))
    assert porch.left() == []


def test_a_file_of_many_lines_is_many_jobs(porch: Porch) -> None:
    lines = [json.dumps({"template": "report", "params": {"n": n}}) for n in range(1_000)]
    porch.rename("many.jsonl", "\n".join(lines) + "\n\n")
    assert len(porch.take()) == 1_000
    assert sorted(job.params["n"] for job in porch.jobs()) == list(range(1_000))
    assert [job.params["n"] for job in porch.accepted] == list(range(1_000))


def test_bad_lines_are_put_aside_and_the_good_ones_accepted(porch: Porch) -> None:
    porch.rename(
        "many.jsonl",
        '{"template": "report"}\nnonsense\n{"template": "reprot"}\n{"template": "report", "params": {"n": "x"}}\n'
        '{"template": "report", "params": {"n": 7}}',
    )
    assert len(porch.take()) == 2
    assert porch.left() == []
    assert porch.rejected() == ["many.jsonl"]
    assert Path(porch.home.rejected, "many.jsonl").read_text() == (
        'nonsense\n{"template": "reprot"}\n{"template": "report", "params": {"n": "x"}}\n'
    )
    reason = porch.reason("many.jsonl")
    assert [line["line"] for line in reason["lines"]] == [2, 3, 4]
    assert "report" in json.dumps(reason["lines"][1])
    assert "n" in reason["lines"][2]["reason"]


# --- the same thing twice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["queued", "finished"])
def test_a_key_names_one_workflow_also_after_it_has_finished(porch: Porch, state: str) -> None:
    porch.slots = 2 if state == "finished" else 0
    porch.restart()
    porch.rename("a.json", '{"template": "report", "key": "nightly-42"}')
    (first,) = [*porch.take(), *porch.world.processes][:1]
    for process in porch.world.running():
        porch.engine.executor.end(process.attempt.key)
    porch.settle()
    porch.rename("b.json", '{"template": "report", "key": "nightly-42", "params": {"n": 9}}')
    porch.take()
    assert os.listdir(porch.home.workflows) == [first.split("/")[0]]
    assert porch.left() == porch.rejected() == []
    assert first.startswith("user-anonymous-key-")


def test_keys_of_two_users_or_templates_are_two(porch: Porch) -> None:
    Path(porch.home.templates, "other.yaml").write_text(TEMPLATE)
    for number, job in enumerate(
        (
            {"template": "report", "key": "k"}, {"template": "report", "key": "k", "user": "ada"},
            {"template": "other", "key": "k"},
        )
    ):  # fmt: skip
        porch.rename(f"{number}.json", json.dumps(job))
    assert len(porch.take()) == 3


def test_a_key_twice_in_one_file_is_one_job(porch: Porch) -> None:
    porch.rename("a.jsonl", '{"template": "report", "key": "k"}\n' * 3)
    assert len(porch.take()) == 1
    assert porch.rejected() == []


def test_the_same_file_dropped_twice_runs_once_and_the_second_is_told_of_the_first(porch: Porch) -> None:
    porch.rename("a.json", '{"template": "report"}')
    (first,) = porch.take()
    porch.rename("a.json", '{"template": "report"}')
    assert porch.take() == [first]
    assert porch.rejected() == ["a.json"]
    reason = porch.reason("a.json")
    assert reason["code"] == "duplicate"
    assert first in reason["reason"]


def test_two_files_of_the_same_content_are_two_jobs(porch: Porch) -> None:
    porch.rename("a.json", '{"template": "report"}')
    porch.rename("b.json", '{"template": "report"}')
    assert len(porch.take()) == 2


def test_a_name_that_comes_again_with_another_content_is_another_job(porch: Porch) -> None:
    porch.rename("a.json", '{"template": "report"}')
    porch.take()
    porch.rename("a.json", '{"template": "report", "params": {"n": 1}}')
    assert len(porch.take()) == 2


# --- crashes --------------------------------------------------------------------------------------------------------


def test_a_crash_between_acceptance_and_removal_finds_the_first_ones_jobs(porch: Porch) -> None:
    names = {
        "a.json": '{"template": "report"}',
        "b.yaml": "template: report\n",
        "c.jsonl": '{"template": "report"}\n' * 3,
    }
    for name, text in names.items():
        porch.rename(name, text)
    porch.file_inbox.remove = lambda found: True  # type: ignore[method-assign]
    porch.look()
    porch.wait(SETTLE)
    before = sorted(porch.queued())
    assert (len(before), len(porch.left())) == (5, 3)
    porch.restart()
    assert porch.take() == before
    assert porch.left() == porch.rejected() == []


def test_a_crash_right_after_the_commit_leaves_one_job_of_the_second_reading(porch: Porch) -> None:
    porch.rename("a.json", '{"template": "report"}')
    porch.intake.look()
    porch.engine.settle()
    assert len(porch.accepted) == 1
    assert (porch.queued(), porch.left()) == ([], ["a.json"]), "what follows is not there yet"
    porch.restart()
    assert porch.take() == [porch.accepted[0].id]
    assert os.listdir(porch.home.workflows) == porch.queued()
    assert porch.left() == []


@pytest.mark.parametrize("what", ["commit", "places"])
def test_a_full_disk_keeps_jobs_in_the_inbox_until_there_is_room(
    porch: Porch, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, make_folder = [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))] * 3, atomic.make_folder

    def full(path: str) -> bool:
        if failures and porch.home.workflows in path:
            raise failures.pop()
        return make_folder(path)

    for number in range(3):
        porch.rename(f"{number}.json", '{"template": "report"}')
    if what == "commit":
        porch.place.fail(3, monkeypatch)
    else:
        monkeypatch.setattr(atomic, "make_folder", full)
    porch.intake.look()
    porch.engine.settle()
    porch.place.log.write_behind(60.0)
    assert porch.queued() == []
    assert len(porch.left()) == 3
    porch.place.behind._failing_until = 0.0  # half a second later
    failures.clear()
    assert len(porch.take()) == 3
    assert porch.left() == porch.rejected() == []


def test_bad_lines_are_kept_until_they_can_be_put_aside(porch: Porch) -> None:
    porch.rename("a.jsonl", '{"template": "report"}\nnonsense\n')
    os.rmdir(porch.home.rejected)
    Path(porch.home.rejected).write_text("in the way")
    porch.look()
    porch.wait(5)
    assert len(porch.queued()) == 1
    assert porch.left() == ["a.jsonl"]
    os.unlink(porch.home.rejected)
    os.mkdir(porch.home.rejected)
    assert len(porch.take()) == 1
    assert porch.rejected() == ["a.jsonl"]
    assert porch.left() == []


# --- bad files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.json", b"", None),
        ("a.yaml", b"", None),
        ("a.json", b"{", None),
        ("a.json", b"\0\1\2\xff\xfe" * 50, None),
        ("a.yaml", b"\0\1\2\xff\xfe" * 50, None),
        ("a.json", b"[" * 100_000, None),
        ("a.yaml", b"a: " * 10 + b"[" * 5_000, None),
        ("a.json", b'{"template": "report", "template": "report"}', None),
        ("a.yaml", b"template: report\ntemplate: report\n", None),
        ("a.json", b'{"template": "report", "params": {"n": NaN}}', None),
        ("a.json", b'{"template": "report", "params": {"text": "\\ud800"}}', None),
        ("a.yaml", BOMB, None),
        ("a.yaml", b"a: &a [*a]\n", None),
        ("a.json", b"[]", "wrong_type"),
        ("a.json", b'"report"', "wrong_type"),
        ("a.json", b"{}", "missing"),
        ("a.json", b'{"template": "reprot"}', "unknown_template"),
        ("a.json", b'{"template": "../report"}', None),
        ("a.json", b'{"template": "report", "params": {"m": 1}}', "unknown_param"),
        ("a.json", b'{"template": "report", "params": {"n": "x"}}', None),
        ("a.json", b'{"template": "report", "id": "../../x"}', None),
        ("a.json", b'{"template": "report", "user": "../x"}', None),
        ("a.json", b'{"template": "report", "priority": 10}', None),
        ("a.json", b'{"template": "report", "delay": "soon"}', None),
        ("a.json", b'{"template": "report", "delay": "1s", "at": "2030-01-01T00:00:00Z"}', "conflict"),
        ("a.json", b'{"template": "report", "format": 99}', "newer_format"),
        ("a.txt", b'{"template": "report"}', "unknown_suffix"),
        ("a", b'{"template": "report"}', "unknown_suffix"),
        ("a.jsonl", b"nonsense\n", "bad_lines"),
    ],
)  # fmt: skip
def test_what_cannot_be_accepted_lies_in_rejected_with_its_reason(
    porch: Porch, name: str, content: bytes, code: str | None
) -> None:
    porch.rename(name, content)
    porch.rename("good.json", '{"template": "report"}')
    assert len(porch.take()) == 1
    assert porch.rejected() == [name]
    assert porch.left() == []
    aside = Path(porch.home.rejected, name).read_bytes()
    assert aside == content
    reason = porch.reason(name)
    assert reason["file"] == name
    assert reason["reason"]
    if code is not None:
        assert reason["code"] == code


def test_a_wrong_name_is_told_with_its_place_and_the_nearest_right_one(porch: Porch) -> None:
    porch.rename("a.yaml", "template: report\nparams:\n  n: 1\n  txet: x\n")
    porch.take()
    reason = porch.reason("a.yaml")
    assert (reason["line"], reason["column"]) == (4, 3)
    assert "text" in reason["hint"]


@pytest.mark.parametrize("name", ["huge.json", "huge.yaml", "huge.jsonl"])
def test_a_sparse_file_of_a_hundred_gigabytes_is_not_read(porch: Porch, name: str) -> None:
    with open(porch.inbox / name, "wb") as file:
        file.truncate(100 * 1024**3)
    porch.rename("good.json", '{"template": "report"}')
    assert len(porch.take()) == 1
    assert porch.rejected() == [name]
    assert Path(porch.home.rejected, name).stat().st_size == 100 * 1024**3
    os.unlink(os.path.join(porch.home.rejected, name))


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "hard link", "socket", "link to itself"])
def test_what_is_no_plain_file_is_never_followed_and_holds_nobody_up(porch: Porch, tmp_path: Path, kind: str) -> None:
    secret, path = tmp_path / "secret.json", porch.inbox / "a.json"
    secret.write_text('{"template": "report"}')
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "link to itself":
        path.symlink_to(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "hard link":
        os.link(secret, path)
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    porch.rename("good.json", '{"template": "report"}')
    assert len(porch.take()) == 1
    assert porch.rejected() == ["a.json"]
    assert porch.left() == []
    assert secret.read_text() == '{"template": "report"}'


def test_a_file_that_vanishes_is_forgotten(porch: Porch) -> None:
    porch.rename("a.json", '{"template": "report"')
    porch.look()
    os.unlink(porch.inbox / "a.json")
    assert porch.take() == []
    assert porch.rejected() == []


@pytest.mark.parametrize(
    "name",
    [
        "..json", "..x.json", "a\nb.json", "a\x1b[31m.json", "-rf.json", "ü.json", "a b.json", "x" * 250 + ".json",
        b"\xff\xfe.json", "$(id).json",
    ],
)  # fmt: skip
def test_a_strange_name_is_only_a_name(porch: Porch, name: str | bytes) -> None:
    path = os.path.join(os.fsencode(porch.inbox), os.fsencode(name))
    with open(path, "wb") as file:
        file.write(b'{"template": "report"}')
    hidden = os.path.basename(path).startswith(b".")
    assert len(porch.take()) == (0 if hidden else 1)
    assert bool(porch.left()) == hidden
    with open(path, "wb") as file:
        file.write(b"nonsense")
    porch.take()
    assert len(porch.rejected()) == (0 if hidden else 1)
    if hidden:
        os.unlink(path)


def test_bad_files_of_one_name_do_not_overwrite_each_other(porch: Porch) -> None:
    for number in range(3):
        porch.rename("a.json", f"nonsense {number}")
        porch.take()
    assert porch.rejected() == ["a.2.json", "a.3.json", "a.json"]
    assert Path(porch.home.rejected, "a.3.json").read_text() == "nonsense 2"


def test_a_broken_edit_of_a_template_leaves_the_last_good_version_in_use(porch: Porch) -> None:
    path = Path(porch.home.templates, "report.yaml")
    porch.rename("a.json", '{"template": "report"}')
    porch.take()
    path.write_text("steps: [nonsense")
    for number, restart in enumerate((False, True)):
        if restart:
            porch.restart()
        porch.rename(f"b{number}.json", '{"template": "report"}')
        porch.take()
    assert len({job.version for job in porch.jobs()}) == 1
    path.write_text(TEMPLATE.replace("true", "false"))
    porch.rename("c.json", '{"template": "report"}')
    porch.take()
    assert len(porch.jobs()) == 4
    assert len({job.version for job in porch.jobs()}) == 2


def test_a_template_edited_between_two_jobs_is_seen_without_a_restart(porch: Porch) -> None:
    porch.rename("a.json", '{"template": "report"}')
    porch.take()
    Path(porch.home.templates, "report.yaml").write_text(TEMPLATE + "  two: {run: 'true'}\n")
    porch.rename("b.json", '{"template": "report"}')
    porch.take()
    assert sorted(job.steps for job in porch.jobs()) == [["one"], ["one", "two"]]


# --- signals --------------------------------------------------------------------------------------------------------


def test_a_signal_with_a_bell_is_acted_on_and_tidied_up(porch: Porch) -> None:
    porch.rename("a.json", '{"template": "report"}')
    (workflow,) = porch.take()
    dropbox.send_signal(porch.home, workflow, "cancel", {"by": "ada", "reason": "no need"})
    assert porch.left() == [f".signal-{workflow}"]
    porch.look()
    porch.settle()
    assert porch.queued() == []
    assert porch.left() == []
    assert not os.path.exists(porch.home.signals(workflow))
    journal = Path(porch.home.journal(workflow)).read_text()
    assert '"by":"ada","reason":"no need"' in journal


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
    assert porch.left() == []


def test_a_retry_is_done_of_the_steps_that_it_names_and_not_when_they_cannot_be_ones(porch: Porch) -> None:
    porch.slots = 1
    porch.restart()
    porch.rename("a.json", '{"template": "report"}')
    (workflow,) = porch.take()
    (process,) = porch.world.running()
    porch.engine.executor.end(process.attempt.key)
    porch.settle()
    folder = Path(porch.home.signals(workflow))
    folder.mkdir()
    (folder / "retry.1").write_text('{"step": ["one"]}')
    dropbox.ring(porch.home, workflow)
    porch.look()
    porch.settle()
    assert (porch.world.running(), os.listdir(folder)) == ([], ["retry.1"])
    (folder / "retry.1").write_text('{"step": "one"}')
    dropbox.ring(porch.home, workflow)
    porch.look()
    porch.settle()
    assert [found.attempt.key for found in porch.world.running()] == [f"{workflow}/one/2"]


def test_a_signal_dropped_by_hand_is_found_without_a_bell(porch: Porch) -> None:
    porch.slots = 1
    porch.restart()
    porch.rename("a.json", '{"template": "report"}')
    porch.take()
    (process,) = porch.world.running()
    folder = Path(porch.home.signals(process.attempt.workflow))
    folder.mkdir()
    (folder / "cancel").touch()
    porch.intake.read_lost_signals()
    porch.settle()
    assert process.cancelled


@pytest.mark.parametrize(
    "content", ["", "{}", "nonsense", "[1]", '{"by": 5, "reason": {"x": 1}}', '{"by": "' + "x" * 100_000 + '"}']
)
def test_what_a_signal_says_beside_its_name_cannot_hurt(porch: Porch, content: str) -> None:
    porch.rename("a.json", '{"template": "report"}')
    (workflow,) = porch.take()
    os.mkdir(porch.home.signals(workflow))
    Path(porch.home.signals(workflow), "cancel").write_text(content)
    dropbox.ring(porch.home, workflow)
    porch.look()
    porch.settle()
    assert porch.queued() == []


@pytest.mark.parametrize("name", ["teleport", "cancel.part", "CANCEL", "pause~", ".cancel"])
def test_what_is_no_signal_changes_nothing(porch: Porch, name: str) -> None:
    porch.rename("a.json", '{"template": "report"}')
    (workflow,) = porch.take()
    os.mkdir(porch.home.signals(workflow))
    Path(porch.home.signals(workflow), name).touch()
    dropbox.ring(porch.home, workflow)
    for _ in range(3):
        porch.look()
        porch.settle()
    assert porch.queued() == [workflow]


@pytest.mark.parametrize("name", [".signal-nobody", ".signal-..", ".signal-", ".signal-a b"])
def test_a_bell_for_nobody_is_harmless(porch: Porch, name: str) -> None:
    (porch.inbox / name).touch()
    porch.rename("a.json", '{"template": "report"}')
    assert len(porch.take()) == 1
