"""What the pages about housekeeping and exit codes say is what the program does."""

from __future__ import annotations

import configparser
import os
import re
import shutil
from pathlib import Path

import pytest
from homes import COMPLETED, STARTED, a_home, a_workflow

from hybrid_engine import errors
from hybrid_engine.files import doctor, home, records
from hybrid_engine.files.layout import Layout
from hybrid_engine.sql.index import Index, open_index

ROOT = Path(__file__).resolve().parents[2]
HOUSEKEEPING = (ROOT / "docs" / "housekeeping.md").read_text()


def test_every_exit_code_of_an_error_is_in_the_list() -> None:
    listed = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "exit-codes.md").read_text(), re.MULTILINE))
    used = {
        str(kind.exit_code) for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")
    }
    assert used <= listed and {"0", "10", "11", "12", "130"} <= listed


def test_every_kind_of_finding_is_in_the_list() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "hybrid_engine" / "files").glob("doctor*.py"))
    codes = set(re.findall(r"""note\(\s*(?:"\w+"|[\w .<>/]+), "(\w+)\"""", sources))
    codes |= set(re.findall(r'_damaged\(workflow, "(\w+)"', sources))
    assert len(codes) > 20
    assert {code for code in codes if f"`{code}`" not in HOUSEKEEPING} == set()


def test_a_backup_without_views_and_scratch_is_made_whole_by_the_doctor(tmp_path: Path) -> None:
    layout = a_home(tmp_path)
    os.unlink(layout.frozen_name("report"))
    for name, events in (("done", COMPLETED), ("open", STARTED), ("late", STARTED)):
        a_workflow(layout, name, *events)
    copy = tmp_path / "copy" / "home"
    os.makedirs(copy / ".hybrid")
    listed = re.findall(r"`([^`]+)`", HOUSEKEEPING.split("What must be in a backup: ")[1].split("What need not")[0])
    assert "queue/" in listed and ".hybrid/templates/" in listed
    for name in listed:
        if os.path.isdir(os.path.join(layout.home, name)):
            shutil.copytree(os.path.join(layout.home, name), copy / name)
        elif os.path.exists(os.path.join(layout.home, name)):
            shutil.copy2(os.path.join(layout.home, name), copy / name)
    (copy / "queue" / next(name for name in os.listdir(layout.queue) if "late" in name)).unlink()
    restored = Layout(str(copy))
    home.init_home(restored, sample=False)
    found = doctor.examine(restored, repair=True, open_index=lambda write: open_index(restored.index, write=write))
    wrong = [finding for finding in found if finding.severity in ("warning", "error") and not finding.repaired]
    assert {finding.code for finding in wrong} <= {"definition", "file_system"}
    assert sorted(records.queued_ids(restored)) == ["late", "open"]
    with Index(restored.index) as index:
        assert index.counts()["completed"] == 1 and index.complete


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("Service", "KillMode", "process"), ("Service", "Type", "exec"), ("Service", "Restart", "on-failure"),
     ("Service", "OOMPolicy", "continue"), ("Service", "RestartPreventExitStatus", "2 6 66")],
)  # fmt: skip
def test_the_unit_lets_steps_outlive_the_engine(section: str, name: str, value: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(ROOT / "deploy" / "hybrid-engine.service")
    assert unit[section][name] == value
    assert "PrivateTmp" not in unit[section]
