"""What an examination of a home finds, and how it is noted down and repaired.

A finding says what is wrong, where, and what can be done. A repair is done only when it was asked for and is safe now:
most need that no engine runs, because only the holder of the lock may touch journals and queue. Of each kind so many
are noted one by one, the rest counted, so that a home with a million troubles fits into memory; all are repaired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from hybrid_engine.errors import HybridError
from hybrid_engine.files.layout import Layout

SEVERITIES = ("ok", "info", "warning", "error")
TOLD = 200
"""So many findings of one kind are told one by one."""

Repair = Callable[[], object]


@dataclass(slots=True)
class Finding:
    """`severity` is ok, info, warning or error; `code` names the kind. `repair` says what was, or would be, done."""

    severity: str
    code: str
    path: str
    message: str
    repair: str | None = None
    repaired: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As a program reads it."""
        return asdict(self)


@dataclass(slots=True)
class _Kind:
    severity: str
    told: int = 0
    more: int = 0
    more_repaired: int = 0


class Findings:
    """The notes of one examination. `engine` is what the running engine says of itself; None when none runs.

    `alone` means that we hold the lock, so that nothing moves under our eyes.
    """

    def __init__(self, layout: Layout, *, repair: bool, engine: dict[str, Any] | None, alone: bool) -> None:
        self.layout = layout
        self.repairing = repair
        self.engine = engine
        self.alone = alone
        self.all: list[Finding] = []
        self._kinds: dict[str, _Kind] = {}

    def ok(self, code: str, path: str, message: str) -> None:
        self.note("ok", code, path, message)

    def note(
        self,
        severity: str,
        code: str,
        path: str,
        message: str,
        repair: str | None = None,
        do: Repair | None = None,
        *,
        beside: bool = False,
    ) -> None:
        """Note a finding; `do` is its repair, which `repair` describes. `beside` when it is safe beside an engine."""
        finding = Finding(severity, code, path, message, repair)
        if do is not None:
            self._treat(finding, do, beside)
        kind = self._kinds.setdefault(code, _Kind(severity))
        if kind.told < TOLD:
            kind.told += 1
            self.all.append(finding)
        else:
            kind.more += 1
            kind.more_repaired += finding.repaired

    def _treat(self, finding: Finding, do: Repair, beside: bool) -> None:
        if not (beside or self.alone):
            if self.engine is not None:
                finding.repair = f"{finding.repair} (only while no engine is running)"
            return
        if not self.repairing:
            return
        try:
            do()
            finding.repaired = True
        except (HybridError, OSError) as error:
            finding.repair = f"{finding.repair}: failed: {error}"

    def finish(self) -> list[Finding]:
        """All findings; for kinds that were cut short, one that says how many more there are."""
        for code, kind in self._kinds.items():
            if kind.more:
                message = f"and {kind.more} more of this kind, {kind.more_repaired} of them repaired"
                done = kind.more == kind.more_repaired
                self.all.append(Finding(kind.severity, code, self.layout.home, message, repaired=done))
                kind.more = 0
        return self.all
