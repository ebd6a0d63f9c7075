"""Jobs: what was asked (a request, as dropped) and what was accepted (a job, as it lies in `queue/` and `job.json`).

Light on purpose (no dataclasses, no typing): `hybrid enqueue` reads and writes these in a twenty-millisecond process.
"""

from __future__ import annotations

from hybrid_engine.model.ids import ANONYMOUS

FORMAT = 1
"""Of job files written by us. A larger number than this is refused: it comes from a newer program."""

REQUEST_FIELDS = ("template", "params", "priority", "delay", "at", "key", "labels", "user", "id", "format", "trigger")


class Job:
    """An accepted job: everything is checked, defaulted and resolved. The record until the journal begins."""

    __slots__ = (  # noqa: RUF023 - in the order in which people want to read them in a job file
        "id", "template", "version", "params", "priority", "queued_at", "due_at", "key", "labels", "user", "trigger",
        "source", "steps", "parent",
    )  # fmt: skip

    def __init__(
        self,
        id: str,
        template: str,
        version: str,
        queued_at: str,
        due_at: str,
        params: dict | None = None,  # type: ignore[type-arg]
        priority: int = 0,
        key: str | None = None,
        labels: dict[str, str] | None = None,
        user: str = ANONYMOUS,
        trigger: str = "inbox",
        source: str | None = None,
        steps: list[str] | None = None,
        parent: str | None = None,
    ) -> None:
        self.id = id
        self.template = template
        self.version = version
        self.queued_at = queued_at
        self.due_at = due_at
        self.params = params or {}
        self.priority = priority
        self.key = key
        self.labels = labels or {}
        self.user = user
        self.trigger = trigger
        self.source = source
        self.steps = steps or []
        self.parent = parent

    def as_record(self) -> dict[str, object]:
        """The JSON object of the job file; fields that are empty are left out."""
        record: dict[str, object] = {"format": FORMAT}
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and value != {} and value != []:
                record[name] = value
        return record

    @classmethod
    def from_record(cls, record: dict) -> Job:  # type: ignore[type-arg]
        """The job of a file written by `as_record`. Raises TypeError when the fields do not fit."""
        fields = dict(record)
        fields.pop("format", None)
        return cls(**fields)
