"""Short ids: the shortest ending by which one workflow is told from all others, and which ids a part of one means.

Endings, because ids that the engine makes begin alike (user, then the moment) and end with what is random. A short id
that is shown must lead back to its workflow: endings go before beginnings, and these before what stands inside.
"""

from __future__ import annotations

from collections.abc import Iterable

SHORTEST = 6
WHOLE = 8
"""Ids up to this length are shown as they are."""


def ending(workflow: str) -> str:
    """What may clash: ids with different endings need not be compared."""
    return workflow[-SHORTEST:]


def shorten(ids: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """The short form of each of `ids`; `others` are at least all ids that share an ending with one of them."""
    wanted = list(ids)
    alike: dict[str, set[str]] = {ending(workflow): {workflow} for workflow in wanted}
    for other in (*wanted, *others):
        if (group := alike.get(ending(other))) is not None:
            group.add(other)
    return {workflow: _shortest(workflow, alike[ending(workflow)] - {workflow}) for workflow in wanted}


def _shortest(workflow: str, others: set[str]) -> str:
    if len(workflow) <= WHOLE:
        return workflow
    for length in range(SHORTEST, len(workflow)):
        text = workflow[-length:]
        if text[0] not in "-." and not any(other.endswith(text) for other in others):  # a dash would be an option
            return text
    return workflow


def meant(ids: Iterable[str], part: str, most: int) -> list[str]:
    """Up to `most` ids that end with `part`; when none does, that begin with it; when none does, that contain it."""
    ends, begins, inside = set(), set(), set()
    for workflow in ids:
        if workflow.endswith(part):
            ends.add(workflow)
        elif workflow.startswith(part):
            begins.add(workflow)
        elif part in workflow:
            inside.add(workflow)
    return sorted(ends or begins or inside)[:most]
