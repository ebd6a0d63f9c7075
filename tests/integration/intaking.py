"""A home with an intake and an engine that starts nothing, for tests of what strangers drop; a clock moved by hand."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contracts.memory import Disk, MemoryEngine, MemorySyncer, World
from contracts.storage import InAFolder

from hybrid_engine.daemon.acceptance import Acceptance
from hybrid_engine.daemon.intake import Intake
from hybrid_engine.daemon.signals import SignalIntake
from hybrid_engine.files import queue
from hybrid_engine.files.inbox import FileInbox
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.signals import SignalFolders
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.job import Job

SETTLE, REJECT_AFTER = 0.5, 2.0
TEMPLATE = """\
params:
  n: {type: integer, default: 0}
  text: {type: string, default: ""}
steps:
  one: {run: "true"}
"""


class Porch:
    """A home with an engine that has no slot to spare, so that what it accepts stays in the queue."""

    def __init__(self, home: Layout, slots: int = 0) -> None:
        self.home = home
        self.inbox = Path(home.inbox)
        self.templates = TemplateStore(home)
        self.world, self.disk = World(), Disk()
        self.place = InAFolder(home)
        self.accepted: list[Job] = []
        self.slots = slots
        self.now = 0.0
        self.start()

    def start(self) -> None:
        """A (fresh) engine."""
        self.engine = MemoryEngine(
            self.disk, self.world, self.slots, self.now, store=self.place.store, log=self.place.log
        )
        self.engine.watcher.accepted_ones = self.accepted
        engine, self.background = self.engine, MemorySyncer(self.engine.reactor)
        self.file_inbox = FileInbox(self.home, TemplateStore(self.home))
        self.intake = Intake(
            self.file_inbox,
            Acceptance(engine.driver, self.place.log, engine.gate),
            SignalIntake(SignalFolders(self.home), engine.driver, self.background, engine.reactor, engine.clock),
            self.background, engine.reactor, engine.clock, settle=SETTLE, reject_after=REJECT_AFTER,
        )  # fmt: skip

    def settle(self) -> None:
        """Do all that can be done now: in the background and behind commits, too."""
        self.engine.settle()
        while self.step():
            self.engine.settle()

    def step(self) -> bool:
        """A piece of what is done in the background, or else behind commits; False when there is none."""
        if self.background.pending:
            self.background.do()
            return True
        left = len(self.place.behind)
        self.place.log.write_behind(60.0)
        return len(self.place.behind) < left

    def kill(self) -> None:
        """The engine is gone, and with it the files that it had open."""
        self.now = self.engine.reactor.now + 1.0
        self.place.kill()
        self.place.behind._pending.clear()
        del self.engine, self.intake, self.background, self.file_inbox
        gc.collect()

    def restart(self) -> None:
        """Kill the engine and start another."""
        if hasattr(self, "engine"):
            self.kill()
        self.place.again()
        self.start()

    def look(self) -> None:
        self.intake.look()
        self.settle()

    def wait(self, seconds: float) -> None:
        """Let time go on, looking whenever the intake wants to."""
        end = self.engine.reactor.now + seconds
        while self.engine.reactor.now < end:
            self.engine.reactor.advance(min(0.05, end - self.engine.reactor.now))
            self.settle()

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
    porch = Porch(home)
    yield porch
    porch.place.close()
    signal.signal(signal.SIGIO, old)
