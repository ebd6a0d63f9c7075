"""A toy engine with the file format of the real one, and with storage bugs that can be switched on by name.

It exists to test the testers: without a bug every method must find nothing, with a bug the methods named in
`scenario_toy.BUGS` must find it. One thread; a step is one line appended to the file `outside`; nothing else is like
the real engine.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.crash.oracle import SEED, good_part
from tests.crash.scenario import note

STAMP = "2026-11-20T07:36:00.000000Z"
DUE = "20261120T073600000000Z"

TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "one": {"only": ()},
    "chain": {"first": (), "second": ("first",), "third": ("second",)},
    "diamond": {"split": (), "left": ("split",), "right": ("split",), "join": ("left", "right")},
}
FAILS_ONCE = ("chain", "second")
FAILS_ALWAYS = ("diamond", "left")


class Home:
    """All writing of files. `bug` names the one rule that is broken."""

    def __init__(self, path: str, bug: str = "") -> None:
        self.path = path
        self.bug = bug

    def at(self, *parts: str) -> str:
        return os.path.join(self.path, *parts)

    def patiently(self, work: Callable[[], None]) -> None:
        """Do it until the disk has room: the daemon stays up. `work` must be safe to repeat."""
        while True:
            try:
                work()
                return
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EINTR, errno.EMFILE):
                    raise
                time.sleep(0.002)

    def sync_folder(self, *parts: str) -> None:
        if self.bug == "no-folder-sync":
            return
        fd = os.open(self.at(*parts), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def write_all(self, fd: int, data: bytes) -> None:
        while data:
            wrote = os.write(fd, data)
            data = b"" if self.bug == "short-write" else data[wrote:]

    def replace(self, data: bytes, *parts: str) -> None:
        """Give the file this content, or leave it as it was."""
        path = self.at(*parts)
        fresh = path if self.bug == "in-place" else path + ".tmp"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self.write_all(fd, data)
            if self.bug != "no-file-sync":
                os.fsync(fd)
        finally:
            os.close(fd)
        if fresh != path:
            os.rename(fresh, path)
        self.sync_folder(*parts[:-1])


def encode(number: int, kind: str, fields: dict[str, Any]) -> bytes:
    body = json.dumps({"n": number, "at": STAMP, "type": kind, **fields}, separators=(",", ":"))
    crc = zlib.crc32(body.encode(), SEED)
    return f'{body[:-1]},"crc":"{crc:08x}"}}\n'.encode()


def fold(journal: bytes) -> dict[str, Any]:
    """What the events add up to."""
    state: dict[str, Any] = {"status": "queued", "seq": 0, "steps": {}}
    for line in journal.splitlines():
        event = json.loads(line)
        state["seq"] = event["n"]
        kind, _, what = event["type"].partition("_")
        if kind == "workflow":
            state["status"] = what
        else:
            state["steps"][event["step"]] = [what, event["attempt"]]
    return state


def render(journal: bytes) -> bytes:
    return (json.dumps(fold(journal), indent=1, sort_keys=True) + "\n").encode()


class Journal:
    """Append, then `fdatasync`, then it is true. A failed sync ends the process: the next one reads what is there."""

    def __init__(self, home: Home, id: str) -> None:
        self.home = home
        self.path = home.at("workflows", id, "journal.jsonl")
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.content = os.pread(self.fd, 1 << 20, 0)
        good = good_part(self.content)
        if good != self.content and home.bug != "behind-a-torn-tail":
            home.patiently(lambda: os.ftruncate(self.fd, len(good)))
        if home.bug != "behind-a-torn-tail":
            self.content = good
        home.patiently(lambda: home.sync_folder("workflows", id))
        home.patiently(lambda: home.sync_folder("workflows"))
        self.sync()

    def sync(self) -> None:
        if self.home.bug == "no-journal-sync":
            return
        try:
            os.fdatasync(self.fd)
        except OSError:
            if self.home.bug != "sync-retried":
                raise
            os.fdatasync(self.fd)

    def append(self, kind: str, **fields: Any) -> None:
        data = encode(self.content.count(b"\n") + 1, kind, fields)
        self.home.patiently(lambda: self._append(data))
        self.sync()
        self.content += data

    def _append(self, data: bytes) -> None:
        size = os.fstat(self.fd).st_size
        try:
            self.home.write_all(self.fd, data)
        except OSError:
            os.ftruncate(self.fd, size)
            raise


class Toy:
    """Accept what is in the inbox, run what is in the queue, one after the other, until both are empty."""

    def __init__(self, path: str, outside: str, bug: str = "") -> None:
        self.home = Home(path, bug)
        self.outside = outside

    def ask(self, tag: str, template: str) -> None:
        """What `enqueue` does: when it returns without an error, the job is safe and the world is told so."""
        note(self.outside, "asked", tag)
        job = {"id": f"user-toy-{tag}", "template": template, "params": {"tag": tag}}
        if self.home.bug == "in-place":
            self.home.replace(json.dumps(job).encode(), "inbox", f"{tag}.json")
        else:
            self.home.replace(json.dumps(job).encode(), ".hybrid", "tmp", f"{tag}.json")
            os.rename(self.home.at(".hybrid", "tmp", f"{tag}.json"), self.home.at("inbox", f"{tag}.json"))
        self.home.sync_folder("inbox")
        note(self.outside, "acked", tag)

    def run(self) -> int:
        lock = os.open(self.home.at("queue-state.json.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            self.home.patiently(self.sweep)
            self.home.patiently(self.accept)
            self.home.patiently(self.show)
            for name in sorted(os.listdir(self.home.at("queue"))):
                self.work(name)
                self.home.patiently(self.show)
        finally:
            os.close(lock)
        return 0

    def sweep(self) -> None:
        for folder, _, files in os.walk(self.home.path):
            for name in files:
                if name.endswith(".tmp") or folder == self.home.at(".hybrid", "tmp"):
                    os.unlink(os.path.join(folder, name))

    def accept(self) -> None:
        for name in sorted(os.listdir(self.home.at("inbox"))):
            with open(self.home.at("inbox", name), encoding="utf-8") as file:
                job = json.load(file)
            folder = self.home.at("workflows", job["id"])
            os.makedirs(folder, 0o700, exist_ok=True)
            for copy in (self.home.at("queue", f"9-{DUE}-{job['id']}.json"), os.path.join(folder, "job.json")):
                if not os.path.exists(copy):
                    os.link(self.home.at("inbox", name), copy)
            for parts in (("queue",), ("workflows", job["id"]), ("workflows",)):
                self.home.sync_folder(*parts)
            os.unlink(self.home.at("inbox", name))

    def show(self) -> None:
        jobs = [{"id": name[len(DUE) + 3 : -5]} for name in sorted(os.listdir(self.home.at("queue")))]
        view = {"engine": None, "counts": {"total": len(jobs)}, "jobs": jobs}
        self.home.replace(json.dumps(view).encode(), "queue-state.json")

    def work(self, name: str) -> None:
        with open(self.home.at("queue", name), encoding="utf-8") as file:
            job = json.load(file)
        journal = Journal(self.home, job["id"])
        if not journal.content:
            journal.append("workflow_created", template=job["template"])
        state = fold(journal.content)
        for step in TEMPLATES[job["template"]]:
            self.step(job, step, journal, state["steps"].get(step, ["", 0]))
        if state["status"] != "completed":
            journal.append("workflow_completed")
        self.home.patiently(lambda: self.home.replace(render(journal.content), "workflows", job["id"], "state.json"))
        os.close(journal.fd)
        self.home.patiently(lambda: os.unlink(self.home.at("queue", name)))
        self.home.patiently(lambda: self.home.sync_folder("queue"))

    def step(self, job: dict[str, Any], step: str, journal: Journal, known: list[Any]) -> None:
        what, attempt = known
        while what not in ("completed", "failed"):
            attempt += 1
            if self.home.bug != "start-unwritten":
                journal.append("step_started", step=step, attempt=attempt)
            note(self.outside, "ran", job["id"], step, str(attempt))
            if self.home.bug == "start-unwritten":
                journal.append("step_started", step=step, attempt=attempt)
            what = "completed"
            if (job["template"], step) == FAILS_ALWAYS:
                what = "failed"
            elif (job["template"], step) == FAILS_ONCE and attempt == 1:
                what = "retry_scheduled"
            journal.append(f"step_{what}", step=step, attempt=attempt)
            view = render(journal.content)
            self.home.patiently(partial(self.home.replace, view, "workflows", job["id"], "state.json"))
