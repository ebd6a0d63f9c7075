"""How the index stands on disk: tables, version stamp, and how a database file is opened, judged and set aside.

Triggers keep the counts and the labels in step with the rows, so no way of writing can forget them. A file that is
not a sound index of this version is never repaired: it is put aside (one copy is kept) and an empty one takes its
place, to be filled from the folders. Nothing here needs to survive a power cut; the folders do.
"""

from __future__ import annotations

import os
import sqlite3
from urllib.parse import quote

from hybrid_engine.errors import HybridError
from hybrid_engine.model.words import WORKFLOW_STATUSES
from hybrid_engine.sql import listing

VERSION = 1
"""Stamped as `user_version`; an index of any other version is rebuilt."""

MARK = 0x48594252
"""Stamped as `application_id`."""

ASIDE = ".broken"
_SIDES = ("", "-wal", "-shm")

TABLES = f"""
CREATE TABLE workflows (
  n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL, template TEXT, version TEXT,
  status TEXT NOT NULL, priority INTEGER, user TEXT, trigger TEXT, key TEXT, queued_at TEXT NOT NULL, due_at TEXT,
  started_at TEXT, ended_at TEXT, error TEXT, labels TEXT, bytes INTEGER);
CREATE INDEX by_age ON workflows (queued_at);
CREATE INDEX by_status ON workflows (status, queued_at);
CREATE INDEX by_template ON workflows (template, queued_at);
CREATE INDEX by_template_and_status ON workflows (template, status, queued_at);
CREATE INDEX by_user ON workflows (user, queued_at);
CREATE INDEX by_key ON workflows (key, queued_at) WHERE key IS NOT NULL;
CREATE INDEX by_end ON workflows (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX by_ending ON workflows ({listing.ENDING});
CREATE TABLE labels (
  name TEXT NOT NULL, value TEXT NOT NULL, queued_at TEXT NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY (name, value, queued_at, n)) WITHOUT ROWID;
CREATE INDEX by_label_name ON labels (name, queued_at, n);
CREATE TABLE counts (status TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
INSERT INTO counts VALUES {", ".join(f"('{status}', 0)" for status in WORKFLOW_STATUSES)};
INSERT INTO meta VALUES ('complete', '0'), ('clean', '0');

-- A workflow that was pruned while nobody told the index, and whose key was used again: another life, another row.
CREATE TRIGGER reused BEFORE INSERT ON workflows BEGIN
  DELETE FROM workflows WHERE id = new.id AND queued_at < new.queued_at;
END;
CREATE TRIGGER added AFTER INSERT ON workflows BEGIN
  UPDATE counts SET n = n + 1 WHERE status = new.status;
  INSERT OR IGNORE INTO labels SELECT key, value, new.queued_at, new.n FROM json_each(new.labels);
END;
CREATE TRIGGER moved AFTER UPDATE OF status ON workflows WHEN old.status <> new.status BEGIN
  UPDATE counts SET n = n - 1 WHERE status = old.status;
  UPDATE counts SET n = n + 1 WHERE status = new.status;
END;
CREATE TRIGGER gone AFTER DELETE ON workflows BEGIN
  UPDATE counts SET n = n - 1 WHERE status = old.status;
  DELETE FROM labels WHERE (name, value, queued_at, n) IN
    (SELECT key, value, old.queued_at, old.n FROM json_each(old.labels));
END;
PRAGMA application_id = {MARK};
PRAGMA user_version = {VERSION};
"""


class IndexUnavailableError(HybridError):
    """There is no usable index: missing, damaged or of another version. It can be rebuilt from the folders."""


def is_damage(error: sqlite3.Error) -> bool:
    """Does the error say that the file is not a sound database, or not one of ours?"""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error)


def connect(path: str, *, timeout: float = 5.0) -> sqlite3.Connection:
    """A connection that may write; the file and its tables are made when they are not there."""
    if not os.path.lexists(path):
        remove(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    connection = sqlite3.connect(
        _uri(path, "rw"), uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 16777216"):
            connection.execute(f"PRAGMA {pragma}")
        if not _stamped(connection):
            _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    """All tables or none; another process may be doing the same."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} COMMIT;")
    except sqlite3.OperationalError:
        connection.rollback()
        if not _stamped(connection):
            raise


def connect_reader(path: str) -> sqlite3.Connection:
    """A connection that only reads and never makes the file. Raises IndexUnavailableError."""
    if not os.path.isfile(path):
        raise IndexUnavailableError(
            f"there is no index at {path}: a running daemon makes it, or `hybrid doctor --repair`"
        )
    mode = "ro" if os.access(os.path.dirname(path), os.W_OK) or os.path.exists(path + "-wal") else "ro&immutable=1"
    try:
        connection = sqlite3.connect(
            _uri(path, mode), uri=True, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        try:
            if _stamped(connection):
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
    except sqlite3.Error as error:
        raise IndexUnavailableError(f"the index {path} cannot be read: {error}") from None
    raise IndexUnavailableError(f"the index {path} is empty")


def _stamped(connection: sqlite3.Connection) -> bool:
    """True for a sound index of this version, False for an empty file; raises DatabaseError for all else."""
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if mark == MARK and version == VERSION:
        connection.execute("SELECT value FROM meta WHERE name = 'complete'").fetchone()
        return True
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        error = sqlite3.DatabaseError(f"it is of version {version}, not {VERSION}")
        error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
        raise error
    return False


def set_aside(path: str) -> str | None:
    """Move a file that cannot be used out of the way; only the last such file is kept. Returns its new name."""
    aside = path + ASIDE
    try:
        os.replace(path, aside)
    except FileNotFoundError:
        return None
    finally:
        for side in _SIDES[1:]:
            _unlink(path + side)
    return aside


def remove(path: str) -> None:
    """Delete the index. A `-wal` left alone would be played into the next database of that name."""
    for side in _SIDES:
        _unlink(path + side)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _uri(path: str, mode: str) -> str:
    return f"file:{quote(os.path.abspath(path))}?mode={mode}"
