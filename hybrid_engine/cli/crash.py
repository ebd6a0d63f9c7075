"""What becomes of an error that nobody thought of: its traceback is kept in a file, never shown."""

from __future__ import annotations

import os


def crash_report(text: str) -> str | None:
    """Keep a traceback, in `logs/` or the temporary folder; returns where, or None when nowhere can be written."""
    import tempfile
    import time

    from hybrid_engine.settings import load

    name = f"hybrid-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.txt"
    folders = []
    try:
        folders.append(load().layout.logs)
    except Exception:
        pass  # the settings may be what is broken
    for folder in (*folders, tempfile.gettempdir()):
        path = os.path.join(folder, name)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            continue
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        return path
    return None
