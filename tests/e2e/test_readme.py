"""The commands of the documents, run as they stand there.

A comment before a fenced block says what becomes of it: `<!-- run -->` runs it, as bash or Python, `<!-- run: home -->`
in that folder, `<!-- file: home/path -->` writes it. All blocks of one document share one place to work in; a folder
that is named and not there is made with `hybrid init`. Each bash block is a shell of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from daemon import ROOT, run, with_command

BLOCK = re.compile(
    r"<!-- (?P<what>run|file)(?:: (?P<where>[^>]+?))? -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.S | re.M
)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
RUN = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS if BLOCK.search(path.read_text())]


@pytest.mark.parametrize("document", RUN)
def test_the_marked_blocks_of_the_document_work_as_they_stand_there(document: str, tmp_path: Path) -> None:
    env, folder = with_command(tmp_path), tmp_path / "work"
    folder.mkdir()
    try:
        for block in BLOCK.finditer((ROOT / document).read_text()):
            perform(block, folder, env)
    finally:
        for home in {found.parents[1] for found in folder.rglob(".hybrid/format")}:
            run(str(home), "stop")


def perform(block: re.Match[str], folder: Path, env: dict[str, str]) -> None:
    what, where, language, text = block.group("what", "where", "language", "text")
    if where:
        make_home(folder / where.partition("/")[0])
    if what == "file":
        (folder / where).write_text(text)
        return
    command = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
    done = subprocess.run(
        [*command, text],
        cwd=folder / (where or "."),
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def make_home(folder: Path) -> None:
    if not folder.exists():
        assert run(str(folder), "init", "--no-sample").returncode == 0


def test_the_readme_has_blocks_that_are_run() -> None:
    assert "README.md" in RUN
