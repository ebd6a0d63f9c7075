"""Opening a home for those who look and ask: the command line and `Client`. What makes a daemon is in `bootstrap`.

Apart from it, because a `hybrid list` must not load what a daemon is made of. The heavier adapters are imported when
they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hybrid_engine.engine.commands import Commands
from hybrid_engine.engine.queries import Queries
from hybrid_engine.errors import HybridError
from hybrid_engine.files import dropbox
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.place import check_is_home
from hybrid_engine.files.reader import FileReader
from hybrid_engine.settings import Settings

if TYPE_CHECKING:
    from hybrid_engine.ports.looking import Rows


def open_queries(settings: Settings) -> Queries:
    """All ways to look at a home. Raises HomeError when there is none."""
    layout = settings.layout
    check_is_home(layout, ours=False)
    return Queries(FileReader(layout), lambda: open_rows(layout), dropbox.stamp_now)


def open_commands(settings: Settings, queries: Queries, by: str | None = None) -> Commands:
    """All ways to ask for something to be done to a workflow."""
    return Commands(queries, _Dropbox(settings.layout), by or settings.user)


def open_rows(layout: Layout) -> Rows | None:
    """The index for reading, or None when there is no sound one."""
    from hybrid_engine.sql.index import Index

    try:
        return Index.open_reader(layout.index)
    except HybridError:
        return None


class _Dropbox:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def send(self, workflow: str, verb: str, content: dict[str, Any]) -> str:
        return dropbox.send_signal(self._layout, workflow, verb, content)
