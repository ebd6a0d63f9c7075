"""Command lines for tests: in this process, as a process of their own, or on a terminal; and a home with a story."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from homes import COMPLETED, FAILED, STARTED, a_workflow

from hybrid_engine.cli import app
from hybrid_engine.files.home import init_home
from hybrid_engine.files.layout import Layout
from hybrid_engine.model import events as e

ROOT = Path(__file__).parents[2]

TEMPLATE = """\
name: greet
params:
  name: {default: world}
  times: {type: integer, default: 1, minimum: 1}
steps:
  hello:
    env: {NAME: "${{ params.name }}"}
    run: echo "hello $NAME"
"""


def greeting_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    found = Layout(str(tmp_path / "home"))
    init_home(found, sample=False)
    Path(found.templates, "greet.yaml").write_text(TEMPLATE)
    for name in (
        "COLUMNS",
        "NO_COLOR",
        "FORCE_COLOR",
        "HYBRID_HOME",
        "WORKFLOWS_DIR",
        "QUEUE_STATE_FILE",
        "HYBRID_USER",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(found.home)
    return found


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return list(map(json.loads, self.out.splitlines()))


class Hybrid:
    """Runs command lines in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *argv: str) -> Ran:
        self._capsys.readouterr()
        code = app.run(list(argv))
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)


def process(*argv: str, home: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A whole process, as a person starts it."""
    command = [sys.executable, "-m", "hybrid_engine.cli.main", *argv]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HYBRID_HOME": home, **more}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def add_story(layout: Layout) -> Layout:
    Path(layout.frozen_template("v1")).write_text('{"format":1,"name":"report","steps":{"one":{"run":"true"}}}')
    a_workflow(layout, "w-done", *COMPLETED, minute=1)
    a_workflow(layout, "w-failed", *FAILED[:-1], e.WorkflowFailed({"message": "step one failed"}), minute=2)
    a_workflow(layout, "w-going", *STARTED, minute=3)
    a_workflow(layout, "w-new", minute=4)
    return layout


def on_a_terminal(*argv: str, home: str, columns: int = 80, answer: str = "", **env: str) -> tuple[int, str]:
    """A whole process on a terminal of its own, answered when it asks; its exit code, and all that it printed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    told = {"PYTHONPATH": str(ROOT), "HYBRID_HOME": home, "TERM": "xterm-256color", **env}
    running = subprocess.Popen(
        [sys.executable, "-m", "hybrid_engine.cli.main", *argv],
        env={**{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}, **told},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answer.encode())
    printed = b""
    try:
        while data := os.read(ours, 65536):
            printed += data
    except OSError:
        pass  # how the end of a terminal reads
    os.close(ours)
    return running.wait(60), printed.decode().replace("\r\n", "\n")
