"""Looking at a home from outside of its engine, as `ports.looking.Looking` asks for it. Nothing is written here.

A record comes from the journal, folded, or from its view when that is as new as the last line of a long one; other
views are used where being a little late does no harm. What an engine would keep up to date in `queue-state.json` and in
the index is made up for here while none runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from typing import Any

from hybrid_engine.errors import HomeError, JournalError
from hybrid_engine.files import atomic, dropbox, heartbeat, journal, lock, queue, queueview, views
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import overlay
from hybrid_engine.files.records import Records, folded, queued_ids, read_state, view_of_long, workflow_ids
from hybrid_engine.model.ids import is_id
from hybrid_engine.model.jsontext import decode
from hybrid_engine.ports.looking import LogFile, Record, Rows

HEAD = 1 << 20
"""Bytes of the view in which its head must end; it grows with the slots and the problems, not with the queue."""
SLACK_NS = 10_000_000_000
"""How long before the index was last written a row may have been on its way to it."""
STALE_NS = 30_000_000_000
"""How long after a change of the queue its view may still be on its way, also while the disk is busy."""
CHUNK = 2_000
REQUESTS = frozenset({"cancel_requested", "workflow_paused", "workflow_resumed", "workflow_reopened"})
"""Events that people ask for."""


class FileReader:
    """The folders of one home, for looking."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._batches: dict[tuple[str, int, int], dict[str, Record]] = {}

    # --- one workflow

    def engine(self) -> dict[str, Any] | None:
        try:
            return lock.holder(self.layout)
        except HomeError:
            return None  # where the lock cannot be opened for writing, nobody can be the engine

    def record(self, workflow: str) -> Record | None:
        logged = self._logged(workflow)
        record = view_of_long(self.layout, workflow, logged)
        if record is not None:
            return self._with_progress(record)
        reading = journal.parse(overlay.read_whole(self.layout, workflow, logged))
        if reading.damage:
            raise JournalError(f"{self.layout.journal(workflow)}: {reading.damage} (see `hybrid doctor`)")
        state = folded(reading)
        if state is not None:
            return self._with_progress(views.state_record(state))
        try:
            return views.queued_record(queue.read_job(self.layout.job(workflow)))
        except FileNotFoundError:
            return None

    def _logged(self, workflow: str) -> list[bytes]:
        """What the log has beyond the journal."""
        return overlay.lines_of(self.layout, workflow, engine_lives=self.engine() is not None)

    def _with_progress(self, record: Record) -> Record:
        """What running steps say of themselves stands in a view of its own."""
        running = {name: step for name, step in record["steps"].items() if step["status"] == "running"}
        if running:
            try:
                said = decode(atomic.read(self.layout.progress(record["id"])))["steps"]
                for name, step in running.items():
                    if name in said:
                        step["progress"] = {"percent": said[name]["percent"], "message": said[name]["message"]}
            except (OSError, ValueError, KeyError, TypeError):
                pass
        return record

    def status(self, workflow: str) -> str | None:
        record = read_state(self.layout, workflow)
        return None if record is None else str(record["status"])

    def dropped(self, workflow: str) -> Record | None:
        try:
            found = decode(atomic.read(dropbox.inbox_path(self.layout, workflow)))
            return found if isinstance(found, dict) else None
        except (OSError, ValueError):
            return self._in_batches().get(workflow)

    def _in_batches(self) -> dict[str, Record]:
        """The requests in files of `enqueue_many` that lie in the inbox; each file is read once."""
        found: dict[str, Record] = {}
        seen: dict[tuple[str, int, int], dict[str, Record]] = {}
        with os.scandir(self.layout.inbox) as entries:
            for entry in entries:
                if entry.name.startswith("batch-") and entry.name.endswith(".jsonl"):
                    try:
                        status = entry.stat(follow_symlinks=False)
                        mark = (entry.name, status.st_ino, status.st_size)
                        seen[mark] = self._batches.get(mark) or _requests(atomic.read(entry.path))
                    except OSError:
                        continue
                    found.update(seen[mark])
        self._batches = seen
        return found

    def rejected(self, workflow: str) -> str | None:
        mark = f'"{workflow}"'.encode()
        for name in os.listdir(self.layout.rejected):
            if name == workflow + ".json" or (name.startswith("batch-") and name.endswith(".jsonl")):
                path = os.path.join(self.layout.rejected, name)
                try:
                    if mark in atomic.read(path):
                        return _reason(decode(atomic.read(path + ".reason.json")))
                except (OSError, ValueError, AttributeError):
                    continue
        return None

    def quarantined(self, workflow: str) -> str | None:
        path = os.path.join(self.layout.quarantine, workflow)
        try:
            return f"{_reason(decode(atomic.read(os.path.join(path, 'reason.json'))))}; see {path}"
        except (OSError, ValueError, AttributeError):
            return None

    def in_flight(self) -> Collection[str]:
        # The inbox first: a job that moves on between the two looks is then seen in the queue.
        found = {name[:-5] for name in os.listdir(self.layout.inbox) if name.endswith(".json")}
        found.update(self._in_batches())
        found.update(queued_ids(self.layout))
        return found

    def troubles(self) -> list[str]:
        if self.engine() is None:
            return []
        said = heartbeat.read(self.layout)
        hanging = said.problem() if said is not None else None
        told = [f"daemon: {hanging}"] if hanging is not None else []
        return told + (["queue-state.json: " + late] if (late := self._late_view()) is not None else [])

    def _late_view(self) -> str | None:
        """Is the view of the queue much older than the queue? An old view of a queue at rest is none too late."""
        head = self.queue_head()
        try:
            mtime = queueview.queue_mtime(self.layout)
            if head.get("queue_mtime_ns") == mtime or time.time_ns() - mtime < STALE_NS:
                return None
            queued = len(queued_ids(self.layout))
        except OSError as error:
            return f"{error.filename} cannot be looked at: {error.strerror}"
        shown = (head.get("counts") or {}).get("total")
        if shown == queued:
            return None
        return f"it is late: it shows {shown or 0} jobs as of {head.get('updated_at')}, and {queued} are in the queue"

    def inbox(self) -> dict[str, int]:
        with os.scandir(self.layout.inbox) as entries:
            waiting = sum(not (entry.name.startswith(".") or entry.is_dir(follow_symlinks=False)) for entry in entries)
        reasons = sum(name.endswith(".reason.json") for name in os.listdir(self.layout.rejected))
        return {"waiting": waiting, "rejected": reasons}

    def ids(self) -> set[str]:
        return {*workflow_ids(self.layout), *self.in_flight()}

    def requests(self, workflow: str) -> list[dict[str, Any]]:
        asked = []
        for entry in journal.find(overlay.read_whole(self.layout, workflow, self._logged(workflow)), REQUESTS):
            by, reason = getattr(entry.event, "by", None), getattr(entry.event, "reason", None)
            asked.append({"type": entry.event.TYPE, "at": entry.at, "by": by, "reason": reason})
        return asked

    def template(self, workflow: str) -> dict[str, Any]:
        try:
            found = decode(atomic.read(self.layout.template(workflow)))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def log_files(self, workflow: str, step: str, attempt: int) -> list[LogFile]:
        folder = self.layout.attempt(workflow, step, attempt)
        return [
            LogFile(step, attempt, stream, os.path.join(folder, stream + ".log")) for stream in ("stdout", "stderr")
        ]

    def attempts(self, workflow: str, step: str) -> list[int]:
        folder = os.path.dirname(self.layout.attempt(workflow, step, 1))
        try:
            return sorted(int(name) for name in os.listdir(folder) if name.isdigit())
        except OSError:
            return []

    # --- the queue

    def queue_head(self) -> dict[str, Any]:
        if self.engine() is None:
            return {name: value for name, value in self._made().items() if name != "jobs"}
        try:
            head, sign, _ = atomic.read(self.layout.queue_state, HEAD).partition(b',\n  "jobs": ')
            found = decode(head + b"}") if sign else None
        except (OSError, ValueError):
            found = None
        return found if isinstance(found, dict) else {}

    def queue_jobs(self, limit: int | None) -> list[dict[str, Any]]:
        if self.engine() is None:
            jobs: list[dict[str, Any]] = self._made()["jobs"]
            return jobs[:limit]
        return [decode(line) for line in _first_lines(self._view_bytes(), limit)]

    def queue_place(self, workflow: str) -> tuple[int, dict[str, Any]] | None:
        if self.engine() is None:
            jobs = self._made()["jobs"]
            return next(((at, job) for at, job in enumerate(jobs) if job["id"] == workflow), None)
        data = self._view_bytes()
        body = data.find(b'"jobs": [\n')
        mark = b'"id": "%b"' % workflow.encode()
        found = data.find(mark, body)
        while found >= 0:
            start, end = data.rfind(b"\n", 0, found) + 1, data.find(b"\n", found)
            entry = decode(data[start:end].rstrip(b","))
            if entry.get("id") == workflow:
                return data[body:start].count(b"\n") - 1, entry
            found = data.find(mark, end)
        return None

    def _made(self) -> dict[str, Any]:
        return queueview.read_current(self.layout, dropbox.stamp_now())

    def _view_bytes(self) -> bytes:
        try:
            return atomic.read(self.layout.queue_state)
        except OSError:
            return b""

    # --- the index

    def unindexed(self, rows: Rows | None) -> list[Record]:
        records = Records(self.layout)
        if rows is None or not rows.complete:
            ids: Collection[str] = list(workflow_ids(self.layout))
        else:
            ids = self._changed_since_index(rows)
        return [record for workflow in ids if (record := records.record(workflow)) is not None]

    def _changed_since_index(self, rows: Rows) -> set[str]:
        """Jobs in the queue that have no row; after an engine that was killed also what it had no time to write.

        Then folders that changed at about the time of the index, or later, are looked at. Both times come from one
        file system, so they can be held against each other.
        """
        queued = list(queued_ids(self.layout))
        found: set[str] = set()
        counts = rows.counts()
        if len(queued) != sum(counts.get(status, 0) for status in ("queued", "running", "waiting", "paused")):
            for start in range(0, len(queued), CHUNK):
                part = queued[start : start + CHUNK]
                found.update(set(part) - rows.statuses(part).keys())
        if rows.clean:
            return found
        limit = max(map(_mtime, (self.layout.index, self.layout.index + "-wal"))) - SLACK_NS
        with os.scandir(self.layout.workflows) as entries:
            for entry in entries:
                if is_id(entry.name) and _mtime(entry.path) >= limit:
                    found.add(entry.name)
        return found


def _mtime(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _requests(data: bytes) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for line in data.split(b"\n"):
        try:
            request = decode(line)
            found[request["id"]] = request
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _reason(found: dict[str, Any]) -> str:
    return str(found.get("reason") or found.get("message") or "rejected")


def _first_lines(view: bytes, limit: int | None) -> Iterator[bytes]:
    _, sign, body = view.partition(b'"jobs": [\n')
    start = 0
    while sign and (limit is None or limit > 0) and body.startswith(b"{", start):
        end = body.find(b"\n", start)
        yield body[start:end].rstrip(b",")
        start, limit = end + 1, None if limit is None else limit - 1
