"""The daemon's health: what is wrong with its parts, the disk and the machine; and whether new work may begin.

Problems stand in `queue-state.json` for all to see, and in the log once. What they mean for work is the gate's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from loguru import logger

from hybrid_engine.engine.gate import Gate
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.stamps import stamp
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Syncer

PROBE = 1.0
FORGET_SHORTAGE = 10.0


class Health:
    """`probe` writes and syncs something small: it tells whether the disk works again. `changes` counts changes."""

    def __init__(
        self,
        reactor: Reactor,
        background: Syncer,
        clock: Callable[[], datetime],
        gate: Gate,
        probe: Callable[[], None],
    ) -> None:
        self.problems: dict[str, str] = {}
        self.changes = 0
        self.changed: Callable[[], None] = lambda: None
        self._reactor = reactor
        self._background = background
        self._clock = clock
        self.gate = gate
        self._probe = probe

    def problem(self, name: str, text: str | None) -> None:
        """Something is wrong with a part of the daemon, or, with None, well again."""
        if text is None:
            if self.problems.pop(name, None) is not None:
                logger.info("{} works again", name)
                self._note()
        elif self.problems.get(name) != text:
            self.problems[name] = text
            logger.error("{}: {}", name, text)
            self._note()

    def _note(self) -> None:
        self.changes += 1
        self.changed()

    def disk(self, error: BaseException | None) -> None:
        """The disk fails. That it works again is believed when a probe says so."""
        if error is None or "disk" in self.problems:
            return
        text = getattr(error, "strerror", None) or str(error)
        self.problems["disk"] = f"{text}, since {stamp(self._clock())}; nothing new is started until it works again"
        self._note()
        logger.error("the disk fails ({}): nothing is lost, nothing new is started until it works again", error)
        self.gate.shut("disk")
        self._reactor.call_later(PROBE, self._probe_disk)

    def _probe_disk(self) -> None:
        def done(error: BaseException | None) -> None:
            if error is not None:
                self._reactor.call_later(PROBE, self._probe_disk)
                return
            self.problem("disk", None)
            self.gate.shut("disk", False)

        self._background.submit(self._probe, done)

    def space(self, free: int, wanted: int) -> None:
        """How much room there is: with less than is wanted nothing new is started, so that what runs can end."""
        if free >= wanted:
            self.problem("space", None)
        elif "space" not in self.problems:
            self.problem("space", f"{free} bytes are free, {wanted} are wanted; nothing new is started until then")
        self.gate.shut("space", "space" in self.problems)

    def inodes(self, free: int, total: int) -> None:
        """How many files can still be made; file systems that do not count them say 0 of 0."""
        short = total > 0 and free < 100
        text = f"only {free} more files can be made on this file system" if short else None
        self.problem("inodes", text)

    def log_size(self, size: int, most: int) -> None:
        """How much waits for a checkpoint."""
        text = f"{size} bytes wait for a checkpoint; nothing new is taken until one succeeds" if size > most else None
        self.problem("log", text)
        self.gate.shut("log", text is not None)

    def short_of(self, error: OSError, attempt: Attempt) -> None:
        """An attempt could not be begun; it is tried again."""
        if "machine" not in self.problems:
            logger.bind(workflow=attempt.workflow, step=attempt.step, attempt=attempt.number).warning(
                "cannot be begun now and is tried again: {}", error
            )
        self.problems["machine"] = f"an attempt could not be begun at {stamp(self._clock())}: {error}"
        self._note()
        self._reactor.call_later(FORGET_SHORTAGE, lambda: self.problem("machine", None))
