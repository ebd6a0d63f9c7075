"""Two places where workflows are kept, the memory and a folder, as the contract suites of `ports.storage` see them.

`again` is what a kill leaves: another engine's log and store on the same place, nothing of the first one's in memory.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from builders import a_job, a_template, at
from contracts.memory import Disk, MemoryLog, MemoryReactor, MemoryStore, MemorySyncer

from hybrid_engine.engine.turn import created_event
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import segments
from hybrid_engine.files.log.behind import WriteBehind
from hybrid_engine.files.log.commit_log import FileLog
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.replay import Replayed, replay
from hybrid_engine.files.store import FileStore
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model import events as e
from hybrid_engine.model.job import Job
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.stamps import Stamp
from hybrid_engine.model.template import Template
from hybrid_engine.ports.storage import CommitLog, Store, Turn

TEMPLATE = a_template(["a", "b"])
STARTED: list[e.Event] = [e.WorkflowStarted()]
RUNNING: list[e.Event] = [e.WorkflowStarted(), e.StepStarted("a", 1)]


def accepted(job: Job) -> Turn:
    """The turn that makes a job a workflow."""
    return Turn(job.id, 1, job.queued_at, [created_event(job)])


def born(workflow: str = "w1", **fields: object) -> Turn:
    return accepted(a_job(workflow, TEMPLATE, **fields))


def then(first: int, events: list[e.Event], workflow: str = "w1", moment: Stamp | None = None) -> Turn:
    """A later turn, whose first event has this number."""
    return Turn(workflow, first, moment or at(first), events)


class InMemory:
    """A home in memory."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.disk.templates[TEMPLATE.version] = TEMPLATE
        self.log: CommitLog = MemoryLog(self.disk)
        self.store: Store = MemoryStore(self.disk)

    def again(self) -> InMemory:
        self.disk.crash()
        self.log, self.store = MemoryLog(self.disk), MemoryStore(self.disk)
        return self

    def go_on(self) -> None:
        """Let everything end that goes on in the background."""

    def close(self) -> None:
        pass

    def queued(self) -> list[str]:
        return sorted(self.disk.queue)

    def state(self, workflow: str) -> bytes:
        return self.disk.states[workflow]

    def signal(self, workflow: str, name: str) -> None:
        self.disk.signals[workflow][name] = Signal(name, name)

    def signals(self, workflow: str) -> list[str]:
        return list(self.disk.signals[workflow])

    def fail(self, times: int, patch: pytest.MonkeyPatch) -> None:
        """So many commits fail."""
        self.disk.faults.extend(["commit"] * times)

    def journal(self, workflow: str) -> bytes:
        return bytes(self.disk.journals.get(workflow, b""))

    def write_journal(self, workflow: str, data: bytes) -> None:
        self.disk.journals[workflow] = bytearray(data)


class InAFolder:
    """A home on the disk, with a log whose background work is done when the test says so."""

    def __init__(self, home: Layout, template: Template = TEMPLATE) -> None:
        self.home = home
        self.templates = TemplateStore(home)
        self.templates.freeze(template)
        self.troubles: list[OSError] = []
        self.lost: dict[str, OSError] = {}
        self.durable: list[tuple[int, int]] = []
        self.replayed = Replayed()
        self._logs: list[FileLog] = []
        self.start()

    def start(self) -> None:
        """What a start does before anything else."""
        self.systems = FileSystems((self.home.log, self.home.workflows, self.home.inbox, self.home.queue))
        try:
            self.replayed = replay(self.home, self.systems)
        except BaseException:
            self.systems.close()
            raise
        self.reactor = MemoryReactor()
        self.background = MemorySyncer(self.reactor)
        self.behind = WriteBehind(self.home, self.lost.__setitem__, self.troubles.append)
        self.files = FileLog(
            self.home, self.behind, self.background, lambda *end: self.durable.append(end), trouble=self.troubles.append
        )
        self.files.open(self.systems, self.replayed.next_number, self.replayed.next_segment)
        self._logs.append(self.files)
        self.log: CommitLog = self.files
        self.store: Store = FileStore(self.home, self.templates, self.files)

    def again(self) -> InAFolder:
        self.kill()
        self.start()
        return self

    def kill(self) -> None:
        """Nothing more is written by the engine at hand."""
        while self._logs:
            self._logs.pop().close()

    close = kill

    def go_on(self) -> None:
        for _ in range(20):
            self.files.write_behind(60.0)
            while self.background.pending:
                self.background.do()
                self.reactor.run()
            self.reactor.run()

    def segments(self) -> list[int]:
        return segments.numbers(self.home.log)

    def segment(self, number: int) -> Path:
        return Path(segments.path_of(self.home.log, number))

    def queued(self) -> list[str]:
        return sorted(os.listdir(self.home.queue))

    def state(self, workflow: str) -> bytes:
        return Path(self.home.state(workflow)).read_bytes()

    def signal(self, workflow: str, name: str) -> None:
        os.makedirs(self.home.signals(workflow), exist_ok=True)
        Path(self.home.signals(workflow), name).touch()

    def signals(self, workflow: str) -> list[str]:
        folder = self.home.signals(workflow)
        return os.listdir(folder) if os.path.isdir(folder) else []

    def fail(self, times: int, patch: pytest.MonkeyPatch) -> None:
        """So many commits fail: the first one in the segment at hand, and each in the one that is to take its place."""
        self.fail_syncs(1 + times, patch)

    def fail_syncs(self, times: int, patch: pytest.MonkeyPatch, error: int = errno.EIO) -> None:
        """So many syncs of the log fail; what was written can be read all the same."""
        left, sync = [times], atomic.sync_data

        def failing(fd: int) -> None:
            if left[0]:
                left[0] -= 1
                raise OSError(error, os.strerror(error))
            sync(fd)

        patch.setattr(atomic, "sync_data", failing)

    def journal(self, workflow: str) -> bytes:
        try:
            return Path(self.home.journal(workflow)).read_bytes()
        except FileNotFoundError:
            return b""

    def write_journal(self, workflow: str, data: bytes) -> None:
        Path(self.home.journal(workflow)).write_bytes(data)


Place = InMemory | InAFolder
