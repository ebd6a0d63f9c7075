"""Ids and names: the one place that says what may become part of a path.

Every id, name and key that ends up in a file name passes through here. This module stays light (no dataclasses, no
typing): `hybrid enqueue` imports it in a process that lives for twenty milliseconds.
"""

from __future__ import annotations

from hybrid_engine.errors import InputError

MAX_NAME = 64
MAX_ID = 128
MAX_KEY = 512
MAX_USER = 40
ANONYMOUS = "anonymous"

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_WORD = frozenset(_LETTERS + _DIGITS + "_")
_NAME = _WORD | {"-"}
_ID = _NAME | {"."}


def is_name(text: object) -> bool:
    """A template, step, parameter or pool: a letter, digit or `_`, then letters, digits, `_`, `-`; at most 64."""
    return isinstance(text, str) and 0 < len(text) <= MAX_NAME and text[0] in _WORD and _NAME.issuperset(text)


def is_id(text: object) -> bool:
    """A workflow id: as a name, but up to 128 characters and with single dots inside."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= MAX_ID
        and text[0] in _WORD
        and text[-1] != "."
        and ".." not in text
        and _ID.issuperset(text)
    )


def check_name(text: object, what: str = "name") -> str:
    """Return `text` when it is a name; raise InputError otherwise."""
    if not is_name(text):
        raise InputError(f"{text!r:.80} is not a {what}: use letters, digits, '_' and '-', at most {MAX_NAME}")
    return str(text)


def check_id(text: object) -> str:
    """Return `text` when it is a workflow id; raise InputError otherwise."""
    if not is_id(text):
        raise InputError(f"{text!r:.80} is not a workflow id: use letters, digits, '_', '-' and '.', at most {MAX_ID}")
    return str(text)


def check_user(text: object) -> str:
    """Return `text` when it is a user id; raise InputError otherwise. A user id becomes part of a workflow id."""
    if not (isinstance(text, str) and 0 < len(text) <= MAX_USER and text[0] in _WORD and _NAME.issuperset(text)):
        raise InputError(f"{text!r:.80} is not a user id: use letters, digits, '_' and '-', at most {MAX_USER}")
    return text


def workflow_id(user: str, moment: str, suffix: str) -> str:
    """`user-<user>-<YYYYMMDDTHHMMSSffffffZ>-<suffix>`; ids made later by the same user sort later.

    `moment` is a stamp as made by `model.stamps.stamp`; the suffix makes the id unique.
    """
    digits = moment.replace("-", "").replace(":", "").replace(".", "")
    return f"user-{user}-{digits}-{suffix}"


def keyed_workflow_id(user: str, template: str, key: str) -> str:
    """The id of the one workflow that `key` names: a function of user, template and key, so nobody has to remember it.

    The scope of a key is (user, template); the workflow's folder is the record that the key has been used.
    """
    from hashlib import sha256

    digest = sha256("\0".join((user, template, key)).encode()).hexdigest()
    return f"user-{user}-key-{digest[:24]}"


def queue_name(priority: int, due_at: str, workflow: str) -> str:
    """The name of a job's file in `queue/`, `<9-priority>-<due>-<id>.json`: sorted names are in the order of work."""
    digits = due_at.replace("-", "").replace(":", "").replace(".", "")
    return f"{9 - priority}-{digits}-{workflow}.json"


def parse_queue_name(name: str) -> tuple[int, str, str] | None:
    """(priority, due as in the name, workflow id), or None when `name` is not the name of a queued job."""
    parts = name.split("-", 2)
    if len(parts) != 3 or not name.endswith(".json") or len(parts[0]) != 1 or parts[0] not in _DIGITS:
        return None
    rank, due, rest = parts
    workflow = rest[:-5]
    if len(due) != 22 or not is_id(workflow):
        return None
    return 9 - int(rank), due, workflow


def step_address(step: str, turn: int = 0, item: int | None = None) -> str:
    """How one activation of a step is named in journals, states and paths: `<step>[.<turn>][.<item>]`."""
    if item is not None:
        return f"{step}.{turn}.{item}"
    return f"{step}.{turn}" if turn else step
