"""Options that several commands have, and what they mean: which home, `--json`, ids, the filters of `list`, moments
and statuses as people write them. No command reads the environment by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybrid_engine.cli import completion
from hybrid_engine.errors import InputError

if TYPE_CHECKING:
    from hybrid_engine.engine.queries import Queries
    from hybrid_engine.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Template = Annotated[str, typer.Argument(help="The name of a template.", autocompletion=completion.templates)]
Workflow = Annotated[
    str, typer.Argument(help="A workflow id, or any unique part of one.", autocompletion=completion.any_workflow)
]
User = Annotated[str | None, typer.Option(help="The requesting user; else HYBRID_USER.")]

All = Annotated[bool, typer.Option("--all", help="Select all eligible workflows.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", "-s", help="Only these statuses. May be repeated.", autocompletion=completion.statuses),
]
OfTemplate = Annotated[
    str | None,
    typer.Option("--template", "-t", help="Only workflows of this template.", autocompletion=completion.templates),
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", "-l", help="Only with this label: name=value, or name. May be repeated.")
]
Since = Annotated[str | None, typer.Option(help="Only those enqueued since: 2h, 1d, or a timestamp.")]
Until = Annotated[str | None, typer.Option(help="Only those enqueued before: 2h, 1d, or a timestamp.")]


def settings() -> Settings:
    """The settings of the home this command is about."""
    from hybrid_engine.settings import load

    return load()


def queries(found: Settings | None = None) -> Queries:
    from hybrid_engine.opening import open_queries

    return open_queries(found or settings())


def filters(
    status: list[str] | None,
    template: str | None,
    label: list[str] | None,
    user: str | None,
    since: str | None,
    until: str | None,
    now: str,
) -> dict[str, Any]:
    """The filters that were given, as `Queries.page` and `Queries.each` take them."""
    pairs = [text.partition("=") for text in label or []]
    found = {
        "status": statuses_of(status),
        "template": template,
        "labels": {name: value if sign else None for name, sign, value in pairs} or None,
        "user": user,
        "since": moment_of(since, now) if since else None,
        "until": moment_of(until, now) if until else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def moment_of(text: str, now: str) -> str:
    """A stamp of "2h" (so long ago), "2026-11-20" or a whole moment; without an offset it is local time."""
    from datetime import UTC, datetime, timedelta

    from hybrid_engine.model.durations import microseconds
    from hybrid_engine.model.stamps import moment, stamp

    try:
        return stamp(moment(now) - timedelta(microseconds=microseconds(text)))
    except (ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(text)
        return stamp((found if found.tzinfo else found.astimezone()).astimezone(UTC))
    except (ValueError, OverflowError):
        raise InputError(
            f"{text!r:.40} is neither a duration (2h, 1d) nor a timestamp (2026-11-20T07:36:00Z)"
        ) from None


def statuses_of(texts: list[str] | None) -> list[str] | None:
    """Statuses, given by several options or with commas."""
    from hybrid_engine.model.words import WORKFLOW_STATUSES

    return words_of(texts, WORKFLOW_STATUSES, "a status")


def words_of(texts: list[str] | None, known: Any, what: str) -> list[str] | None:
    """Words out of `known`, given by several options or with commas. Raises InputError for another one."""
    from hybrid_engine.model.nearest import did_you_mean

    found = [word.strip() for text in texts or [] for word in text.split(",")]
    for word in found:
        if word not in known:
            hint = did_you_mean(word, known) or "one of: " + ", ".join(known)
            raise InputError(f"{word!r:.40} is not {what}", hint=hint)
    return found or None
