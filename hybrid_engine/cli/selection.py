"""Which workflows a command is about: ids, or all that match filters; and the question whether to go on."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import typer

from hybrid_engine.cli import options
from hybrid_engine.cli.output import can_ask, note
from hybrid_engine.cli.words import count
from hybrid_engine.errors import InputError
from hybrid_engine.model.words import FINAL_WORKFLOW, WORKFLOW_STATUSES

if TYPE_CHECKING:
    from hybrid_engine.engine.queries import Queries

UNFINISHED = tuple(status for status in WORKFLOW_STATUSES if status not in FINAL_WORKFLOW)


class Choice:
    """Ids or filters, as they were given. Raises InputError when both were, or nothing."""

    def __init__(
        self,
        ids: list[str] | None,
        everything: bool,
        status: list[str] | None,
        template: str | None,
        label: list[str] | None,
        since: str | None = None,
        until: str | None = None,
    ) -> None:
        from hybrid_engine.files.dropbox import stamp_now

        self.ids = ids or []
        self.filters = options.filters(status, template, label, None, since, until, stamp_now())
        self.by_filter = everything or bool(self.filters)
        if self.ids and self.by_filter:
            raise InputError("give ids, or --all and filters, not both")
        if not self.ids and not self.by_filter:
            raise InputError("which workflows? give ids, --all, or filters such as --status and --template")


def matching(choice: Choice, queries: Queries, possible: Collection[str], verb: str) -> list[str]:
    """The ids of all workflows that match the filters and that `verb` can be done to, oldest first."""
    asked = choice.filters.get("status") or list(possible)
    wanted = [status for status in asked if status in possible]
    if not wanted:
        raise InputError(f"cannot {verb} workflows that are {' or '.join(asked)}: only {', '.join(possible)}")
    rows = queries.each(**{**choice.filters, "status": wanted})
    return [row["id"] for row in rows][::-1]


def confirmed(question: str, yes: bool) -> bool:
    """Ask on a terminal, unless told not to; elsewhere nobody can answer, and the command line is the word."""
    if yes or not can_ask():
        return True
    if typer.confirm(question, err=True):
        return True
    note("nothing was done")
    return False


def chosen(choice: Choice, queries: Queries, possible: Collection[str], verb: str, yes: bool) -> list[str] | None:
    """The ids to go on with; None when somebody said no. Says how many a filter has found."""
    if not choice.by_filter:
        return choice.ids
    ids = matching(choice, queries, possible, verb)
    note(f"{verb}: {count(len(ids), 'workflow')}")
    if ids and not confirmed(f"{verb.capitalize()} {count(len(ids), 'workflow')}?", yes):
        return None
    return ids
