"""The short way of a plain `hybrid enqueue …`: the standard library's cheapest parts, and as few modules as will do.

It does what the `enqueue` command in `cli.jobs` does, through the same `submission`, and gives up (None) before
anything is written whenever something is unusual: an option it does not know, a template that is not in the pointer
cache or has changed, anything wrong that deserves a good message. Light module: no typer, no json, no re.
"""

from __future__ import annotations

import os
import sys

from hybrid_engine.cli.arguments import labels_of, params_of
from hybrid_engine.errors import HybridError
from hybrid_engine.files import atomic, submission
from hybrid_engine.files.place import check_is_home, paths_from
from hybrid_engine.model.jsontext import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from hybrid_engine.files.layout import Layout

_ONCE = {"--priority": "priority", "--delay": "delay", "--at": "at", "--key": "key", "--user": "user"}
_MANY = {"-p": "params", "--param": "params", "-l": "labels", "--label": "labels"}


def enqueue(argv: list[str], environ: Mapping[str, str]) -> int | None:
    """Do it and return the exit code, or None with nothing done."""
    try:
        asked = parse(argv)
        place = paths_from(environ, os.getcwd()) if asked is not None else None
        if asked is None or place is None:
            return None
        layout, user = place
        check_is_home(layout)
        found = frozen_template(layout, asked["template"])
        if found is None:
            return None
        request, job = submission.prepare(asked, found[0], found[1], trigger="cli", user=user, coerce=True)
    except (HybridError, OSError):
        return None
    try:
        submission.submit(layout, request, job)
    except HybridError as error:
        sys.stderr.write(f"hybrid: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"hybrid: cannot enqueue: {error.strerror} ({error.filename})\n")
        return 1
    sys.stdout.write(job.id + "\n")
    return 0


def parse(argv: list[str]) -> dict[str, Any] | None:
    """The request of the arguments behind `enqueue`; None when there is more to them than is known here."""
    raw: dict[str, Any] = {}
    many: dict[str, list[str]] = {}
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            if "template" in raw:
                return None
            raw["template"] = word
            continue
        name, sign, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if not sign:
            value = next(words, "")
        if name in _MANY:
            many.setdefault(_MANY[name], []).append(value)
        elif name in _ONCE and value and _ONCE[name] not in raw:
            raw[_ONCE[name]] = value
        else:
            return None
    if "priority" in raw:
        if len(raw["priority"]) != 1 or raw["priority"] not in "0123456789":
            return None
        raw["priority"] = int(raw["priority"])
    if "params" in many:
        raw["params"] = params_of(many["params"])
    if "labels" in many:
        raw["labels"] = labels_of(many["labels"])
    return raw if "template" in raw else None


def frozen_template(layout: Layout, name: str) -> tuple[dict[str, Any], str] | None:
    """(frozen template, version) when the pointer cache knows the template file as it lies there now."""
    try:
        pointer = decode(atomic.read(layout.frozen_name(name)))
        found = os.stat(os.path.join(layout.home, pointer["path"]))
        if (found.st_mtime_ns, found.st_size) != (pointer["mtime_ns"], pointer["size"]):
            return None
        version = pointer["version"]
        return decode(atomic.read(layout.frozen_template(version))), version
    except (OSError, ValueError, KeyError, TypeError):
        return None
