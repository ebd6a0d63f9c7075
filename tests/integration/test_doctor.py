"""The doctor: what it finds in homes that are broken in every known way, and that its repairs lose nothing."""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from homes import (
    COMPLETED,
    FAILED,
    STARTED,
    VERSION,
    a_home,
    a_home_of_format_1,
    a_workflow,
    a_workflow_of_format_1,
    at,
    commit,
    everything,
    freeze,
    log_is_at_rest,
)

from hybrid_engine.files import doctor, doctor_home, findings, journal, lock, queue, queueview, records, trash
from hybrid_engine.files.doctor import examine, recover_index
from hybrid_engine.files.findings import Finding
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import frames
from hybrid_engine.model import events as e
from hybrid_engine.sql.index import Index, open_index


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = a_home(tmp_path)
    os.unlink(layout.frozen_name("report"))
    os.unlink(layout.frozen_template(VERSION))
    return layout


@pytest.fixture(autouse=True)
def definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' definitions are not named by their content."""
    monkeypatch.setattr(doctor_home, "version_of", lambda data: json.loads(data).get("version", VERSION))


@pytest.fixture
def engine(layout: Layout) -> Any:
    """Somebody who holds the lock."""
    held = lock.EngineLock(layout)
    held.acquire({"pid": 1, "host": "here", "started_at": at(0)})
    yield held
    held.release()


def look(layout: Layout, repair: bool = False) -> list[Finding]:
    return examine(layout, repair=repair, open_index=lambda write: open_index(layout.index, write=write))


def sound(layout: Layout) -> None:
    """Bring views and index up to date, as a daemon that has been stopped leaves them."""
    with Index(layout.index) as index:
        index.rebuild(records.Records(layout))
    queueview.bring_up_to_date(layout, at(0), {})


def troubles(found: list[Finding]) -> dict[str, Finding]:
    """What is not in order, by code."""
    return {finding.code: finding for finding in found if finding.severity != "ok"}


def finished(layout: Layout, name: str = "a", *events: e.Event, **more: Any) -> None:
    freeze(layout, VERSION)
    a_workflow(layout, name, *(events or COMPLETED), **more)


# --- nothing to find


def test_a_sound_home_is_sound(layout: Layout) -> None:
    finished(layout)
    a_workflow(layout, "b", *STARTED)
    a_workflow(layout, "c")
    sound(layout)
    before = everything(layout)
    found = look(layout)
    assert troubles(found) == {}
    assert {"format", "rights", "space", "engine", "queue_view", "index", "workflows"} <= {f.code for f in found}
    assert everything(layout) == before


def test_repairing_a_sound_home_changes_nothing(layout: Layout) -> None:
    finished(layout)
    a_workflow(layout, "b", *STARTED)
    sound(layout)
    before = everything(layout)
    assert troubles(look(layout, repair=True)) == {}
    assert everything(layout) == before


def test_a_home_of_format_1_is_sound_and_stays_what_it_is(layout: Layout) -> None:
    freeze(layout, VERSION)
    a_home_of_format_1(layout)
    a_workflow_of_format_1(layout, "done", *COMPLETED)
    a_workflow_of_format_1(layout, "begun", *STARTED)
    a_workflow_of_format_1(layout, "waiting")
    sound(layout)
    before = everything(layout)
    assert troubles(look(layout)) == {}
    assert troubles(look(layout, repair=True)) == {}
    assert everything(layout) == before


def test_a_finding_is_told_as_json(layout: Layout) -> None:
    assert json.loads(json.dumps([finding.as_dict() for finding in look(layout)]))[0]["severity"] == "ok"


# --- the home


def test_what_is_no_home_is_not_examined_further(tmp_path: Path) -> None:
    found = examine(Layout(str(tmp_path / "nothing")), repair=True)
    assert [finding.code for finding in found] == ["no_home"]
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(("said", "code"), [("3\n", "newer_format"), ("one", "bad_format"), ("", "bad_format")])
def test_a_newer_or_unknown_format_is_left_alone(layout: Layout, said: str, code: str) -> None:
    finished(layout)
    os.unlink(layout.state("a"))
    Path(layout.format).write_text(said)
    found = look(layout, repair=True)
    assert [finding.code for finding in found] == [code]
    assert not os.path.exists(layout.state("a"))


