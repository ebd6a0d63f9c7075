"""Why does it not run? One line for one workflow, from its record, its template and the view of the queue.

The first thing that holds it up is told, with who or what would have to move; numbers are those of the view, so they
may be a moment late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hybrid_engine.model.durations import SECOND, spoken
from hybrid_engine.model.stamps import Stamp, seconds_between
from hybrid_engine.model.waits import FOR_A_SLOT, POOL, SLOT
from hybrid_engine.model.words import FINAL_STEP, FINAL_WORKFLOW
from hybrid_engine.ports.looking import Looking, Record

NAMED = 3
"""So many holders of slots, pools and needs are named; the rest is counted."""
START_ONE = "start one with `hybrid start`"
HARMLESS = frozenset({"index", "watcher"})
"""Problems of the daemon that make something late but keep nothing from running."""


class Reasons:
    """Reasons at one moment: `now`."""

    def __init__(self, home: Looking, now: Stamp) -> None:
        self._home = home
        self._now = now
        self._engine = home.engine()

    def of(self, record: Record) -> str:
        """The line for one workflow."""
        status = str(record["status"])
        if status in FINAL_WORKFLOW:
            return self._ended(record)
        if record.get("accepted") is False:
            return (
                f"is in the inbox and not accepted yet{'' if self._engine else f': no daemon is running; {START_ONE}'}"
            )
        if record.get("cancel_requested_at"):
            return f"cancelling: its running steps are being ended{self._no_daemon()}"
        if status == "paused":
            return f"paused{self._by(record, 'workflow_paused')}: continue it with `hybrid resume {record['id']}`"
        if status == "queued" and record["due_at"] > self._now:
            return f"due at {record['due_at']}, {self._in(record['due_at'])}{self._no_daemon()}"
        if self._engine is None:
            return f"no daemon is running: {START_ONE}"
        problem = next(self._problems(str(record["id"])), None)
        if problem:
            return problem
        return self._queued(record) if status == "queued" else self._under_way(record)

    def _no_daemon(self) -> str:
        return "" if self._engine is not None else f"; no daemon is running: {START_ONE}"

    def _ended(self, record: Record) -> str:
        error = record.get("error") or {}
        said = f": {error['message']}" if isinstance(error, Mapping) and error.get("message") else ""
        asked = self._by(record, "cancel_requested") if record["status"] == "cancelled" else f" at {record['ended_at']}"
        return f"{record['status']}{asked}{said}".split("\n", 1)[0]

    def _by(self, record: Record, type_: str) -> str:
        """When, by whom and why somebody asked for what a workflow is now."""
        asked = last_request(self._home, str(record["id"]), type_)
        if asked is None:
            return f" at {record.get('ended_at') or record.get('updated_at')}"
        by = f" by {asked['by']}" if asked["by"] else ""
        return f" at {asked['at']}{by}" + (f" ({asked['reason']})" if asked["reason"] else "")

    def _problems(self, workflow: str) -> Iterator[str]:
        """The daemon's problems that hold this workflow up. A name of two words is about one workflow."""
        for problem in map(str, self._head().get("problems") or []):
            subject, _, of = problem.partition(": ")[0].partition(" ")
            if subject not in HARMLESS and of in ("", workflow):
                yield problem

    # --- not started

    def _queued(self, record: Record) -> str:
        ahead, entry = self._home.queue_place(record["id"]) or (0, {})
        wait = entry.get("wait") or FOR_A_SLOT.as_record()
        if wait["kind"] == POOL:
            return self._pool_full(wait["name"], record)
        if wait["kind"] != SLOT:
            return f"waits for {entry['waits_for']}"
        behind = f"; {_count(ahead, 'job')} ahead in the queue" if ahead else ""
        return f"{self._slots()}{behind}"

    def _slots(self) -> str:
        engine = self._head()
        running = engine.get("running") or []
        slots = engine.get("slots") or len(running)
        if len(running) < slots:
            return "starts at once: a slot is free"
        return f"all {_count(slots, 'slot')} {'is' if slots == 1 else 'are'} busy: {_named(map(self._held, running))}"

    def _held(self, attempt: Mapping[str, Any]) -> str:
        since = attempt.get("since")
        return f"{attempt.get('workflow')}/{attempt.get('step')}" + (f" for {self._for(since)}" if since else "")

    def _pool_full(self, pool: str, record: Record) -> str:
        holders = [name for name in self._holders(pool) if name != record["id"]]
        return f"pool {pool} is full" + (f": held by {_named(iter(holders))}" if holders else "")

    def _holders(self, pool: str) -> list[str]:
        """Who holds places in a pool: workflow ids, and `<workflow>/<step>` for pools of steps."""
        return [str(name) for name in (self._head().get("pools") or {}).get(pool) or []]

    def _head(self) -> dict[str, Any]:
        """What the engine says of itself in the view of the queue."""
        return self._home.queue_head().get("engine") or {}

    # --- started

    def _under_way(self, record: Record) -> str:
        steps: dict[str, Any] = record["steps"]
        told = [self._step(name, step) for name, step in steps.items() if step["status"] in ("running", "retrying")]
        ready = list(self._ready(record))
        if told:
            return _named(iter(told), "; ") + (f"; {_listed(ready)} wait{'s' * (len(ready) == 1)} too" if ready else "")
        if not ready:
            return "is about to end"
        entry = (self._home.queue_place(record["id"]) or (0, {}))[1]
        wait = entry.get("wait") or {}
        if wait.get("kind") == POOL:
            return f"step {ready[0]}: {self._pool_full(wait['name'], record)}"
        return f"step {_listed(ready)}: {self._slots()}"

    def _step(self, name: str, step: Mapping[str, Any]) -> str:
        if step["status"] == "retrying":
            said = (step.get("error") or {}).get("message")
            because = f", because attempt {step['attempt']} failed: {said}".split("\n", 1)[0] if said else ""
            return f"step {name} is retried at {step['retry_at']}, {self._in(step['retry_at'])}{because}"
        progress = step.get("progress") or {}
        done = f", {progress['percent']:g} % done" if progress.get("percent") is not None else ""
        number = f" (attempt {step['attempt']})" if step["attempt"] > 1 else ""
        since = f" for {self._for(step['started_at'])}" if step.get("started_at") else ""
        return f"step {name} runs{since}{number}{done}"

    def _ready(self, record: Record) -> Iterator[str]:
        """Pending steps whose needs have all ended."""
        definitions = self._home.template(record["id"]).get("steps") or {}
        steps = record["steps"]
        for name, step in steps.items():
            needs = (definitions.get(name) or {}).get("needs") or []
            if step["status"] == "pending" and all(steps[need]["status"] in FINAL_STEP for need in needs):
                yield name

    # --- how long

    def _in(self, moment: Stamp) -> str:
        seconds = seconds_between(self._now, moment)
        return f"in {_spoken(seconds)}" if seconds > 0 else "which is now"

    def _for(self, since: Stamp) -> str:
        return _spoken(seconds_between(since, self._now))


def last_request(home: Looking, workflow: str, type_: str) -> dict[str, Any] | None:
    """The latest request of this type ("cancel_requested", "workflow_paused" …): who asked, when and why."""
    return next((one for one in reversed(home.requests(workflow)) if one["type"] == type_), None)


def _spoken(seconds: float) -> str:
    return spoken(max(0, round(seconds * SECOND)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _listed(names: list[str]) -> str:
    return _named(iter(names))


def _named(names: Iterator[str], between: str = ", ") -> str:
    found = list(names)
    more = f"{between}and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return between.join(found[:NAMED]) + more
