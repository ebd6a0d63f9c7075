"""How the index is brought in line with the folders: filled from nothing, or mended after a stop that was not clean.

A walk in slices, each of a few milliseconds, so that a running daemon can do it between other things; memory does not
grow with the number of workflows. Where a folder and a row disagree the folder is right. The walk may be broken off
anywhere: the index says `complete` only when one went through.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from hybrid_engine.model.words import FINAL_WORKFLOW
from hybrid_engine.sql.rows import Row, row_of

if TYPE_CHECKING:
    from hybrid_engine.sql.index import Index

Progress = Callable[[int], object]
SLICE = 200
SORTED = 100_000


class Source(Protocol):
    """Where workflows can be read from when the index does not have them."""

    def ids(self) -> Iterator[str]:
        """The ids of all workflows that have a folder, in any order."""

    def exists(self, workflow: str) -> bool:
        """Has the workflow a folder?"""

    def unfinished(self) -> Collection[str]:
        """The ids that have a file in the queue: their rows are kept by the engine that drives them."""

    def record(self, workflow: str) -> Mapping[str, Any] | None:
        """What `state.json` says, or should say; None when nothing can be known of it."""


def slices(index: Index, source: Source, *, keep_queued: bool = True, size: int = SLICE) -> Iterator[int]:
    """Put in what is missing or behind, take out what has no folder any more; yields how many have been looked at.

    With `keep_queued`, rows of workflows in the queue are left alone when they are there: the engine writes them.
    """
    index.set_complete(False)
    done = 0
    for done in _folders(index, source, source.unfinished() if keep_queued else frozenset(), size):
        yield done
    for rows in _rows(index, source, size):
        yield done + rows
    index.set_complete(True)


def _folders(index: Index, source: Source, kept: Collection[str], size: int) -> Iterator[int]:
    """Folders without a row, or with a row that is not final although nothing in the queue keeps it."""
    names, done = _in_order(source), 0
    while part := list(islice(names, size)):
        known = index.statuses(part)
        index.upsert_many(
            row
            for name in part
            if (status := known.get(name)) not in FINAL_WORKFLOW and not (status and name in kept)
            if (row := _row(source, name))
        )
        done += len(part)
        yield done


def _in_order(source: Source) -> Iterator[str]:
    """All ids, sorted, in bounded memory: one pass over the folders for each so many of them.

    Ids mostly begin with the same user and go on with the moment. Rows that come in the order of time are put at the
    end of every B-tree; in the order of the disk each would change, and so write, a page of its own in each of them.
    """
    last = ""
    while part := nsmallest(SORTED, (name for name in source.ids() if name > last)):
        yield from part
        last = part[-1]


def _row(source: Source, workflow: str) -> Row | None:
    record = source.record(workflow)
    try:
        return row_of(record) if record is not None else None
    except (KeyError, AttributeError, TypeError):
        return None  # readable, but not one of ours: `doctor` tells


def _rows(index: Index, source: Source, size: int) -> Iterator[int]:
    """Rows without a folder: pruned or removed by hand while nobody told the index."""
    last, done = 0, 0
    while part := index.ids_after(last, size):
        index.delete_many([name for _, name in part if not source.exists(name)])
        last, done = part[-1][0], done + len(part)
        yield done
