"""The thread that writes the index behind the engine's back.

`put` only appends to a queue in memory. About ten times a second, when there is something, the thread takes all of it,
keeps the last row of each workflow and writes them in one transaction. No error reaches the engine: rows are kept and
tried again (disk full), or the file is set aside and filled again from the folders (damaged, deleted, other version).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hybrid_engine.sql import reconcile, schema
from hybrid_engine.sql.index import Index
from hybrid_engine.sql.rows import Row, row_of
from hybrid_engine.sql.schema import IndexUnavailableError

if TYPE_CHECKING:
    from hybrid_engine.model.state import WorkflowState

WINDOW = 0.1
"""Seconds for which rows are gathered before they are written."""
BUSY = 50
"""With so many rows in a window there will be more: gathering goes on, because each transaction writes pages anew."""
BUSY_WINDOWS = 5
BATCH = 2000
"""So many rows are written at once, without waiting for the window to end."""
LOOK = 5.0
"""Seconds after which an idle writer looks whether somebody deleted the file."""
PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds before a failed write is tried again."""
SLICE, SPELL, REST = 25, 0.005, 3.0
"""Rebuilding goes in spells of so many seconds (a slice of so many folders at least), and rests longer after each."""

Report = Callable[[str | None], object]
"""Hears, in the writer's thread, what is wrong with the index, and None when it is well again."""

_UNFIT = (sqlite3.InterfaceError, sqlite3.IntegrityError, sqlite3.ProgrammingError, ValueError, OverflowError)
"""What a row raises that no table can hold; such a row must not keep the others out."""


