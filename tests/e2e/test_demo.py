"""`make demo` does what it says, ends by itself, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from daemon import ROOT, with_command


def test_the_demo_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "demo.sh")],
        env={**with_command(tmp_path), "TMPDIR": str(scratch)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("profile", "clean", "report"):
        assert f"{step:<8} begun 1 time, completed 1 time" in done.stdout
    assert "104 of 120 rows are good" in done.stdout
    assert os.listdir(scratch) == []
