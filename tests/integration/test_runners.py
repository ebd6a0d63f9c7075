"""The executor's table of runners: one more kind of work is one more entry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from executing import Bench

from hybrid_engine.execution import results
from hybrid_engine.execution.handles import Handle, Runner
from hybrid_engine.execution.host import Host
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.attempt import Attempt


class Watch(Attempt):
    """An attempt of a kind that the executor does not know by itself."""

    @property
    def kind(self) -> str:
        return "watch"


class WatchHandle(Handle):
    """Has ended as soon as `has_come`."""

    has_come = False

    def begin(self, seconds: float | None) -> None:
        self._set_timeout(seconds)

    def come(self) -> None:
        if self._decide():
            self._verdict = results.of_answer(self.attempt, {"output": "it came"})
            self._tell()

    def _has_ended(self) -> bool:
        if self.has_come:
            self.come()
        return self.has_come

    def _finish_off(self) -> None:
        self._reactor.post(self._tell)


class WatchRunner:
    def __init__(self, host: Host) -> None:
        self._host = host

    def start(self, attempt: Attempt) -> Handle:
        handle = WatchHandle(self._host, attempt)
        handle.begin(attempt.timeout)
        return handle

    def adopt(self, attempt: Attempt) -> Handle | None:
        return self.start(attempt)

    def close(self) -> None:
        pass


@pytest.fixture
def bench(home: Layout) -> Iterator[Bench]:
    bench = Bench(home)
    runner: Runner = WatchRunner(bench.executor._host)
    bench.executor._runners["watch"] = runner
    yield bench
    bench.close()


@pytest.mark.parametrize("how", ["comes", "is cancelled", "times out", "came before the time-out"])
@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_third_kind_of_work_has_timeout_and_cancellation_by_its_handle(
    bench: Bench, how: str, is_adopted: bool
) -> None:
    attempt = Watch("w1", "watch", 1, timeout=0.01 if how == "times out" else 600.0)
    if is_adopted:
        assert bench.executor.attach(attempt)
    else:
        bench.executor.submit(attempt)
    assert bench.executor.running == {attempt.key: attempt}
    handle = bench.executor._handles[attempt.key]
    assert isinstance(handle, WatchHandle)
    if how == "comes":
        handle.come()
    elif how == "is cancelled":
        bench.executor.cancel(attempt.key)
    elif how == "came before the time-out":
        handle.has_come = True
        handle._time_out()
    expected = {"is cancelled": "cancelled", "times out": "timeout"}.get(how, "completed")
    assert bench.wait(attempt).kind == expected
    assert not bench.executor.running