def test_rights_of_others_are_taken_back(layout: Layout) -> None:
    finished(layout)
    sound(layout)
    for path, mode in (
        (layout.queue, 0o770),
        (layout.home, 0o777),
        (layout.logs, 0o755),
        (layout.workflow("a"), 0o707),
    ):
        os.chmod(path, mode)
    codes = Counter(finding.code for finding in look(layout) if finding.severity != "ok")
    assert codes == {"open_to_others": 3, "readable": 1}
    assert all(finding.repaired for finding in look(layout, repair=True) if finding.severity != "ok")
    assert troubles(look(layout)) == {}
    assert os.stat(layout.home).st_mode & 0o777 == 0o755
    assert os.stat(layout.queue).st_mode & 0o777 == 0o700


def test_somebody_elses_home_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert troubles(look(layout))["foreign"].severity == "error"


def test_missing_folders_are_made(layout: Layout) -> None:
    sound(layout)
    os.rmdir(layout.rejected)
    os.rmdir(layout.workers)
    assert troubles(look(layout))["missing_folder"].path in (layout.rejected, layout.workers)
    look(layout, repair=True)
    assert os.path.isdir(layout.rejected) and os.path.isdir(layout.workers)


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "nfs4", "fuse.sshfs", "9p"])
def test_an_unwise_file_system_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(doctor_home.home, "file_system", lambda path: kind)
    assert troubles(look(layout))["file_system"].severity == "warning"


