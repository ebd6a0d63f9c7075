"""How a list is asked of the index: filters become one SELECT whose order comes from an index, so that the first page
costs the same with ten rows and with a million.

Each status gets a SELECT of its own, limited before they are joined: a status IN (…) would have to sort all it finds.
Pages go on behind a cursor (moment and row number), not by OFFSET.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hybrid_engine.rules.shortids import SHORTEST

COLUMNS = (
    "id", "template", "version", "status", "priority", "user", "trigger", "key", "queued_at", "due_at", "started_at",
    "ended_at", "error", "labels",
)  # fmt: skip
ENDING = f"substr(id, {-SHORTEST})"
"""The end of an id, by which short ids are told apart. The text of an index: an index made before it was there is as
right, and slower."""
SELECTED = ", ".join(f"w.{name}" for name in (*COLUMNS, "n"))

Labels = str | Mapping[str, str | None] | Sequence[str] | None


def label_pairs(label: Labels) -> list[tuple[str, str | None]]:
    """Labels asked for, as (name, value); a value of None asks only that the label is there. "a=b" and "a" are read."""
    if not label:
        return []
    if isinstance(label, Mapping):
        return list(label.items())
    texts = [label] if isinstance(label, str) else label
    return [(name, value if sign else None) for name, sign, value in (text.partition("=") for text in texts)]


def cursor_of(queued_at: str, n: int) -> str:
    """Where a page ended: the next one begins behind it."""
    return f"{queued_at}~{n}"


def read_cursor(cursor: str) -> tuple[str, int]:
    """The parts of a cursor. Raises ValueError for a text that is none."""
    moment, sign, number = cursor.rpartition("~")
    if not sign:
        raise ValueError(f"{cursor!r:.80} is not a cursor")
    return moment, int(number)


def parts_of_ids(part: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The ways in which `part` may stand for an id, best first: a condition, which only needs ids, and its values."""
    if len(part) >= SHORTEST:
        yield f"{ENDING} = ? AND substr(id, ?) = ?", (part[-SHORTEST:], -len(part), part)
    else:
        yield "substr(id, ?) = ?", (-len(part), part)
    yield "id >= ? AND id < ?", (part, part + "\x7f")
    yield "instr(id, ?) > 0", (part,)


def select(
    *,
    statuses: Sequence[str] | None,
    equal: Iterable[tuple[str, str]],
    label: Labels,
    since: str | None,
    until: str | None,
    after: str | None,
    limit: int,
) -> tuple[str, list[Any]]:
    """The SELECT and its parameters; newest first. `equal` are (column, value) pairs."""
    pairs = label_pairs(label)
    order = "l" if pairs else "w"
    source = "labels l CROSS JOIN workflows w ON w.n = l.n" if pairs else "workflows w"
    terms: list[str] = []
    values: list[Any] = []

    def also(term: str, *more: Any) -> None:
        terms.append(term)
        values.extend(more)

    for column, value in equal:
        also(f"w.{column} = ?", value)
    for number, (name, wanted) in enumerate(pairs):
        _label_terms(also, number, name, wanted)
    if since:
        also(f"{order}.queued_at >= ?", since)
    if until:
        also(f"{order}.queued_at < ?", until)
    if after:
        also(f"({order}.queued_at, {order}.n) < (?, ?)", *read_cursor(after))
    if pairs and statuses:  # the labels give the order, so a list of statuses is a mere filter
        also(f"w.status IN ({', '.join('?' * len(statuses))})", *statuses)
        statuses = None
    return _joined(source, order, terms, values, statuses, limit)


def _label_terms(also: Any, number: int, name: str, wanted: str | None) -> None:
    """The first label drives the search; the others are looked up for each row found."""
    if number == 0:
        also("l.name = ?", name)
        if wanted is not None:
            also("l.value = ?", wanted)
        return
    value = "" if wanted is None else " AND x.value = ?"
    term = f"EXISTS (SELECT 1 FROM labels x WHERE x.name = ?{value} AND x.queued_at = l.queued_at AND x.n = l.n)"
    also(term, name, *([] if wanted is None else [wanted]))


def _joined(
    source: str, order: str, terms: list[str], values: list[Any], statuses: Sequence[str] | None, limit: int
) -> tuple[str, list[Any]]:
    by = f"ORDER BY {order}.queued_at DESC, {order}.n DESC LIMIT ?"
    parts, all_values = [], []
    for status in statuses or (None,):
        where = [*(["w.status = ?"] if status else []), *terms]
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        parts.append(f"SELECT {SELECTED} FROM {source}{condition} {by}")
        all_values += [*([status] if status else []), *values, limit]
    if len(parts) == 1:
        return parts[0], all_values
    union = " UNION ALL ".join(f"SELECT * FROM ({part})" for part in parts)
    return f"SELECT * FROM ({union}) ORDER BY queued_at DESC, n DESC LIMIT ?", [*all_values, limit]
