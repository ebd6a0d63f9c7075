"""Frozen definitions that nobody uses any more: finding and dropping them.

A definition in `.hybrid/templates` is used while a workflow has it as its `template.json` (a second link to the same
file), a queued job names its version, or a by-name pointer says that it is the present version of a template. How
definitions are frozen and thawed is files.templates.
"""

from __future__ import annotations

import json
import os
import time

from hybrid_engine.errors import HybridError
from hybrid_engine.files import atomic, queue, records
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.ids import is_name

GRACE = 3600.0
"""Seconds for which a definition is kept after its last link went or came: somebody may just be accepting a job."""


def versions(layout: Layout) -> list[str]:
    """The versions that are frozen here."""
    try:
        names = os.listdir(layout.frozen)
    except FileNotFoundError:
        return []
    return sorted(name[:-5] for name in names if name.endswith(".json") and is_name(name[:-5]))


def pointers(layout: Layout) -> dict[str, str | None]:
    """Template name to the version that its by-name pointer names; None for a pointer that cannot be read."""
    try:
        names = os.listdir(layout.frozen_names)
    except FileNotFoundError:
        return {}
    return {
        name[:-5]: _version(os.path.join(layout.frozen_names, name))
        for name in sorted(names)
        if name.endswith(".json") and is_name(name[:-5])
    }


def _version(path: str) -> str | None:
    try:
        version = json.loads(atomic.read(path))["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return version if is_name(version) else None


def unused(layout: Layout, grace: float = GRACE) -> list[str]:
    """The versions that nobody uses. None of them when a queued job cannot be read and might name one."""
    alone = {version for version in versions(layout) if _is_alone(layout.frozen_template(version), grace)}
    alone -= {version for version in pointers(layout).values() if version}
    if alone:
        for name in records.queued_ids(layout).values():
            try:
                alone.discard(queue.read_job(layout.queued(name)).version)
            except FileNotFoundError:
                continue
            except (HybridError, OSError):
                return []
    return sorted(alone)


def _is_alone(path: str, grace: float) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return found.st_nlink == 1 and not -grace < time.time() - found.st_ctime < grace


def drop_unused(layout: Layout, grace: float = GRACE) -> list[str]:
    """Remove the versions that nobody uses; returns them."""
    return [version for version in unused(layout, grace) if atomic.unlink_quietly(layout.frozen_template(version))]