@pytest.mark.parametrize(
    ("free", "inodes", "severity"),
    [(50, 10**6, "warning"), (5, 10**6, "error"), (10**6, 1000, "warning"), (10**6, 9, "error")],
)
def test_little_space_is_told(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, free: int, inodes: int, severity: str
) -> None:
    figures = os.statvfs_result((4096, 1_000_000, 10**9, 10**9, free, 10**7, 10**7, inodes, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: figures)
    assert troubles(look(layout))["space"].severity == severity


def test_a_read_only_home_is_examined_and_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = os.statvfs_result((4096, 4096, 10**6, 10**6, 10**6, 10**7, 10**7, 10**6, os.ST_RDONLY, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: figures)
    assert troubles(look(layout))["read_only"].severity == "error"


def test_an_engine_that_was_killed_is_told_by_its_lock(layout: Layout) -> None:
    Path(layout.lock).write_text('{"pid": 4711}')
    assert "4711" in troubles(look(layout))["engine"].message


def test_looking_at_a_home_that_never_ran_makes_no_lock(layout: Layout) -> None:
    look(layout)
    assert not os.path.exists(layout.lock)


def test_what_a_killed_engine_left_in_the_log_is_told_and_not_mistaken_for_damage(layout: Layout) -> None:
    """Looking changes nothing; a repair does first what the next engine would do."""
    finished(layout, "begun")
    sound(layout)
    job = a_workflow(layout, "short", *STARTED)
    whole = Path(layout.journal("short")).read_bytes()
    commit(layout, "short", *COMPLETED, after=3)
    Path(layout.journal("short")).write_bytes(whole + b'{"n":4,"at"')
    a_workflow(layout, "nameless", *STARTED, queued=False)
    commit(layout, "nameless", *STARTED)
    accepted = commit(layout, "accepted")
    queueview.bring_up_to_date(layout, at(0), {})
    before = everything(layout)
    found = troubles(look(layout))
    assert list(found) == ["log"] and "3 workflows" in found["log"].message and found["log"].severity == "info"
    assert everything(layout) == before
    assert {"log", "torn_tail", "not_in_queue"}.isdisjoint(troubles(look(layout, repair=True)))
    assert log_is_at_rest(layout)
    assert records.final_status(layout, "short") == "completed"
    assert records.queued_ids(layout).keys() == {"nameless", "accepted"}
    assert queue.read_job(layout.journal("accepted")).as_record() == accepted.as_record()
    assert queue.name_of(job) not in os.listdir(layout.queue)
    assert troubles(look(layout)) == {}


def test_damage_in_the_log_is_told_and_a_copy_of_it_is_kept(layout: Layout) -> None:
    freeze(layout, VERSION)
    for name in ("a", "b"):
        commit(layout, name)
    first, second = (Path(layout.log, name) for name in sorted(os.listdir(layout.log)))
    frame = frames.scan(second.read_bytes()).frames[1]
    first.write_bytes(first.read_bytes().replace(b"report", b"rePort") + second.read_bytes()[frame.start :])
    second.unlink()
    assert {finding.severity for finding in look(layout) if finding.code == "log"} == {"warning", "info"}
    look(layout, repair=True)
    assert any(b"rePort" in path.read_bytes() for path in Path(layout.quarantine).glob("log-*"))
    assert set(records.queued_ids(layout)) == {"b"}
    assert "log" in troubles(look(layout))["quarantine"].message


def test_a_log_that_cannot_be_emptied_is_told_and_nothing_is_made_of_its_workflows(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(layout, "a", *STARTED)
    sound(layout)
    commit(layout, "a", *STARTED)
    with open(layout.journal("a"), "ab") as file:
        file.write(b'{"n":4')
    before = everything(layout)

    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(doctor, "replay", fail)
    found = troubles(look(layout, repair=True))
    assert list(found) == ["log"] and found["log"].severity == "error"
    assert everything(layout) == before


def test_temporary_files_go_when_they_are_old_or_nobody_can_write_them(layout: Layout) -> None:
    finished(layout)
    sound(layout)
    young, old = Path(layout.tmp, "123-x.json"), Path(layout.state("a") + ".tmp")
    young.touch()
    old.touch()
    os.utime(old, (1, 1))
    assert {finding.path for finding in look(layout) if finding.code == "leftover"} == {str(old)}
    look(layout, repair=True)
    assert not young.exists() and not old.exists()


def test_trash_is_emptied(layout: Layout) -> None:
    finished(layout)
    sound(layout)
    trash.throw(layout, "a")
    assert troubles(look(layout))["trash"].repaired is False
    assert troubles(look(layout, repair=True))["trash"].repaired
    assert troubles(look(layout)) == {}
    with Index(layout.index) as index:
        assert index.get("a") is None


def test_leases_of_workers_that_are_gone_are_removed_and_held_ones_stay(layout: Layout) -> None:
    sound(layout)
    for name in ("1-1", "1-1.stdout", "2-1", "2-1.stderr", "3-1.stdout"):
        Path(layout.workers, name).touch()
    held = os.open(os.path.join(layout.workers, "2-1"), os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    look(layout, repair=True)
    os.close(held)
    assert sorted(os.listdir(layout.workers)) == ["2-1", "2-1.stderr"]


def test_the_inbox_and_what_was_rejected_are_counted(layout: Layout) -> None:
    sound(layout)
    Path(layout.inbox, "new.yaml").touch()
    Path(layout.inbox, ".signal-w").touch()
    Path(layout.rejected, "bad.yaml").touch()
    Path(layout.rejected, "bad.yaml.reason.json").touch()
    found = troubles(look(layout, repair=True))
    assert found["inbox"].message.startswith("1 ") and found["rejected"].message.startswith("1 ")
    assert os.path.exists(os.path.join(layout.inbox, "new.yaml"))


def test_templates_pointers_and_definitions_are_checked(layout: Layout) -> None:
    sound(layout)
    Path(layout.templates, "broken.yaml").write_text("steps: {a: {rum: echo}}\n")
    Path(layout.templates, "good.yaml").write_text("steps: {a: {run: echo}}\n")
    Path(layout.templates, "bad name.yaml").write_text("steps: {a: {run: echo}}\n")
    Path(layout.frozen_name("broken")).write_text('{"version": "gone"}')
    Path(layout.frozen_template("v7")).write_text('{"version": "v8"}')
    found = look(layout, repair=True)
    told = [finding for finding in found if finding.code == "template"]
    assert len(told) == 2 and any("did you mean" in f.message or "rum" in f.message for f in told)
    assert troubles(found)["pointer"].repaired and not os.path.exists(layout.frozen_name("broken"))
    assert "changed" in troubles(found)["definition"].message and os.path.exists(layout.frozen_template("v7"))


# --- workflows


def damage(layout: Layout, workflow: str, position: int) -> bytes:
    path = Path(layout.journal(workflow))
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))
    return bytes(data)


def test_a_torn_tail_is_cut_and_kept(layout: Layout) -> None:
    finished(layout, "a", *STARTED)
    sound(layout)
    whole = Path(layout.journal("a")).read_bytes()
    Path(layout.journal("a")).write_bytes(whole + b'{"n":4,"at"')
    assert not troubles(look(layout))["torn_tail"].repaired
    assert Path(layout.journal("a")).read_bytes() != whole
    assert troubles(look(layout, repair=True))["torn_tail"].repaired
    assert Path(layout.journal("a")).read_bytes() == whole
    assert Path(layout.workflow("a"), "journal.torn-1").read_bytes() == b'{"n":4,"at"'
    assert troubles(look(layout)) == {}


def test_damage_in_the_middle_is_put_aside_unchanged_with_its_reason(layout: Layout) -> None:
    finished(layout, "a", *STARTED)
    sound(layout)
    data = damage(layout, "a", 30)
    assert troubles(look(layout))["damaged_journal"].severity == "error"
    assert Path(layout.journal("a")).read_bytes() == data
    assert troubles(look(layout, repair=True))["damaged_journal"].repaired
    aside = Path(layout.quarantine, "a")
    assert (aside / "journal.jsonl").read_bytes() == data and (aside / "queued.json").exists()
    assert json.loads((aside / "reason.json").read_text())["workflow"] == "a"
    assert os.listdir(layout.queue) == [] and not os.path.exists(layout.workflow("a"))
    assert list(troubles(look(layout))) == ["quarantine"]


def test_a_damaged_first_line_puts_the_workflow_aside_and_its_name_in_the_queue_with_it(layout: Layout) -> None:
    """The name is one of the journal, so it cannot be read either; it is no trouble of its own."""
    finished(layout, "a", *STARTED)
    sound(layout)
    damage(layout, "a", 30)
    assert [finding.code for finding in look(layout) if finding.severity != "ok"] == ["damaged_journal"]
    look(layout, repair=True)
    assert os.listdir(layout.quarantine) == ["a"] and os.listdir(layout.queue) == []


def test_killed_while_putting_a_workflow_aside_no_engine_begins_it_anew(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every call: the queue never names a workflow whose folder is not there."""

    class KilledError(BaseException):
        pass

    finished(layout, "a", *STARTED)
    sound(layout)
    data = damage(layout, "a", 30)
    calls, done = 0, False
    while not done:
        calls += 1
        left = calls
        with monkeypatch.context() as patch:

            def counted(call: Any) -> Any:
                def change(*args: Any, **more: Any) -> Any:
                    nonlocal left
                    left -= 1
                    if left <= 0:
                        raise KilledError
                    return call(*args, **more)

                return change

            for name in ("replace", "fsync"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                done = troubles(look(layout, repair=True)).get("damaged_journal") is None
            except KilledError:
                pass
        for name in os.listdir(layout.queue):
            assert os.path.exists(layout.workflow(name.split("-")[2].removesuffix(".json")))
        assert calls < 50
    assert Path(layout.quarantine, "a", "journal.jsonl").read_bytes() == data
    assert os.path.exists(os.path.join(layout.quarantine, "a", "queued.json"))


def test_a_second_quarantine_of_one_id_keeps_the_first(layout: Layout) -> None:
    for _ in range(2):
        finished(layout)
        damage(layout, "a", 30)
        look(layout, repair=True)
    assert sorted(os.listdir(layout.quarantine)) == ["a", "a.2"]


def test_a_story_that_cannot_be_is_put_aside(layout: Layout) -> None:
    finished(layout)
    path = Path(layout.journal("a"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + journal.encode(2, at(0), [e.WorkflowCompleted()]))
    assert troubles(look(layout, repair=True))["impossible_story"].repaired
    assert os.listdir(layout.quarantine) == ["a"]


def test_the_journal_of_another_workflow_is_put_aside(layout: Layout) -> None:
    finished(layout)
    os.rename(layout.workflow("a"), layout.workflow("b"))
    assert "impossible_story" in troubles(look(layout))


def test_events_of_a_newer_version_are_told_and_left_alone(layout: Layout) -> None:
    class Unheard(e.Event):
        TYPE = "step_teleported"

    finished(layout)
    e.EVENT_TYPES[Unheard.TYPE] = Unheard
    try:
        line = b'{"n":6,"at":"x","type":"step_teleported"'
        from zlib import crc32

        line += b',"crc":"%08x"}\n' % crc32(line + b"}", journal.SEED)
    finally:
        del e.EVENT_TYPES[Unheard.TYPE]
    with open(layout.journal("a"), "ab") as file:
        file.write(line)
    before = everything(layout)
    assert troubles(look(layout))["newer_events"].severity == "error"
    look(layout, repair=True)
    after = everything(layout)
    assert {name: data for name, data in after.items() if name.startswith("workflows")} == {
        name: data for name, data in before.items() if name.startswith("workflows")
    }


@pytest.mark.parametrize("harm", [None, b"", b"{torn", b'{"seq": 2}'])
def test_a_view_that_is_missing_late_or_unreadable_is_written_again(layout: Layout, harm: bytes | None) -> None:
    finished(layout)
    sound(layout)
    should = Path(layout.state("a")).read_bytes()
    Path(layout.state("a")).unlink() if harm is None else Path(layout.state("a")).write_bytes(harm)
    assert troubles(look(layout))["view"].severity == "warning"
    assert troubles(look(layout, repair=True))["view"].repaired
    assert Path(layout.state("a")).read_bytes() == should


def test_what_is_left_of_an_acceptance_that_was_cut_short_is_put_aside(layout: Layout) -> None:
    finished(layout, "a", *COMPLETED)
    sound(layout)
    a_workflow_of_format_1(layout, "b", queued=False)
    os.mkdir(layout.workflow("c"))
    assert {f.path for f in look(layout) if f.code == "orphan"} == set(), "it may be being accepted just now"
    look(layout, repair=True)
    assert sorted(os.listdir(layout.quarantine)) == ["b", "c"]
    assert os.path.exists(os.path.join(layout.quarantine, "b", "job.json"))


def test_a_job_of_format_1_whose_file_still_lies_in_the_inbox_is_no_orphan(layout: Layout) -> None:
    finished(layout)
    job = a_workflow_of_format_1(layout, "b", queued=False)
    Path(layout.job("b")).write_text(json.dumps({**job.as_record(), "source": "b.yaml"}))
    Path(layout.inbox, "b.yaml").touch()
    look(layout, repair=True)
    assert os.listdir(layout.quarantine) == []


@pytest.mark.parametrize("events", [(), STARTED])
def test_an_unfinished_workflow_that_is_not_in_the_queue_is_put_back(
    layout: Layout, events: tuple[e.Event, ...]
) -> None:
    freeze(layout, VERSION)
    job = a_workflow(layout, "a", *events, queued=False)
    assert troubles(look(layout))["not_in_queue"].severity == "error"
    look(layout, repair=True)
    assert os.listdir(layout.queue) == [queue.name_of(job)]
    assert "not_in_queue" not in troubles(look(layout))


def test_a_finished_workflow_leaves_the_queue(layout: Layout) -> None:
    finished(layout, "a", *FAILED, queued=True)
    os.unlink(layout.state("a"))
    assert troubles(look(layout))["finished_in_queue"].severity == "info"
    look(layout, repair=True)
    assert os.listdir(layout.queue) == [] and os.path.exists(layout.state("a"))


@pytest.mark.parametrize("name", ["nonsense", "9-20261120T080000000000Z-a.json"])
def test_queue_files_that_are_no_jobs_are_put_aside(layout: Layout, name: str) -> None:
    sound(layout)
    Path(layout.queue, name).write_bytes(b"\xffnonsense")
    assert troubles(look(layout))["queue_file"].severity == "error"
    look(layout, repair=True)
    assert os.listdir(layout.queue) == []
    assert Path(layout.quarantine, name, "job.json").read_bytes() == b"\xffnonsense"


def test_a_queue_file_under_a_wrong_name_is_put_aside_and_its_workflow_comes_back(layout: Layout) -> None:
    freeze(layout, VERSION)
    job = a_workflow(layout, "a", *STARTED)
    right = layout.queued(queue.name_of(job))
    os.rename(right, layout.queued(queue.name_of(job).replace("-a.json", "-b.json")))
    look(layout, repair=True)
    assert os.path.exists(right)


def test_a_job_of_a_newer_version_stays(layout: Layout) -> None:
    sound(layout)
    Path(layout.queue, "9-20261120T080000000000Z-a.json").write_text('{"format": 99}')
    look(layout, repair=True)
    assert len(os.listdir(layout.queue)) == 1


def test_a_missing_definition_comes_back_from_the_workflow(layout: Layout) -> None:
    finished(layout, "a", *STARTED)
    os.unlink(layout.frozen_template(VERSION))
    assert troubles(look(layout))["definition"].severity == "warning"
    look(layout, repair=True)
    assert os.path.exists(layout.frozen_template(VERSION))


def test_a_definition_that_is_nowhere_is_told(layout: Layout) -> None:
    finished(layout, "a", *STARTED)
    os.unlink(layout.frozen_template(VERSION))
    os.unlink(layout.template("a"))
    found = troubles(look(layout, repair=True))["definition"]
    assert found.severity == "error" and not found.repaired


def test_strangers_are_told_and_left_alone(layout: Layout) -> None:
    sound(layout)
    os.mkdir(os.path.join(layout.workflows, "no id!"))
    Path(layout.workflows, "notes.txt").write_text("mine")
    assert sum(finding.code == "stranger" for finding in look(layout, repair=True)) == 2
    assert Path(layout.workflows, "notes.txt").read_text() == "mine"


def test_thousands_of_one_kind_are_repaired_and_a_part_of_them_told(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "TOLD", 5)
    for number in range(12):
        finished(layout, f"w{number}", view=False)
    sound(layout)
    found = [finding for finding in look(layout, repair=True) if finding.code == "view"]
    assert len(found) == 6 and found[-1].message.startswith("and 7 more")
    assert troubles(look(layout)) == {}


# --- views of all


def test_a_queue_view_that_is_wrong_is_written_again(layout: Layout) -> None:
    finished(layout, "a", *STARTED)
    a_workflow(layout, "b")
    sound(layout)
    right = Path(layout.queue_state).read_bytes()
    for wrong in (None, b"", b"{}", right.replace(b'"id": "a"', b'"id": "x"')):
        Path(layout.queue_state).unlink() if wrong is None else Path(layout.queue_state).write_bytes(wrong)
        assert "queue_view" in troubles(look(layout)), wrong
        assert troubles(look(layout, repair=True))["queue_view"].repaired
        assert [job["id"] for job in json.loads(Path(layout.queue_state).read_bytes())["jobs"]] == ["a", "b"]


def test_rows_that_are_missing_wrong_or_left_over_are_mended(layout: Layout) -> None:
    for name in ("missing", "wrong", "gone"):
        finished(layout, name)
    sound(layout)
    with Index(layout.index) as index:
        index.delete_many(["missing"])
        index._connection.execute("UPDATE workflows SET status = 'running' WHERE id = 'wrong'")
    os.rename(layout.workflow("gone"), os.path.join(layout.home, "gone"))
    assert sum(finding.code == "index" for finding in look(layout) if finding.severity == "info") == 3
    look(layout, repair=True)
    with Index(layout.index) as index:
        assert {row["id"]: row["status"] for row in index.query()} == {"missing": "completed", "wrong": "completed"}
    assert troubles(look(layout)) == {}


@pytest.mark.parametrize("content", [None, b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_an_index_that_is_missing_or_damaged_is_made_again(layout: Layout, content: bytes | None) -> None:
    finished(layout)
    queueview.bring_up_to_date(layout, at(0), {})
    if content is not None:
        Path(layout.index).write_bytes(content)
    assert not troubles(look(layout))["index"].repaired
    assert troubles(look(layout, repair=True))["index"].repaired
    assert troubles(look(layout)) == {}


def test_an_index_with_damaged_pages_is_put_aside_and_made_again(layout: Layout) -> None:
    for number in range(60):
        finished(layout, f"w{number}")
    sound(layout)
    with Index(layout.index) as index:
        page = index._connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'by_age'").fetchone()[0]
    with open(layout.index, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\x55" * 4096)
    assert troubles(look(layout))["index"].severity == "warning"
    assert troubles(look(layout, repair=True))["index"].repaired
    assert troubles(look(layout)) == {}


def test_without_an_index_at_hand_the_rest_is_examined(layout: Layout) -> None:
    finished(layout, view=False)
    assert "view" in troubles(examine(layout))


def test_the_index_can_be_recovered(layout: Layout) -> None:
    finished(layout)
    sound(layout)
    with Index(layout.index) as index:
        index._connection.execute("UPDATE workflows SET status = 'failed'")
    assert recover_index(layout, lambda write: open_index(layout.index, write=write))
    with Index(layout.index) as index:
        assert index.counts()["completed"] == 1 and index.complete


# --- beside an engine


def test_beside_an_engine_only_what_it_never_touches_is_repaired(layout: Layout, engine: Any) -> None:
    finished(layout)
    finished(layout, "b", *STARTED)
    sound(layout)
    os.chmod(layout.queue, 0o777)
    os.unlink(layout.state("a"))
    os.utime(layout.journal("a"), (1, 1))
    damage(layout, "b", 30)
    found = troubles(look(layout, repair=True))
    assert found["open_to_others"].repaired
    assert not found["view"].repaired and "only while no engine is running" in str(found["view"].repair)
    assert not found["damaged_journal"].repaired and os.path.exists(layout.workflow("b"))


def test_what_an_engine_is_writing_is_not_mistaken_for_damage(layout: Layout, engine: Any) -> None:
    finished(layout, "half-written", *STARTED)
    with open(layout.journal("half-written"), "ab") as file:
        file.write(b'{"n":4')
    os.unlink(layout.state("half-written"))
    finished(layout, "just-ended", *COMPLETED, queued=True)
    finished(layout, "row-on-its-way")
    a_workflow(layout, "being-accepted", queued=False)
    with Index(layout.index) as index:
        index.set_complete(True)
    Path(layout.queue_state).write_text('{"jobs": []}')
    assert troubles(look(layout)) == {}


def test_a_repair_keeps_engines_out_and_says_who_does(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Any] = []
    monkeypatch.setattr(doctor.doctor_home, "check_home", lambda findings: held.append(lock.holder(layout)))
    look(layout, repair=True)
    assert held[0]["doing"] == "repair" and lock.holder(layout) is None


def test_with_an_engine_the_index_is_deleted_for_it_to_make_again(layout: Layout, engine: Any) -> None:
    sound(layout)
    assert not recover_index(layout, lambda write: open_index(layout.index, write=write))
    assert not os.path.exists(layout.index)
