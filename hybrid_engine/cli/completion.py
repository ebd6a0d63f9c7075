"""What the shell offers when TAB is pressed. Nothing here may fail: who cannot be answered gets no offers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hybrid_engine.model.words import FINAL_WORKFLOW, WORKFLOW_STATUSES

if TYPE_CHECKING:
    from hybrid_engine.model.template import Template

Offers = list[str | tuple[str, str]]
OFFERED = 200
"""So many of the newest workflows are offered."""


def _safely(found: Callable[..., Offers]) -> Callable[..., Offers]:
    def offers(ctx: Any, incomplete: str) -> Offers:
        try:
            return found(ctx, incomplete)
        except Exception:
            return []

    offers.__annotations__ = {"ctx": Any, "incomplete": str}
    return offers


def _beginning(words: Iterable[str], incomplete: str, before: str = "") -> Offers:
    return [before + word for word in words if word.startswith(incomplete)]


def _workflows(statuses: Iterable[str] | None) -> Callable[..., Offers]:
    """Short ids, and whole ones for who has begun one, with what they are; only those in `statuses`."""

    @_safely
    def offers(ctx: Any, incomplete: str) -> Offers:
        from hybrid_engine.cli import options

        queries = options.queries()
        rows = queries.page(status=sorted(statuses) if statuses is not None else None, limit=OFFERED)
        given = set(ctx.params.get("workflows") or ()) if ctx is not None else set()
        short = queries.short_ids(row["id"] for row in rows)
        found: Offers = []
        for row in rows:
            about = f"{row['template']}, {row['status']}"
            names = [short[row["id"]], *([row["id"]] if incomplete else [])]
            found += [(name, about) for name in names if name.startswith(incomplete) and name not in given][:1]
        return found

    return offers


any_workflow = _workflows(None)
unfinished = _workflows(set(WORKFLOW_STATUSES) - FINAL_WORKFLOW)
finished = _workflows(FINAL_WORKFLOW)
paused = _workflows({"paused"})
can_pause = _workflows({"queued", "running", "waiting"})
can_retry = _workflows({"failed", "cancelled"})


@_safely
def templates(ctx: Any, incomplete: str) -> Offers:
    from hybrid_engine.cli import options

    names = os.listdir(options.settings().layout.templates)
    stems = sorted({name.rsplit(".", 1)[0] for name in names if name.endswith((".yaml", ".yml", ".json"))})
    return _beginning(stems, incomplete)


@_safely
def statuses(ctx: Any, incomplete: str) -> Offers:
    """One of several with commas is completed, too."""
    before, sign, last = incomplete.rpartition(",")
    return _beginning(WORKFLOW_STATUSES, last, before + sign)


@_safely
def params(ctx: Any, incomplete: str) -> Offers:
    """`name=` of the template that stands before; behind the sign, its choices."""
    template = _template_of(ctx)
    name, sign, value = incomplete.partition("=")
    if not sign:
        specs = template.params.items()
        return [(f"{known}=", spec.description or spec.type) for known, spec in specs if known.startswith(name)]
    spec = template.params[name]
    choices = [str(choice) for choice in spec.choices or (["true", "false"] if spec.type == "boolean" else [])]
    return _beginning(choices, value, f"{name}=")


def _template_of(ctx: Any) -> Template:
    from hybrid_engine.cli import options
    from hybrid_engine.files.templates import TemplateStore

    # Behind an option that still wants its value, the words before it are not told apart into arguments.
    name = ctx.params.get("template") or next(word for word in ctx.args if not word.startswith("-"))
    return TemplateStore(options.settings().layout).load(name)


@_safely
def steps(ctx: Any, incomplete: str) -> Offers:
    from hybrid_engine.cli import options

    record = options.queries().get(ctx.params.get("workflow") or ctx.params["workflows"][0])
    return [(name, step["status"]) for name, step in record["steps"].items() if name.startswith(incomplete)]


@_safely
def streams(ctx: Any, incomplete: str) -> Offers:
    from hybrid_engine.cli.logs import STREAMS

    return _beginning(STREAMS, incomplete)


@_safely
def columns(ctx: Any, incomplete: str) -> Offers:
    from hybrid_engine.cli.listing import COLUMNS

    before, sign, last = incomplete.rpartition(",")
    return _beginning(COLUMNS, last, before + sign)


@_safely
def orders(ctx: Any, incomplete: str) -> Offers:
    from hybrid_engine.cli.listing import ORDERS

    return _beginning([*ORDERS, *(f"-{name}" for name in ORDERS)], incomplete)
