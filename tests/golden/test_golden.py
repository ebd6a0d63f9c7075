"""Files of every released format: they load for ever.

Each folder below `<format>/` is a workflow as an engine of that format left it, `log/` a commit log. They are never
changed. When a format changes, the folders of the old one stay, and new ones come beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hybrid_engine.files import journal, queue, queueview, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import overlay
from hybrid_engine.model.events import EVENT_TYPES
from hybrid_engine.model.template import Template
from hybrid_engine.model.waits import FOR_A_SLOT, Wait
from hybrid_engine.rules.transitions import fold

HERE = Path(__file__).parent
WORKFLOWS = sorted(path.parent for path in HERE.glob("*/*/journal.jsonl"))


def contains(new: Any, old: Any) -> bool:
    """Is everything that stood in the old one in the new one, as it was? New fields may have come."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and contains(new[name], value) for name, value in old.items())
    return bool(new == old)


@pytest.mark.parametrize("folder", WORKFLOWS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_journal_adds_up_to_the_state_it_added_up_to_then(folder: Path) -> None:
    reading = journal.parse((folder / "journal.jsonl").read_bytes())
    assert (reading.damage, reading.tail) == (None, b"")
    state = fold((entry.n, entry.at, entry.event) for entry in reading.entries)
    assert state is not None
    assert contains(views.state_record(state), json.loads((folder / "state.json").read_text()))


@pytest.mark.parametrize("folder", WORKFLOWS, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_job_and_its_template_can_be_read(folder: Path) -> None:
    if folder.parent.name == "1":
        assert queue.read_job(str(folder / "job.json")).id == folder.name
    job = queue.read_job(str(folder / "journal.jsonl"))
    template = Template.from_frozen((folder / "template.json").read_bytes())
    assert job.id == folder.name
    assert list(template.steps) == job.steps
    assert template.version == job.version


@pytest.mark.parametrize("path", sorted(HERE.glob("*/queue-state.json")), ids=lambda path: path.parent.name)
def test_a_view_of_the_queue_can_be_read(path: Path) -> None:
    lines = queueview.lines_by_id(path.read_bytes())
    found = json.loads(path.read_text())
    assert [job["id"] for job in found["jobs"]] == [name.decode() for name in lines]
    assert found["counts"]["total"] == len(lines)


def test_the_lines_of_a_job_of_format_2_tell_its_wait_and_whether_it_has_begun() -> None:
    found = {job["id"]: job for job in json.loads((HERE / "2" / "queue-state.json").read_text())["jobs"]}
    assert Wait(**found["waiting"]["wait"]) == FOR_A_SLOT
    assert found["waiting"]["size"] == (HERE / "2" / "waiting" / "journal.jsonl").stat().st_size
    assert Wait(**found["retrying"]["wait"]).until == "2026-11-20T09:00:00.000000Z"


def test_a_commit_log_of_format_2_says_what_it_said_then() -> None:
    """Two workflows, one of them committed a second time after the first segment failed, and one that was removed."""
    layout = Layout(str(HERE))
    layout.log = str(HERE / "2" / "log")
    found = overlay.lines(layout, engine_lives=False)
    assert sorted(found) == ["paused", "waiting"]
    for name, lines in found.items():
        assert b"".join(lines) == (HERE / "2" / name / "journal.jsonl").read_bytes()


@pytest.mark.parametrize(
    "folder", sorted(path for path in HERE.iterdir() if path.name.isdigit()), ids=lambda path: path.name
)
def test_every_kind_of_event_of_a_format_is_among_its_journals(folder: Path) -> None:
    found = {
        json.loads(line)["type"] for path in folder.glob("*/journal.jsonl") for line in path.read_text().splitlines()
    }
    assert found == set(json.loads((folder / "events.json").read_text()))
    assert found <= set(EVENT_TYPES), "an event of an old format must stay known"
