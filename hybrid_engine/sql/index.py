"""The index: one row for every workflow, finished or not; answers `list`, counts and the question what may be pruned.

One `Index` is one connection: use it from one thread at a time, and open as many as there are threads. Writing goes in
few large statements, because the interpreter lock is given up and fought for again around each. A row is never
overwritten by an older one (`seq`), so a late reader of folders cannot undo what the engine has just written.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hybrid_engine.model.words import FINAL_WORKFLOW
from hybrid_engine.sql import listing, reconcile, schema
from hybrid_engine.sql.reconcile import Progress, Source
from hybrid_engine.sql.rows import FIELDS, Row, row_of
from hybrid_engine.sql.schema import IndexUnavailableError

_CHUNKS = (256, 64, 16, 4, 1)
_INSERT = f"INSERT INTO workflows ({', '.join(FIELDS)}) VALUES "
_CONFLICT = """ ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, status = excluded.status,
 started_at = excluded.started_at, ended_at = excluded.ended_at, error = excluded.error, bytes = NULL
 WHERE excluded.seq >= seq AND excluded.queued_at = queued_at"""
_ROW = f"({', '.join('?' * len(FIELDS))})"
_UPSERTS = {size: _INSERT + ", ".join([_ROW] * size) + _CONFLICT for size in _CHUNKS}
_FINISHED = "SELECT id, template, status, queued_at, ended_at, bytes, n FROM workflows WHERE ended_at "
_IDS = "(SELECT value FROM json_each(?))"


class Index:
    """The index at `path`, for writing; made when missing, and made anew when it is damaged or of another version.

    `fresh` is True when it was made just now and has to be rebuilt from the folders; `set_aside` is where a file that
    could not be used was put.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.read_only = False
        self.set_aside: str | None = None
        self.fresh = False
        self._inode = 0
        self._connection = self._open_or_replace()

    @classmethod
    def open_reader(cls, path: str) -> Index:
        """The index for reading only. It is never made here: IndexUnavailableError when there is no sound one."""
        index = cls.__new__(cls)
        index.path, index.read_only, index.set_aside, index.fresh = path, True, None, False
        index._connection = schema.connect_reader(path)
        index._inode = _inode(path)
        return index

    def _open_or_replace(self) -> sqlite3.Connection:
        self.fresh = not os.path.lexists(self.path)
        try:
            connection = schema.connect(self.path)
        except sqlite3.DatabaseError as error:
            if not schema.is_damage(error):
                raise
            self.set_aside, self.fresh = schema.set_aside(self.path), True
            connection = schema.connect(self.path)
        self._inode = _inode(self.path)
        return connection

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_replaced(self) -> bool:
        """Has the file been deleted, or another put in its place, since it was opened here?"""
        return _inode(self.path) != self._inode

    def reopen(self) -> None:
        """Open what now lies at the path; what could not be used is set aside, and `fresh` says so."""
        self._connection.close()
        if self.read_only:
            self._connection = schema.connect_reader(self.path)
            self._inode = _inode(self.path)
        else:
            self._connection = self._open_or_replace()

    def discard(self) -> None:
        """Set the file aside as damaged and begin an empty one."""
        self._connection.close()
        self.set_aside = schema.set_aside(self.path)
        self._connection = self._open_or_replace()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Errors of SQLite, as those who know nothing of SQLite can handle them."""
        try:
            yield
        except sqlite3.Error as error:
            raise IndexUnavailableError(f"the index {self.path} cannot be {what}: {error}") from error

    # --- writing

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def write(self, rows: Sequence[Row], gone: Sequence[str] = ()) -> None:
        """Put rows in and take ids out, all of it or nothing. Raises sqlite3.Error."""
        with self._transaction() as connection:
            start = 0
            for size in _CHUNKS:
                while len(rows) - start >= size:
                    part = itertools.chain.from_iterable(rows[start : start + size])
                    connection.execute(_UPSERTS[size], tuple(part))
                    start += size
            if gone:
                connection.execute(f"DELETE FROM workflows WHERE id IN {_IDS}", (json.dumps(list(gone)),))

    def upsert_many(self, records: Iterable[Any]) -> None:
        """Put in the rows of records (as of `state.json`), of states, or rows as made by `row_of`."""
        rows = [record if isinstance(record, tuple) else row_of(record) for record in records]
        if rows:
            with self._told("written"):
                self.write(rows)

    def delete_many(self, ids: Iterable[str]) -> None:
        """Take workflows out; those that are not there are no error."""
        gone = list(ids)
        if gone:
            with self._told("written"):
                self.write((), gone)

    def set_bytes(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Remember what finished workflows take on disk; forgotten when one of them moves again."""
        with self._told("written"), self._transaction() as connection:
            connection.executemany("UPDATE workflows SET bytes = ?2 WHERE id = ?1", list(sizes))

    # --- reading

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._told("read"):
            if self.read_only and self.is_replaced():
                self.reopen()
            return self._connection.execute(sql, values).fetchall()

    def query(
        self,
        *,
        status: str | Sequence[str] | None = None,
        template: str | None = None,
        label: listing.Labels = None,
        user: str | None = None,
        key: str | None = None,
        since: str | None = None,
        until: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[dict[str, Any]]:
        """Workflows that fit all filters, newest first. `since` and `until` are stamps, held against `queued_at`.

        Go on behind the last one with `after=row["cursor"]`. Raises ValueError for a cursor that is none.
        """
        sql, values = listing.select(
            statuses=[status] if isinstance(status, str) else status,
            equal=[(name, value) for name, value in (("template", template), ("user", user), ("key", key)) if value],
            label=label,
            since=since,
            until=until,
            after=after,
            limit=limit,
        )
        return [_as_dict(found) for found in self._all(sql, values)]

    def get(self, workflow: str) -> dict[str, Any] | None:
        """The row of one workflow."""
        found = self._all(f"SELECT {listing.SELECTED} FROM workflows w WHERE id = ?", (workflow,))
        return _as_dict(found[0]) if found else None

    def statuses(self, ids: Sequence[str]) -> dict[str, str]:
        """The status of those of `ids` that are in the index."""
        return dict(self._all(f"SELECT id, status FROM workflows WHERE id IN {_IDS}", (json.dumps(list(ids)),)))

    def meant(self, part: str, most: int) -> list[str]:
        """Up to `most` ids that end with `part`; when none does, that begin with it, or contain it. Reads ids only."""
        for term, values in listing.parts_of_ids(part):
            found = self._all(f"SELECT id FROM workflows WHERE {term} ORDER BY id LIMIT ?", (*values, most))
            if found:
                return [row[0] for row in found]
        return []

    def alike(self, endings: Collection[str]) -> list[str]:
        """All ids with one of these endings (`rules.shortids.ending`)."""
        sql = f"SELECT id FROM workflows WHERE {listing.ENDING} IN {_IDS}"
        return [row[0] for row in self._all(sql, (json.dumps(list(endings)),))]

    def ids_after(self, n: int, limit: int) -> list[tuple[int, str]]:
        """(row number, id) of the next rows behind number `n`: a walk over everything in bounded memory."""
        return self._all("SELECT n, id FROM workflows WHERE n > ? ORDER BY n LIMIT ?", (n, limit))

    def counts(self) -> dict[str, int]:
        """How many workflows there are in each status; zeroes included. Costs the same however many there are."""
        return dict(self._all("SELECT status, n FROM counts"))

    def finished_before(
        self,
        moment: str | None = None,
        *,
        status: str | Sequence[str] | None = None,
        template: str | None = None,
        newest_first: bool = False,
        after: tuple[str, int] | None = None,
        limit: int = 500,
    ) -> list[dict[str, Any]]:
        """Finished workflows that ended before `moment`, oldest end first: id, template, status, ended_at, bytes, n.

        Go on behind the last one with `after=(row["ended_at"], row["n"])`.
        """
        terms: list[str] = ["IS NOT NULL"]
        values: list[Any] = []
        wanted = sorted(FINAL_WORKFLOW) if status is None else [status] if isinstance(status, str) else list(status)
        terms.append(f"+status IN ({', '.join('?' * len(wanted))})")
        values += wanted
        for term, value in (("ended_at < ?", moment), ("+template = ?", template)):
            if value:
                terms.append(term)
                values.append(value)
        if after:
            terms.append(f"(ended_at, n) {'<' if newest_first else '>'} (?, ?)")
            values += after
        way = "DESC" if newest_first else "ASC"
        sql = f"{_FINISHED}{' AND '.join(terms)} ORDER BY ended_at {way}, n {way} LIMIT ?"
        names = ("id", "template", "status", "queued_at", "ended_at", "bytes", "n")
        return [dict(zip(names, found)) for found in self._all(sql, [*values, limit])]

    # --- the life of the index

    def _meta(self, name: str) -> str | None:
        found = self._all("SELECT value FROM meta WHERE name = ?", (name,))
        return found[0][0] if found else None

    def _set_meta(self, **values: str) -> None:
        with self._told("written"), self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(values.items()))

    @property
    def complete(self) -> bool:
        """False while it is being rebuilt: a workflow that is not in it may exist all the same."""
        return self._meta("complete") == "1"

    @property
    def clean(self) -> bool:
        """Did the engine that wrote last end in order, with all it knew in here?"""
        return self._meta("clean") == "1" and self.complete

    def set_complete(self, complete: bool) -> None:
        self._set_meta(complete="1" if complete else "0")

    def begin_session(self, boot_id: str, pid: int) -> bool:
        """An engine begins to write. True when the one before ended in order, so that nothing can be missing."""
        was_clean = self.clean
        # Synced, unlike all else here: after a power cut an index that lost its last rows must not look clean.
        self._connection.execute("PRAGMA synchronous = FULL")
        self._set_meta(clean="0", boot_id=boot_id, pid=str(pid))
        self._connection.execute("PRAGMA synchronous = NORMAL")
        return was_clean

    def end_session(self) -> None:
        """The engine has written all it knew."""
        self._set_meta(clean="1")

    def check(self) -> str | None:
        """What SQLite finds wrong with the file, None when it is sound. Reads all of it."""
        try:
            found = self._all("PRAGMA quick_check(1)")[0][0]
        except IndexUnavailableError as error:
            return str(error)
        return None if found == "ok" else str(found)

    def rebuild(self, source: Source, progress: Progress | None = None) -> None:
        """Bring the index in line with the folders, all at once; `progress` hears how many have been looked at."""
        for done in reconcile.slices(self, source, keep_queued=False, size=2000):
            if progress:
                progress(done)

    def reconcile(self, source: Source) -> Iterator[int]:
        """As `rebuild`, in small slices: the caller may pause between them, and an engine may write meanwhile.

        Yields how many folders and rows have been looked at. Memory is bounded by the length of the queue.
        """
        return reconcile.slices(self, source)


def open_index(path: str, *, write: bool = False) -> Index:
    """The index at `path`, for reading (IndexUnavailableError when there is none) or for writing (made if need be)."""
    return Index(path) if write else Index.open_reader(path)


def _as_dict(found: tuple[Any, ...]) -> dict[str, Any]:
    row = dict(zip(listing.COLUMNS, found))
    row["labels"] = json.loads(row["labels"]) if row["labels"] else {}
    row["cursor"] = listing.cursor_of(row["queued_at"], found[-1])
    return row


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return -1
