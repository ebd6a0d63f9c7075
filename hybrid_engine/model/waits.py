"""What something waits for, as a value. Views and the command line make a sentence of it (`sentence`).

Waits for a slot, a pool, a due time, a retry, the disk or a person's help are not journaled: they follow from the state
and from what else runs. Light module.
"""

from __future__ import annotations

SLOT = "slot"
POOL = "pool"
DUE = "due"
RETRY = "retry"
PERSON = "person"
DISK = "disk"
DAEMON = "daemon"


class Wait:
    """`kind` is one of the words above; `name` that of a pool, `until` a stamp, `reason` a text for a person."""

    __slots__ = ("kind", "name", "reason", "until")

    def __init__(self, kind: str, name: str | None = None, until: str | None = None, reason: str | None = None) -> None:
        self.kind = kind
        self.name = name
        self.until = until
        self.reason = reason

    def as_record(self) -> dict[str, str]:
        """The JSON object of a view: what is not said is left out."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in found.items() if value is not None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wait) and self.as_record() == other.as_record()

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self.until, self.reason))

    def __repr__(self) -> str:
        return f"Wait({self.as_record()})"


FOR_A_SLOT = Wait(SLOT)
FOR_A_DAEMON = Wait(DAEMON)


def sentence(wait: Wait | None) -> str | None:
    """As `queue-state.json` and the command line say it: "waits for …"."""
    if wait is None:
        return None
    if wait.kind == SLOT:
        return "a free slot"
    if wait.kind == POOL:
        return f"pool {wait.name}"
    if wait.kind == DUE:
        return f"due time {wait.until}"
    if wait.kind == RETRY:
        return f"retry at {wait.until}"
    if wait.kind == PERSON:
        return f"a person: {wait.reason}" if wait.reason else "a person"
    if wait.kind == DISK:
        return f"the disk: {wait.reason}"
    return "a daemon" if wait.kind == DAEMON else wait.kind
