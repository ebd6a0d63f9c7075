"""The step from format 1 of a home, which has no commit log, to format 2. Light module."""

from __future__ import annotations

import os

from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout


def take_up(layout: Layout) -> None:
    """Make the home one of format 2, durably, before its log is written to: older programs refuse it from then on.

    Raises OSError. The caller holds the lock.
    """
    if not os.path.isdir(layout.log):
        atomic.make_folder(layout.log)
    atomic.sync_folder(layout.private)  # also when it was there: whoever made it may not have lived to sync it
    if atomic.read(layout.format, 64).strip() == b"1":
        atomic.write_atomic(layout.format, b"2\n")
