"""What a job may cost: syncs, inodes made and inodes freed of the daemon's own process, which noise cannot blur.

The index, the daemon's log and views that are rewritten while something changes are counted apart; of a workflow's
`state.json`, the inode that stays counts like any other. A sync takes 10 ms here, so that rounds gather.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hybrid_engine.files.layout import Layout
from tests.crash.counted_daemon import CountedDaemon, counted_daemon
from tests.crash.counters import REWRITTEN, Counts

MANY = 1_000
STEPS = 20
pytestmark = pytest.mark.crash


@dataclass(frozen=True, slots=True)
class Limit:
    """For each workflow (or step)."""

    syncs: float
    made: float
    freed: float

    def check(self, what: str, found: Counts, per: int) -> None:
        """Print the table; the row without the views that are written again must keep the limit."""
        paid = found.but(*REWRITTEN)
        views = found.of("state view")
        print(f"\n{what}, for each of {per}\n{found.table(per)}")
        # of a view that is replaced, one inode stays: the last one, which is part of what a workflow leaves
        made = (paid.made + max(0, views.made - views.freed)) / per
        assert paid.syncs / per <= self.syncs, f"{what}: {paid.syncs / per:.2f} syncs, at most {self.syncs:g}"
        assert made <= self.made, f"{what}: {made:.2f} inodes made, at most {self.made:g}"
        assert paid.freed / per <= self.freed, f"{what}: {paid.freed / per:.2f} inodes freed, at most {self.freed:g}"


@pytest.fixture
def daemon(home: Layout, library: str) -> Iterator[CountedDaemon]:
    with counted_daemon(home) as found:
        yield found


def test_a_dropped_job_costs_one_sync_until_its_process_is_started(daemon: CountedDaemon) -> None:
    Limit(syncs=1, made=8, freed=0).check("a drop, until its process is started", daemon.count_drop(), 1)


def test_many_function_workflows_share_their_syncs_and_leave_few_inodes(daemon: CountedDaemon) -> None:
    found = daemon.count_many("function", MANY)
    Limit(syncs=0.6, made=4, freed=1).check("one-step function workflows", found, MANY)


def test_many_shell_workflows_share_their_syncs_and_leave_few_inodes(daemon: CountedDaemon) -> None:
    found = daemon.count_many("shell", MANY)
    Limit(syncs=1.2, made=10, freed=2).check("one-step shell workflows that print a line", found, MANY)


def test_a_step_more_of_a_running_function_workflow_costs_one_sync_and_no_inode(daemon: CountedDaemon) -> None:
    Limit(syncs=1, made=0, freed=0).check("a function step more", daemon.count_steps(STEPS), STEPS)
