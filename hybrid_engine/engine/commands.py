"""Ways in for a workflow that exists: cancel, pause, resume, retry. A command is a request, left as a signal.

The engine decides and records; here only what cannot be meant is refused, by what the workflow's record says now. The
ways in for new jobs are the inbox and `files.submission`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from hybrid_engine.engine.queries import Queries
from hybrid_engine.engine.stepchoice import StepChoice
from hybrid_engine.errors import ConflictError
from hybrid_engine.model.words import FINAL_WORKFLOW
from hybrid_engine.ports.looking import Record

VERBS = ("cancel", "pause", "resume", "retry")
PATIENCE = 2.0
"""Seconds for which a job that was dropped a moment ago may be on its way into the queue."""
PAUSE = 0.01


class Signals(Protocol):
    def send(self, workflow: str, verb: str, content: dict[str, Any]) -> str:
        """Leave a signal for the engine, durably. Raises NotFoundError."""


class Commands:
    """`by` is the user who asks; it stands in the journal."""

    def __init__(
        self,
        queries: Queries,
        signals: Signals,
        by: str,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._queries = queries
        self._signals = signals
        self._by = by
        self._monotonic = monotonic
        self._sleep = sleep

    def ask(self, verb: str, workflow: str, reason: str | None = None) -> str:
        """Ask the engine for `verb`; returns the workflow's id. Raises NotFoundError, ConflictError."""
        record = self._accepted(workflow)
        refuse_what_cannot_be_meant(verb, record)
        return self._send(record, verb, {"reason": reason})

    def retry(self, workflow: str, choice: StepChoice, reason: str | None = None) -> Record:
        """Ask the engine to retry the chosen steps; returns the workflow's record as it was.

        Raises NotFoundError, for an unknown step too, and ConflictError.
        """
        record = self._may_retry(workflow, choice)
        self._send(record, "retry", {"reason": reason, **choice.as_fields()})
        return record

    def would_retry(self, workflow: str, choice: StepChoice) -> Record:
        """The record of a workflow, with only those of its steps that `retry` would run again; nothing is changed.

        Raises what `retry` does, and TemplateError when the frozen template cannot be read.
        """
        record = self._may_retry(workflow, choice)
        again = choice.running_again(record, self._queries.home.template(record["id"]))
        return {**record, "steps": {name: step for name, step in record["steps"].items() if name in again}}

    def _may_retry(self, workflow: str, choice: StepChoice) -> Record:
        record = self._accepted(workflow)
        choice.check(record)
        if choice.steps:
            choice.running_again(record, self._queries.home.template(record["id"]))
        return record

    def _send(self, record: Record, verb: str, said: dict[str, str | None]) -> str:
        content = {name: value for name, value in {"by": self._by, **said}.items() if value is not None}
        self._signals.send(record["id"], verb, content)
        return str(record["id"])

    def _accepted(self, workflow: str) -> Record:
        deadline = self._monotonic() + PATIENCE
        while True:
            record = self._queries.get(workflow)
            if record.get("accepted") is not False:
                return record
            if self._monotonic() >= deadline:
                raise ConflictError(f"{record['id']} is still in the inbox: it has not been accepted yet")
            self._sleep(PAUSE)


def refuse_what_cannot_be_meant(verb: str, record: Record) -> None:
    """Raise ConflictError when `verb` makes no sense for a workflow in this state."""
    status, name = record["status"], record["id"]
    if verb == "retry":
        StepChoice().check(record)
    elif status in FINAL_WORKFLOW:
        raise ConflictError(f"{name} is already {status}")
    elif verb != "cancel" and record.get("cancel_requested_at"):
        raise ConflictError(f"{name} is being cancelled")
    elif verb == "pause" and status == "paused":
        raise ConflictError(f"{name} is paused already")
    elif verb == "resume" and status != "paused":
        raise ConflictError(f"{name} is {status}, not paused")
