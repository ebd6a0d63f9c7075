"""A script under the fault library, in a folder of its own: for the tests of the library itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.crash.faultlib import Control, Fault, Operation, read_log

PATIENCE = 60.0


class Run:
    """A script under the library, in a folder of its own."""

    def __init__(self, library: str, folder: Path) -> None:
        self.library = library
        self.root = folder / "root"
        self.root.mkdir()
        self.control = Control(str(folder / "control"))
        self.log = folder / "log"

    def run(self, script: str, fault: Fault, **env: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **fault.environment(), "LD_PRELOAD": self.library, "FAULT_ROOT": str(self.root),
               "FAULT_CONTROL": self.control.path, "PYTHONDONTWRITEBYTECODE": "1", **env}  # fmt: skip
        command = [sys.executable, "-c", script, str(self.root)]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)

    def operations(self) -> list[Operation]:
        return read_log(str(self.log))
