"""Large outputs of steps: each in a file of its attempt, `output.json`, named by the event that tells of it.

The file and its name are durable when `write` returns, so before the commit that names it; what a crash leaves in
between is a file that nothing names. It is never changed after that: `read` gives what the step left, or an error.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

from hybrid_engine.errors import InputError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout, is_inside
from hybrid_engine.model.jsontext import decode
from hybrid_engine.model.words import Json

NAME = "output.json"


def write(layout: Layout, workflow: str, step: str, number: int, data: bytes) -> dict[str, Json]:
    """Keep the output, as JSON, durably; returns the reference to it. Raises OSError. Any thread.

    The workflow's folder must be there: that of one which was removed is not made again.
    """
    home = layout.workflow(workflow)
    folder = layout.attempt(workflow, step, number)
    above = [os.path.dirname(os.path.dirname(folder)), os.path.dirname(folder), folder]
    for path in above:
        atomic.make_folder(path)
    path = os.path.join(folder, NAME)
    atomic.replace(path, data)
    for path_of_names in (*reversed(above), home, layout.workflows):
        atomic.sync_folder(path_of_names)
    return {"path": os.path.relpath(path, home), "bytes": len(data), "sha256": sha256(data).hexdigest()}


def read(layout: Layout, workflow: str, reference: dict[str, Any]) -> Json:
    """The output that a reference names. Raises InputError when it is not there any more, or is another one."""
    home = layout.workflow(workflow)
    path = os.path.join(home, str(reference.get("path")))
    size, checksum = reference.get("bytes"), reference.get("sha256")
    if not (is_inside(path, os.path.join(home, "steps")) and isinstance(size, int)):
        raise InputError(f"its reference names no output: {reference!r:.200}")
    try:
        data = atomic.read(path, size + 1)
    except OSError as error:
        raise InputError(f"its file cannot be read: {error.strerror}", file=path) from None
    if len(data) != size or sha256(data).hexdigest() != checksum:
        raise InputError("its file was changed: the checksum is not that of what the step left", file=path)
    try:
        return decode(data)
    except ValueError as error:
        raise InputError(f"its file is not JSON: {error}", file=path) from None