class IndexWriter:
    """The index of a running engine. `source` fills it when it is new, was damaged, or was not closed in order."""

    def __init__(
        self,
        path: str,
        source: reconcile.Source | None = None,
        report: Report | None = None,
        *,
        window: float = WINDOW,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._path, self._source, self._report = path, source, report
        self._window, self._pauses = window, pauses
        self._incoming: deque[tuple[str, Any]] = deque()
        self._pending: dict[str, Row | None] = {}
        self._markers: list[threading.Event] = []
        self._wake, self._full, self._end = threading.Event(), threading.Event(), threading.Event()
        self._index: Index | None = None
        self._begun = False
        self._walk: Iterator[int] | None = None
        self._rest = 0.0
        self._failures = 0
        self._problem: str | None = None
        self._clean = False
        self._thread = threading.Thread(target=self._run, name="index-writer", daemon=True)
        self._thread.start()

    # --- called by the engine

    def put(self, workflow: str, record: Row | Mapping[str, Any] | WorkflowState | None) -> None:
        """Note the present row of a workflow (a row, a record of `state.json`, or a state); None takes it out."""
        row = record if record is None or isinstance(record, tuple) else row_of(record)
        self._incoming.append((workflow, row))
        if not self._wake.is_set():
            self._wake.set()
        if len(self._incoming) >= BATCH and not self._full.is_set():
            self._full.set()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until all that was put so far is in the file, and a rebuilding that is due has gone through."""
        marker = threading.Event()
        self._incoming.append(("", marker))
        self._full.set()
        self._wake.set()
        return marker.wait(timeout)

    def close(self, timeout: float = 10.0) -> bool:
        """Write what is left and end the thread; True when the index holds all that was put."""
        for event in (self._end, self._full, self._wake):
            event.set()
        self._thread.join(timeout)
        return self._clean

    @property
    def problem(self) -> str | None:
        """What is wrong with the index at present."""
        return self._problem

    # --- the thread

    def _run(self) -> None:
        while not self._end.is_set():
            if self._failures:
                self._end.wait(self._pauses[min(self._failures, len(self._pauses)) - 1])
            elif self._wake.wait(self._rest if self._walk else LOOK):
                self._gather_for_a_while()
            self._attempt()
        self._attempt()
        self._finish()

    def _gather_for_a_while(self) -> None:
        for _ in range(BUSY_WINDOWS):
            if self._full.wait(self._window) or len(self._incoming) < BUSY:
                return

    def _attempt(self) -> None:
        """Gather and write once. Whatever goes wrong is told, and tried again later."""
        self._wake.clear()
        self._full.clear()
        self._gather()
        try:
            all_fit = self._write_all()
        except Exception as error:  # whatever it is, the thread must live: rows are tried again, and somebody is told
            self._failures += 1
            self._failed(error)
        else:
            self._failures = 0
            if all_fit and self._walk is None:
                self._tell(None)

    def _gather(self) -> None:
        while self._incoming:
            workflow, row = self._incoming.popleft()
            if isinstance(row, threading.Event):
                self._markers.append(row)
            else:
                self._pending[workflow] = row

    def _write_all(self) -> bool:
        """Write what is pending and rebuild a little; False when there was a row that no table can hold."""
        index, all_fit = self._opened(), True
        if self._pending:
            all_fit = self._write(index, [row for row in self._pending.values() if row is not None])
            self._pending.clear()
        if self._walk is not None and not self._end.is_set():
            self._rebuild_a_little(index, self._walk)
        if self._walk is None:
            for marker in self._markers:
                marker.set()
            self._markers.clear()
        return all_fit

    def _write(self, index: Index, rows: list[Row]) -> bool:
        gone = [workflow for workflow, row in self._pending.items() if row is None]
        try:
            index.write(rows, gone)
            return True
        except _UNFIT:
            index.delete_many(gone)
        for row in rows:
            try:
                index.write([row])
            except _UNFIT as error:
                self._tell(f"the index cannot hold the row of {row[:1]!r:.150}: {error}")
        return False

    def _rebuild_a_little(self, index: Index, walk: Iterator[int]) -> None:
        start = time.monotonic()
        self._walk = None
        try:
            while (more := next(walk, None)) is not None and time.monotonic() - start < SPELL:
                pass
        except BaseException:
            self._start_walk(index)  # a generator that has raised is at its end, and would look as if all were done
            raise
        self._walk = walk if more is not None else None
        self._rest = min(REST * (time.monotonic() - start), 1.0)

    # --- the file

    def _opened(self) -> Index:
        """The index, in a session; a file that was deleted or replaced under our hands is opened anew."""
        index, certain = self._index, self._index is None
        if index is None:
            index = self._index = Index(self._path)
        elif self._begun and not index.is_replaced():
            return index
        else:
            self._begun = False
            index.reopen()
        if index.set_aside:
            self._tell(f"the index was damaged or of another version: it is now {index.set_aside}, and is rebuilt")
            index.set_aside = None
        if not (index.begin_session(_boot_id(), os.getpid()) and certain):
            self._start_walk(index)
        self._begun = True
        return index

    def _start_walk(self, index: Index) -> None:
        self._rest = 0.0
        if self._source is not None:
            self._walk = reconcile.slices(index, self._source, size=SLICE)

    def _failed(self, error: Exception) -> None:
        cause = error.__cause__ if isinstance(error, IndexUnavailableError) else error
        if not (isinstance(cause, sqlite3.Error) and schema.is_damage(cause) and self._index is not None):
            self._tell(f"the index cannot be written: {cause or error}")
            return
        self._begun = False
        try:
            self._index.discard()
        except (sqlite3.Error, OSError) as worse:
            self._tell(f"the index is damaged and cannot be replaced: {worse}")

    def _finish(self) -> None:
        """Say that nothing is missing, when that is so; the next engine will then trust the file."""
        try:
            if self._index is not None:
                if self._begun and not self._pending:
                    self._index.end_session()
                    self._clean = True
                self._index.close()
        except (sqlite3.Error, IndexUnavailableError) as error:
            self._clean = False
            self._tell(f"the index could not be closed in order: {error}")

    def _tell(self, problem: str | None) -> None:
        if problem != self._problem:
            self._problem = problem
            if self._report is not None:
                self._report(problem)


def _boot_id() -> str:
    """Which start of the machine this is."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
