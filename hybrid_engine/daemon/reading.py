"""A file that is being read: how many of its jobs are on their way, and which of its lines were bad."""

from __future__ import annotations

from collections.abc import Iterator

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.ports.intake import Found, Mark, Opened, Parsed


class Reading:
    """`opened` is None for what cannot be opened. `is_cut_short`: what follows may not be complete yet."""

    __slots__ = (
        "accepted", "bad", "found", "is_cut_short", "is_read", "is_settled", "jobs", "opened", "under_way",
    )  # fmt: skip

    def __init__(self, found: Found, opened: Opened | None, jobs: Iterator[Parsed]) -> None:
        self.found = found
        self.opened = opened
        self.jobs = jobs
        self.bad: list[Parsed] = []
        self.accepted = 0
        self.under_way = 0
        self.is_read = False
        self.is_settled = False
        self.is_cut_short = False

    @property
    def mark(self) -> Mark:
        return self.found.mark if self.opened is None else self.opened.mark

    @property
    def bad_lines(self) -> list[Parsed]:
        """The bad ones of a file of lines; nothing when the file is bad as a whole."""
        return self.bad if self.bad and self.bad[0].line is not None else []

    def refuse(self, parsed: Parsed, error: InputError) -> None:
        """The job is good in itself, and is not taken."""
        parsed.error = error
        self.bad.append(parsed)

    def summary(self) -> InputError:
        """The reason of the file as a whole."""
        first = self.bad[0].error or JobError("bad", file=self.found.name)
        if self.bad[0].line is None:
            return first
        text = f"{len(self.bad)} of its lines cannot be accepted; the others were"
        return JobError(text, file=self.found.name, code="bad_lines", hint=f"the first: {first}")

    def close(self) -> None:
        """Let go of the file."""
        close = getattr(self.jobs, "close", None)
        if close is not None:
            close()
        if self.opened is not None:
            self.opened.close()


def replay(loaded: list[Parsed], error: BaseException | None) -> Iterator[Parsed]:
    """What was read elsewhere, and how that ended."""
    yield from loaded
    if error is not None:
        raise error
