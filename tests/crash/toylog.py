"""A toy engine with one commit log for all workflows and checkpoints behind it, and with bugs that can be switched on.

It tests the testers, as toy.py does, for the storage in which a fact is one line of a log that is synced once a round,
journals are appended without a sync, and `syncfs` makes them durable before a segment of the log goes. One thread; a
round commits the ends and the starts of all workflows in one frame; a step is one line in the file `outside`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from typing import Any

from tests.crash.oracle import good_part
from tests.crash.scenario import note
from tests.crash.toy import DUE, FAILS_ALWAYS, FAILS_ONCE, TEMPLATES, Home, encode, fold, render
from tests.crash.toylog_segments import Batch, Log, write_at

ROUNDS = 4
"""Between two checkpoints."""
PRUNED = "one"
FINAL = "completed"


@dataclass(slots=True)
class Flow:
    """One workflow: its job, its journal in memory, and how the step that ran in this round ended."""

    job: dict[str, Any]
    journal: bytes = b""
    ended: tuple[str, int] | None = None

    @property
    def id(self) -> str:
        return str(self.job["id"])

    @property
    def is_final(self) -> bool:
        return bool(self.journal) and bool(fold(self.journal)["status"] == FINAL)

    def told(self, kind: str, **fields: Any) -> tuple[str, bytes]:
        """The next event, and the journal has it."""
        line = encode(self.journal.count(b"\n") + 1, kind, fields)
        self.journal += line
        return self.id, line

    def next(self) -> tuple[Batch, tuple[str, int] | None]:
        """The events of this round, and the step to run once they are durable."""
        batch: Batch = []
        if self.ended is not None:
            step, attempt = self.ended
            batch.append(self.told(f"step_{self._outcome(step, attempt)}", step=step, attempt=attempt))
        self.ended = None
        steps = fold(self.journal)["steps"]
        for step in TEMPLATES[self.job["template"]]:
            what, attempt = steps.get(step, ("", 0))
            if what not in ("completed", "failed"):
                return [*batch, self.told("step_started", step=step, attempt=attempt + 1)], (step, attempt + 1)
        return [*batch, self.told("workflow_completed")], None

    def _outcome(self, step: str, attempt: int) -> str:
        if (self.job["template"], step) == FAILS_ALWAYS:
            return "failed"
        return "retry_scheduled" if (self.job["template"], step) == FAILS_ONCE and attempt == 1 else "completed"


class LogToy:
    """Recover, accept what is in the inbox, work in rounds until all is done; prune after each checkpoint."""

    def __init__(self, path: str, outside: str, bug: str = "") -> None:
        self.home = Home(path, bug)
        self.outside = outside
        self.flows: dict[str, Flow] = {}
        self.named: set[str] = set()

    def run(self) -> int:
        lock = os.open(self.home.at("queue-state.json.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            self.home.patiently(self.sweep)
            self.log = Log(self.home)
            self.recover()
            self.accept()
            self.work()
            self.checkpoint()
            self.put(json.dumps({"engine": None, "counts": {"total": 0}, "jobs": []}).encode(), "queue-state.json")
        finally:
            os.close(lock)
        return 0

    def sweep(self) -> None:
        for folder, _, files in os.walk(self.home.path):
            for name in files:
                if name.endswith(".tmp"):
                    os.unlink(os.path.join(folder, name))
        tmp = self.home.at(".hybrid", "tmp")
        for name in os.listdir(tmp):
            path = os.path.join(tmp, name)
            (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)

    def put(self, data: bytes, *parts: str) -> None:
        """Replace a file, not synced: a checkpoint does that."""
        path = self.home.at(*parts)

        def replace() -> None:
            fd = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                write_at(fd, data, 0)
            finally:
                os.close(fd)
            os.rename(path + ".tmp", path)

        self.home.patiently(replace)

    # ---- commits -------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """One write, one sync; from here on it is true."""
        self.log.write(batch)
        if self.home.bug != "act-before-sync":
            self.log.sync()
        self.named |= {id for id, _ in batch}

    def append(self, id: str, line: bytes) -> None:
        """Behind the commit, not synced. What does not fit is cut off again by who writes there next."""
        before = len(self.flows[id].journal) - len(line)
        self.home.patiently(lambda: self._write_journal(id, line, before))

    def _write_journal(self, id: str, data: bytes, offset: int) -> None:
        fd = os.open(self.home.at("workflows", id, "journal.jsonl"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            write_at(fd, data, offset)
        finally:
            os.close(fd)

    def accept(self) -> None:
        names = sorted(os.listdir(self.home.at("inbox")))
        batch: Batch = []
        for name in names:
            with open(self.home.at("inbox", name), encoding="utf-8") as file:
                job = json.load(file)
            if job["id"] not in self.flows and not os.path.exists(self._path(job["id"])):
                flow = self.flows[job["id"]] = Flow(job)
                batch.append(flow.told("workflow_created", template=job["template"], job=job))
        if batch:
            self.commit(batch)
        for id, line in batch:
            self.make(self.flows[id])
            self.append(id, line)
        for name in names:
            self.home.patiently(lambda name=name: os.unlink(self.home.at("inbox", name)))
        if batch and self.home.bug == "act-before-sync":
            self.log.sync()

    def make(self, flow: Flow) -> None:
        """Its folder and its name in the queue, as far as they are missing."""
        self.home.patiently(lambda: os.makedirs(self.home.at("workflows", flow.id), 0o700, exist_ok=True))
        self.put(json.dumps(flow.job).encode(), "workflows", flow.id, "job.json")
        self.put(json.dumps(flow.job).encode(), "queue", f"9-{DUE}-{flow.id}.json")

    def work(self) -> None:
        rounds = 0
        while flows := [flow for flow in self.flows.values() if not flow.is_final]:
            batch: Batch = []
            starts: list[tuple[Flow, tuple[str, int]]] = []
            for flow in flows:
                events, start = flow.next()
                batch += events
                starts += [(flow, start)] if start else []
            self.commit(batch)
            self.act(batch, starts)
            if self.home.bug == "act-before-sync":
                self.log.sync()
            rounds += 1
            if rounds % ROUNDS == 0:
                self.checkpoint()

    def act(self, batch: Batch, starts: list[tuple[Flow, tuple[str, int]]]) -> None:
        """What waited for the commit: journals, and the steps."""
        for id in dict.fromkeys(id for id, _ in batch):
            self.append(id, b"".join(line for other, line in batch if other == id))
        for flow, (step, attempt) in starts:
            note(self.outside, "ran", flow.id, step, str(attempt))
            flow.ended = step, attempt

    # ---- checkpoints ---------------------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """All that the segments so far say is in the folders, durable; then they go."""
        old = self.log.segments()
        self.log.switch()
        for id in sorted(self.named):
            self.settle(self.flows[id])
        self.named = set()
        self.let_go(old)
        self.prune()

    def let_go(self, old: list[str]) -> None:
        if self.home.bug == "unlink-before-syncfs":
            self.log.forget(old)
        self.log.sync_all()
        if self.home.bug != "unlink-before-syncfs":
            self.log.forget(old)

    def settle(self, flow: Flow) -> None:
        """Its last view, and its name in the queue gone when it is over."""
        self.put(render(flow.journal), "workflows", flow.id, "state.json")
        name = self.home.at("queue", f"9-{DUE}-{flow.id}.json")
        if flow.is_final and os.path.exists(name):
            self.home.patiently(lambda: os.unlink(name))

    def prune(self) -> None:
        """Remove a finished workflow; no segment names it any more."""
        for flow in [flow for flow in self.flows.values() if flow.job["template"] == PRUNED and flow.is_final]:
            note(self.outside, "removing", flow.id, flow.job["params"]["tag"])
            os.rename(self.home.at("workflows", flow.id), self.home.at(".hybrid", "tmp", flow.id))
            self.home.sync_folder("workflows")
            self.home.sync_folder(".hybrid", "tmp")
            note(self.outside, "gone", flow.id, flow.job["params"]["tag"])
            shutil.rmtree(self.home.at(".hybrid", "tmp", flow.id))
            del self.flows[flow.id]

    # ---- recovery ------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Make durable what is found before anything is built on it: what can be read may be in memory only."""
        old = self.log.segments()
        lines: dict[str, list[bytes]] = {}
        batches = self.log.replay()
        for id, line in (pair for batch in batches for pair in batch):
            lines.setdefault(id, []).append(line)
        self.log.switch()
        if batches and self.home.bug != "trusting-start":
            self.log.write([pair for batch in batches for pair in batch])
            self.log.sync()
        for name in sorted(os.listdir(self.home.at("queue"))):
            lines.setdefault(name[len(DUE) + 3 : -5], [])
        for id, logged in lines.items():
            self.restore(id, list(dict.fromkeys(logged)))
        self.named |= set(self.flows)
        if self.home.bug != "trusting-start":
            self.let_go(old)

    def restore(self, id: str, logged: list[bytes]) -> None:
        """Its journal as the log has it: cut at the first line that cannot be trusted, and written again over the rest.

        A name in the queue of which neither log nor journal know anything is of a job that was never committed.
        """
        found = self._journal(id)
        good = good_part(found)
        whole = good
        if logged:
            first = json.loads(logged[0])["n"]
            kept = good.splitlines(keepends=True)[: first - 1]
            assert len(kept) == first - 1, f"the log begins behind the end of the journal of {id}"
            whole = b"".join([*kept, *logged])
        if not whole:
            self.home.patiently(lambda: os.unlink(self.home.at("queue", f"9-{DUE}-{id}.json")))
            return
        flow = self.flows[id] = Flow(json.loads(whole.splitlines()[0])["job"], whole)
        self.make(flow)
        if self.home.bug == "behind-a-torn-tail":
            self.home.patiently(lambda: self._write_journal(id, whole[len(good) :], len(found)))
        else:
            self.home.patiently(lambda: os.truncate(self._path(id), len(good)) if found else None)
            self.home.patiently(lambda: self._write_journal(id, whole, 0))
        self.settle(flow)
        if flow.is_final:
            del self.flows[id]  # nobody looks at finished work again

    def _path(self, id: str) -> str:
        return self.home.at("workflows", id, "journal.jsonl")

    def _journal(self, id: str) -> bytes:
        try:
            with open(self._path(id), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""
