"""Nothing that the tests wait for is waited for without an end: a test that hangs fails, by its name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HANGS = """
import threading
import pytest

@pytest.mark.timeout(0.2)
def test_that_hangs():
    threading.Event().wait()

def test_that_comes_after():
    pass
"""


def pytest_in(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """A run of its own, with the settings and the conftest of this project."""
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), *argv]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    return subprocess.run([*command, str(folder)], cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_a_test_over_its_time_fails_by_its_name_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGS)
    done = pytest_in(tmp_path)
    assert "FAILED test_hanging.py::test_that_hangs" in done.stdout, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout


STUCK = """
import conftest
import threading
import pytest

conftest.GRACE = 0.2

@pytest.mark.timeout(0.2)
def test_that_hangs_while_it_tidies_up():
    try:
        threading.Event().wait()
    finally:
        threading.Event().wait()
"""


@pytest.mark.slow
def test_a_clean_up_that_hangs_ends_the_run_and_shows_where_it_stood(tmp_path: Path) -> None:
    (tmp_path / "test_stuck.py").write_text(STUCK)
    done = pytest_in(tmp_path, "-p", "conftest")
    assert done.returncode == 1
    assert "in test_that_hangs_while_it_tidies_up" in done.stderr, done.stdout + done.stderr


def test_every_test_has_a_limit_and_crash_tests_have_a_longer_one(request: pytest.FixtureRequest) -> None:
    assert float(request.config.getini("timeout")) == 120
    crash = [item for item in request.session.items if item.get_closest_marker("crash")]
    assert all(item.get_closest_marker("timeout") for item in crash)
