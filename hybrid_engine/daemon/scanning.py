"""Scanning the inbox: which files lie there, which of them are at work, and when to look again.

Cheap however full the inbox is: files at work are not looked at again, and while some wait to be read the next scan
comes only after a multiple of the time that the last one took.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from loguru import logger

from hybrid_engine.daemon.settling import Settling
from hybrid_engine.ports.intake import Found, Inbox, Look
from hybrid_engine.ports.reactor import Reactor

SHARE = 10.0
"""While files wait to be read, the next scan comes only after so many times what the last one took."""


class Scanner:
    """`look` is called when it is time to scan again; `answer` for each workflow whose bell was rung.

    `settle` is in seconds: half of it lies between two looks at files that are not complete.
    """

    def __init__(
        self,
        inbox: Inbox[Any],
        reactor: Reactor,
        settle: float,
        look: Callable[[], None],
        answer: Callable[[str], None],
    ) -> None:
        self.settling = Settling()
        self.is_due = False
        self._inbox = inbox
        self._reactor = reactor
        self._settle = settle
        self._look = look
        self._answer = answer
        self._files: deque[Found] = deque()
        self._at_work: set[str] = set()
        self._folders: set[str] = set()
        self._not_before = 0.0
        self._is_timed = False
        self._is_recovered = False

    @property
    def has_files(self) -> bool:
        return bool(self._files)

    @property
    def is_idle(self) -> bool:
        return not (self._files or self._at_work or self.settling)

    def next(self) -> Found:
        """The oldest file that is not at work; it is from now on, until `release`, `later` or `forget`."""
        return self._files.popleft()

    def scan(self) -> None:
        """Find what is new, unless the last scan was a moment ago and there is enough to do: then `is_due` stays."""
        began = self._reactor.monotonic()
        if self._files and began < self._not_before:
            self.is_due = True
            return
        self.is_due = False
        try:
            if not self._is_recovered:
                self._inbox.recover()
                self._is_recovered = True
            look = self._inbox.scan(self._at_work)
        except OSError as error:
            logger.error("the inbox cannot be read: {}", error.strerror)
            return
        self._take_in(look, began)
        now = self._reactor.monotonic()
        self._not_before = now + SHARE * (now - began)

    def _take_in(self, look: Look, now: float) -> None:
        for workflow in look.bells:
            self._answer(workflow)
        self.settling.keep_only(look.names)
        self._tell_folders(look.folders)
        for item in look.found:
            if self.settling.is_early(item.name, item.mark, now):
                self._look_soon()
            else:
                self._at_work.add(item.name)
                self._files.append(item)

    def _tell_folders(self, names: list[str]) -> None:
        for name in names:
            if name not in self._folders:
                logger.warning("{} in the inbox is a folder, and stays where it is: drop job files", name)
        self._folders = set(names)

    def later(self, name: str) -> None:
        """Look at this file again when it has had time to change."""
        self._at_work.discard(name)
        self._look_soon()

    def forget(self, name: str) -> None:
        """The file has left the inbox."""
        self._at_work.discard(name)
        self.settling.forget(name)

    def start_afresh(self) -> None:
        """Nothing is at work."""
        self._files.clear()
        self._at_work.clear()

    def _look_soon(self) -> None:
        if not self._is_timed:
            self._is_timed = True
            self._reactor.call_later(self._settle / 2, self._timed)

    def _timed(self) -> None:
        self._is_timed = False
        self._look()
