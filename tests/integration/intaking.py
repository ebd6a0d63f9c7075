"""A home with an intake and an engine that starts nothing, for tests of what strangers drop; a clock moved by hand."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contracts.memory import Disk, MemoryEngine, World

from hybrid_engine.daemon.acceptance import Acceptance
from hybrid_engine.daemon.intake import Intake
from hybrid_engine.daemon.signals import SignalIntake
from hybrid_engine.files import queue
from hybrid_engine.files.inbox import FileInbox
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.signals import SignalFolders
from hybrid_engine.files.store import FileStore
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.files.viewstore import FileAcceptor
from hybrid_engine.model.job import Job

SETTLE, REJECT_AFTER = 0.5, 2.0
TEMPLATE = """\
params:
  n: {type: integer, default: 0}
  text: {type: string, default: ""}
steps:
  one: {run: "true"}
"""


class Failing(FileAcceptor):
    """An acceptor whose disk fails as often as told."""

    failures = 0
    after_lay = 0

    def lay(self, jobs: list[Job]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        super().lay(jobs)

    def announce(self, jobs: list[Job]) -> None:
        if self.after_lay:
            self.after_lay -= 1
            raise OSError(28, "No space left on device")
        super().announce(jobs)


class Porch:
    """A home with an engine that has no slot to spare, so that what it accepts stays in the queue."""

    def __init__(self, home: Layout, slots: int = 0) -> None:
        self.home = home
        self.inbox = Path(home.inbox)
        self.templates = TemplateStore(home)
        self.world, self.disk = World(), Disk()
        self.accepted: list[Job] = []
        self.slots = slots
        self.now = 0.0
        self.start()

    def start(self) -> None:
        """A (fresh) engine."""
        templates = TemplateStore(self.home)
        self.engine = MemoryEngine(self.disk, self.world, self.slots, self.now, FileStore(self.home, templates))
        self.acceptor, self.file_inbox = Failing(self.home), FileInbox(self.home, templates)
        engine = self.engine
        self.intake = Intake(
            self.file_inbox,
            Acceptance(self.acceptor, self.file_inbox, engine.driver, engine.background, self.accepted.append),
            SignalIntake(SignalFolders(self.home), engine.driver, engine.background, engine.reactor, engine.clock),
            engine.background, engine.reactor, engine.clock, settle=SETTLE, reject_after=REJECT_AFTER,
        )  # fmt: skip

    def restart(self) -> None:
        """Kill the engine and start another."""
        self.now = self.engine.reactor.now + 1.0
        self.start()

    def look(self) -> None:
        self.intake.look()
        self.engine.settle()

    def wait(self, seconds: float) -> None:
        """Let time go on, looking whenever the intake wants to."""
        end = self.engine.reactor.now + seconds
        while self.engine.reactor.now < end:
            self.engine.reactor.advance(min(0.05, end - self.engine.reactor.now))
            self.engine.settle()

    def take(self) -> list[str]:
        """Look, wait until nothing can change any more, and tell what was accepted so far, by template."""
        self.look()
        self.wait(10)
        assert self.intake.is_idle
        return sorted(self.queued())

    def queued(self) -> list[str]:
        return [name.split("-", 2)[2].removesuffix(".json") for name in sorted(os.listdir(self.home.queue))]

    def jobs(self) -> list[Job]:
        return [queue.read_job(os.path.join(self.home.queue, name)) for name in sorted(os.listdir(self.home.queue))]

    def left(self) -> list[str]:
        return sorted(name for name in os.listdir(self.inbox) if name not in ("rejected", ".taken"))

    def rejected(self) -> list[str]:
        return sorted(name for name in os.listdir(self.home.rejected) if not name.endswith(".reason.json"))

    def reason(self, name: str) -> dict[str, Any]:
        return dict(json.loads(Path(self.home.rejected, name + ".reason.json").read_text()))

    def rename(self, name: str, text: str | bytes) -> None:
        """Drop by rename."""
        data = text.encode() if isinstance(text, str) else text
        Path(self.home.tmp, "drop").write_bytes(data)
        os.rename(os.path.join(self.home.tmp, "drop"), self.inbox / name)

    def pretend_moved(self, name: str) -> None:
        """Make sure that the file looks moved here, however coarse the clock of the file system is."""
        status = os.stat(self.inbox / name)
        os.utime(self.inbox / name, ns=(status.st_mtime_ns, status.st_mtime_ns - 1_000_000_000))


def an_intake(home: Layout) -> Iterator[Porch]:
    """For a fixture: the home with a template, and this process as the engine's is."""
    old = signal.signal(signal.SIGIO, signal.SIG_IGN)
    Path(home.templates, "report.yaml").write_text(TEMPLATE)
    yield Porch(home)
    signal.signal(signal.SIGIO, old)
