"""A share of all crash cases, on the real engine: `make test-crash` runs them all.

Which cases belong to the share follows from CRASH_SEED (default 1), so that a run can be repeated, and the next seed
tries others.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.crash import methods, powercuts
from tests.crash.conftest import SEED, told
from tests.crash.faultlib import Fault, Operation
from tests.crash.methods import Report, at_every_operation
from tests.crash.runner import Bench

Benches = Callable[[str], Bench]
pytestmark = pytest.mark.crash


def share(bench: Bench, fault: str, stride: int) -> Report:
    return at_every_operation(bench, fault, Fault.parse(fault), stride=stride, first=1 + int(SEED) % stride)


@pytest.mark.parametrize(
    ("fault", "stride"), [("kill", 4), ("torn:cut0", 6), ("torn", 4), ("torn:cut999", 6), ("short", 6)]
)
def test_a_kill_or_a_torn_write_at_any_operation_loses_and_repeats_nothing(
    bench: Benches, fault: str, stride: int
) -> None:
    report = share(bench("engine"), fault, stride)
    assert report.met and not report.findings, told(report, "engine")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EMFILE", "EDQUOT", "EROFS", "EINTR"])
@pytest.mark.parametrize(("how", "stride"), [("once", 9), ("ever", 23)])
def test_an_error_of_any_operation_loses_and_repeats_nothing(bench: Benches, how: str, error: str, stride: int) -> None:
    report = share(bench("engine"), f"{how}:{error}", stride)
    assert report.met and not report.findings, told(report, "engine")


def test_a_recovery_that_is_killed_is_recovered_from(bench: Benches) -> None:
    report = methods.during_recovery(bench("engine"), first=1 + int(SEED) % 47, stride=47, inner=11)
    assert report.met and not report.findings, told(report, "engine")


def test_every_legal_disk_after_a_power_cut_beside_a_commit_is_recovered_from(bench: Benches) -> None:
    report = powercuts.power_loss(bench("engine"), commits=3, draws=2, seed=SEED)
    assert report.cases and not report.findings, told(report, "engine")


def test_a_step_whose_output_did_not_reach_the_disk_is_not_taken_for_done(bench: Benches) -> None:
    def says_its_end(operation: Operation) -> bool:
        return operation.path.endswith("/first/1/lease") and operation.data.startswith(b"exit ")

    report = powercuts.power_loss(bench("engine"), worlds=["ordered"], draws=1, behind=says_its_end)
    assert report.cases and not report.findings, told(report, "engine")


def test_what_a_recovery_trusts_is_there_after_a_power_cut(bench: Benches) -> None:
    report = powercuts.after_kill(bench("engine"), kills=3, commits=2, draws=0, seed=SEED)
    assert report.cases and not report.findings, told(report, "engine")


def test_what_a_failed_sync_left_behind_is_not_counted_on(bench: Benches) -> None:
    report = powercuts.failed_sync(bench("engine"), syncs=3, commits=1, draws=1, seed=SEED)
    assert report.cases and not report.findings, told(report, "engine")


def test_what_the_kernel_gave_up_is_not_counted_on(bench: Benches) -> None:
    report = powercuts.lost_write(bench("engine"), writes=4, commits=1, draws=1, seed=SEED)
    assert report.cases and not report.findings, told(report, "engine")


def test_a_kill_while_a_function_runs_loses_and_repeats_nothing(bench: Benches) -> None:
    report = share(bench("engine:function"), "kill", 23)
    assert report.met and not report.findings, told(report, "engine:function")
