"""The gate: may new work begin? Closed while the disk fails, space is short, or the daemon is about to stop."""

from __future__ import annotations


class Gate:
    """Open while nobody has a reason against it. What runs may always end, and that may always be committed."""

    def __init__(self) -> None:
        self._reasons: set[str] = set()

    @property
    def is_open(self) -> bool:
        return not self._reasons

    def shut(self, reason: str, is_shut: bool = True) -> None:
        """Close it for `reason`, or, with False, take that reason back."""
        if is_shut:
            self._reasons.add(reason)
        else:
            self._reasons.discard(reason)
