"""The order in which pruning becomes durable, and what it must not take."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from deeds import Deeds
from homes import FAILED, REOPENED, a_home, a_workflow, commit

from hybrid_engine.files import prune, trash
from hybrid_engine.files.layout import Layout
from hybrid_engine.sql.index import Index


def pruned(layout: Layout) -> prune.PruneReport:
    with Index(layout.index) as index:
        return prune.prune(layout, index, older_than=timedelta(0))


def test_a_thrown_workflow_is_durably_out_of_its_place_before_the_first_of_its_files_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = a_home(tmp_path)
    a_workflow(layout, "a", *FAILED)
    for number in range(30):  # a folder lists its files in any order
        Path(layout.workflow("a"), f"file-{number}").touch()
    deeds = Deeds(monkeypatch, layout)
    assert pruned(layout).ids == ["a"]
    thrown = next(told for call, told in deeds.all if call == "replace" and told.startswith(".hybrid/trash/a."))
    first = deeds.where("unlink", f"{thrown}/journal.jsonl")
    for place in (".hybrid/trash", "workflows"):
        assert deeds.where("replace", thrown) < deeds.where("fsync", place) < first
    assert first == next(at for at, deed in enumerate(deeds.all) if deed[0] == "unlink" and deed[1].startswith(thrown))


def test_a_workflow_that_is_put_back_is_durable_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`retry` was answered: the name in the queue must not lead to a folder that is in the trash after a power cut."""
    layout = a_home(tmp_path)
    a_workflow(layout, "a", *FAILED)
    path = trash.throw(layout, "a")
    deeds = Deeds(monkeypatch, layout)
    assert trash.put_back(layout, "a", path)
    deeds.in_order(("replace", "workflows/a"), ("fsync", "workflows"))


def test_a_workflow_is_not_put_back_over_a_folder_that_was_just_made(tmp_path: Path) -> None:
    """It is that of another life with the same id, whose journal is about to be written."""
    layout = a_home(tmp_path)
    a_workflow(layout, "a", *FAILED)
    path = trash.throw(layout, "a")
    os.mkdir(layout.workflow("a"))
    assert not trash.put_back(layout, "a", path)
    assert os.listdir(layout.workflow("a")) == []


def test_what_only_the_log_says_has_gone_on_is_not_pruned(tmp_path: Path) -> None:
    """Without an engine the log is emptied first, and then the journal says it."""
    layout = a_home(tmp_path)
    a_workflow(layout, "a", *FAILED)
    commit(layout, "a", *REOPENED, after=len(FAILED) + 1)
    assert pruned(layout).ids == []
    assert os.path.exists(layout.journal("a"))
