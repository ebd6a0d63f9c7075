"""Every folder in examples/, run by a real daemon, must end as its expected.json says. See examples/README.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from daemon import ROOT, Daemon, environment, run

from hybrid_engine.client import Client
from hybrid_engine.files import journal
from hybrid_engine.files.home import init_home
from hybrid_engine.files.layout import Layout

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


def lay(example: str, home: Layout) -> dict[str, Any]:
    """A home with the sample in it and the example on top, as the README says; returns what is expected of it."""
    init_home(home, sample=True)
    shutil.copytree(EXAMPLES / example, home.home, dirs_exist_ok=True)
    found: dict[str, Any] = json.loads((EXAMPLES / example / "expected.json").read_text())
    return found


def drop(home: Layout, folder: str) -> bool:
    """Copy the jobs of a folder into the inbox, one after the other; False when there is none."""
    jobs = sorted(Path(home.home, folder).glob("*"))
    for job in jobs:
        shutil.copy(job, home.inbox)
    return bool(jobs)


def ended(example: str, home: Layout) -> dict[str, Any]:
    """The example, dropped and done; returns what is expected."""
    expected = lay(example, home)
    drop(home, "jobs")
    Daemon(home).run_until_idle()
    if drop(home, "later"):
        Daemon(home).run_until_idle()
    return expected


def workflows(home: Layout) -> list[dict[str, Any]]:
    client = Client(home.home)
    return [client.get(row["id"]) for row in client.list(limit=1000)]


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Where `found` lacks what `wanted` has; mappings may have more."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [line for name in wanted for line in differences(wanted[name], found.get(name), f"{path}.{name}")]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [line for i, pair in enumerate(zip(wanted, found)) for line in differences(*pair, f"{path}[{i}]")]
    return [] if wanted == found else [f"{path.strip('.')}: {found!r} instead of {wanted!r}"]


def is_meant(wanted: dict[str, Any], record: dict[str, Any]) -> bool:
    return all(record[name] == wanted[name] for name in ("source", "key") if name in wanted)


@pytest.mark.parametrize("example", [name for name in NAMES if (EXAMPLES / name / "jobs").is_dir()])
def test_the_example_ends_as_it_says(example: str, home: Layout) -> None:
    expected = ended(example, home)
    found = workflows(home)
    assert len(found) == sum(entry.get("count", 1) for entry in expected["workflows"])
    for entry in expected["workflows"]:
        meant = [record for record in found if is_meant(entry["is"], record)]
        assert len(meant) == entry.get("count", 1), entry["is"]
        for record in meant:
            assert differences(entry["is"], record) == []
            check_files(home, record, entry)
    for name, reason in expected.get("rejected", {}).items():
        told = json.loads(Path(home.rejected, name + ".reason.json").read_text())
        assert differences(reason, told) == []
    assert os.listdir(home.inbox) == ["rejected"]
    assert os.listdir(home.queue) == []


def check_files(home: Layout, record: dict[str, Any], entry: dict[str, Any]) -> None:
    for name, part in entry.get("artifacts", {}).items():
        assert part in Path(home.artifacts(record["id"]), name).read_text()
    for step, part in entry.get("logs", {}).items():
        attempt = record["steps"][step]["attempt"]
        assert part in Path(home.attempt(record["id"], step, attempt), "stdout.log").read_text()


@pytest.mark.parametrize("example", NAMES)
def test_the_templates_of_the_example_are_checked_without_a_word(example: str, home: Layout) -> None:
    lay(example, home)
    done = run(home.home, "templates", "check", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stdout


def test_the_printer_prints_one_page_at_a_time_the_urgent_ones_first(home: Layout) -> None:
    ended("07-many-jobs-one-printer", home)
    lines = Path(home.home, "printed.txt").read_text().split("\n")[:-1]
    pages = [line.removeprefix("begin ") for line in lines[::2]]
    assert lines == [word for page in pages for word in (f"begin {page}", f"end {page}")]
    # Page 7 is the most urgent from the moment it is due, whenever that comes.
    assert [page for page in pages if page != "7"] == ["3", "5", "8", "1", "2", "4", "6", "9"]


def test_a_key_that_was_asked_for_three_times_is_done_once(home: Layout) -> None:
    ended("08-nightly-once", home)
    assert Path(home.home, "backups.txt").read_text() == "backup of everything\n" * 2
    again = run(home.home, "enqueue", "backup", "--key", "2026-11-20")
    assert [row["id"] for row in Client(home.home).list(key="2026-11-20")] == [again.stdout.strip()]


def test_the_progress_of_the_async_function_is_shown_and_not_journaled(home: Layout) -> None:
    ended("09-async-function", home)
    (record,) = workflows(home)
    told = [entry.event.TYPE for entry in journal.read(home.journal(record["id"])).entries]
    assert told[-1] == "workflow_completed" and "step_progressed" not in told
    (said,) = Path(home.workflow(record["id"]), "steps").glob("*/1/progress")
    assert said.read_text().startswith("100")
    assert not os.path.lexists(home.progress(record["id"])), "a view of what runs, and nothing does"


def test_the_python_program_prints_what_it_should(home: Layout) -> None:
    expected = lay("10-python-program", home)
    with Daemon(home):
        program = subprocess.run(
            [sys.executable, str(EXAMPLES / "10-python-program" / "program.py")],
            env=environment(home.home, {}),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert program.stderr == ""
    assert program.stdout.splitlines() == expected["stdout"]
