"""What is left of a time-out when an attempt is taken over."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hybrid_engine.daemon.reactor import EpollReactor
from hybrid_engine.execution.host import Host
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.attempt import Attempt

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def host() -> Host:
    reactor = EpollReactor(lambda error: None)
    reactor.close()
    return Host(reactor, Layout("/nowhere"), 0o022, lambda outcome: None, lambda: NOW, lambda: 5000.0)


@pytest.mark.parametrize(
    ("timeout", "began", "started_at", "left"),
    [
        (None, 4000.0, None, None),
        (600.0, 4900.0, "2026-11-21T11:00:00Z", 500.0),
        (600.0, 4900.0, "2036-11-21T11:00:00Z", 500.0),
        (600.0, 0.0, "2026-11-21T12:00:00Z", 0.0),
        (600.0, 9999.0, None, 600.0),
        (600.0, None, "2026-11-21T11:59:00Z", 540.0),
        (600.0, None, "2026-11-20T12:00:00Z", 0.0),
        (600.0, None, "2026-12-21T12:00:00Z", 600.0),
        (600.0, None, None, 600.0),
    ],
)
def test_it_follows_the_boot_clock_and_only_without_it_the_wall_clock(
    host: Host, timeout: float | None, began: float | None, started_at: str | None, left: float | None
) -> None:
    assert host.remaining(Attempt("w", "s", 1, timeout=timeout, started_at=started_at), began) == left
