"""Options that several commands have, and what they mean: which home, `--json`, moments and statuses as people write
them, and completion of names. No command reads the environment by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_engine.errors import HybridError, InputError

if TYPE_CHECKING:
    from hybrid_engine.engine.queries import Queries
    from hybrid_engine.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def complete_template(incomplete: str) -> list[str]:
    import os

    try:
        names = os.listdir(settings().layout.templates)
    except (HybridError, OSError):
        return []
    return sorted({name.rsplit(".", 1)[0] for name in names if name.startswith(incomplete)})


def complete_workflow(incomplete: str) -> list[str]:
    try:
        found = queries()
        return [row["id"] for row in found.page(limit=200) if row["id"].startswith(incomplete)]
    except (HybridError, OSError):
        return []


Template = Annotated[str, typer.Argument(help="The name of a template.", autocompletion=complete_template)]
Workflow = Annotated[
    str, typer.Argument(help="A workflow id, or its beginning or end.", autocompletion=complete_workflow)
]
Workflows = Annotated[
    list[str], typer.Argument(help="Workflow ids, or their beginnings or ends.", autocompletion=complete_workflow)
]


def settings() -> Settings:
    """The settings of the home this command is about."""
    from hybrid_engine.settings import load

    return load()


def queries(found: Settings | None = None) -> Queries:
    from hybrid_engine.opening import open_queries

    return open_queries(found or settings())


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
        raise InputError(f"{text!r:.40} is neither a duration (2h, 1d) nor a moment (2026-11-20T07:36:00Z)") from None


def statuses_of(texts: list[str] | None) -> list[str] | None:
    """Statuses, given by several options or with commas."""
    from hybrid_engine.model.nearest import did_you_mean
    from hybrid_engine.model.words import WORKFLOW_STATUSES

    found = [word.strip() for text in texts or [] for word in text.split(",")]
    for word in found:
        if word not in WORKFLOW_STATUSES:
            raise InputError(f"{word!r:.40} is not a status", hint=did_you_mean(word, WORKFLOW_STATUSES))
    return found or None
