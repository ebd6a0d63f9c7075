"""The contracts of `ports.reactor.Reactor` and `ports.storage.Syncer`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from contracts.memory import MemoryReactor, MemorySyncer

from hybrid_engine.daemon.reactor import EpollReactor
from hybrid_engine.files.syncer import SyncPool


class Real:
    """An EpollReactor and a SyncPool, and how to let them go on."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.reactor = EpollReactor(self.errors.append)
        self.syncer = SyncPool(self.reactor, 3)

    def turn(self, condition: Any) -> None:
        for _ in range(2_000):
            if condition():
                return
            self.reactor.run_once(0.01)
        raise AssertionError("it does not happen")

    def close(self) -> None:
        self.syncer.close()
        self.reactor.close()


class InMemory:
    def __init__(self) -> None:
        self.reactor = MemoryReactor()
        self.syncer = MemorySyncer(self.reactor)

    def turn(self, condition: Any) -> None:
        for _ in range(2_000):
            if condition():
                return
            self.reactor.advance(0.01)
            if self.syncer.pending:
                self.syncer.do()
        raise AssertionError("it does not happen")

    def close(self) -> None:
        pass


@pytest.fixture(params=[InMemory, Real])
def loop(request: pytest.FixtureRequest) -> Iterator[Any]:
    loop = request.param()
    yield loop
    loop.close()


def test_timers_go_off_in_the_order_of_their_moments_not_before_and_once(loop: Any) -> None:
    seen: list[tuple[str, float]] = []
    start = loop.reactor.monotonic()
    for name, seconds in (("c", 0.06), ("a", 0.02), ("b", 0.04), ("at once", 0.0), ("never", -1.0)):
        loop.reactor.call_later(
            max(0.0, seconds), lambda name=name: seen.append((name, loop.reactor.monotonic() - start))
        )
    loop.turn(lambda: len(seen) == 5)
    assert [name for name, _ in seen][2:] == ["a", "b", "c"]
    assert all(moment >= due for (_, moment), due in zip(seen[2:], (0.02, 0.04, 0.06)))


def test_timers_of_one_moment_go_off_in_the_order_they_were_set(loop: Any) -> None:
    seen: list[int] = []
    for number in range(20):
        loop.reactor.call_later(0.0, lambda number=number: seen.append(number))
    loop.turn(lambda: len(seen) == 20)
    assert seen == list(range(20))


def test_a_cancelled_timer_does_nothing(loop: Any) -> None:
    seen: list[str] = []
    timer = loop.reactor.call_later(0.01, lambda: seen.append("cancelled"))
    loop.reactor.call_later(0.03, lambda: seen.append("other"))
    timer.cancel()
    timer.cancel()
    loop.turn(lambda: seen)
    assert seen == ["other"]


def test_what_is_posted_is_called_in_order_also_when_posted_by_what_was_posted(loop: Any) -> None:
    seen: list[str] = []
    loop.reactor.post(lambda: (seen.append("a"), loop.reactor.post(lambda: seen.append("c"))))
    loop.reactor.post(lambda: seen.append("b"))
    loop.turn(lambda: len(seen) == 3)
    assert seen == ["a", "b", "c"]


def test_after_each_round_the_engine_gets_its_turn(loop: Any) -> None:
    rounds: list[int] = []
    loop.reactor.after_round = lambda: rounds.append(1)
    loop.reactor.post(lambda: None)
    loop.turn(lambda: rounds)


def test_work_is_done_and_its_end_told_in_the_loop(loop: Any) -> None:
    told: list[tuple[int, BaseException | None, bool]] = []
    here = threading.get_ident()

    def work(number: int) -> None:
        if number == 3:
            raise OSError("no")

    for number in range(6):
        loop.syncer.submit(
            lambda number=number: work(number),
            lambda error, number=number: told.append((number, error, threading.get_ident() == here)),
        )
    assert not loop.syncer.idle
    loop.turn(lambda: len(told) == 6)
    assert loop.syncer.idle
    assert sorted(number for number, *_ in told) == list(range(6))
    assert [str(error) for number, error, _ in told if error] == ["no"]
    assert all(in_the_loop for *_, in_the_loop in told)


def test_the_syncer_is_idle_again_before_the_end_is_told(loop: Any) -> None:
    seen: list[bool] = []
    loop.syncer.submit(lambda: None, lambda error: seen.append(loop.syncer.idle))
    loop.turn(lambda: seen)
    assert seen == [True]


# --- what only the real ones have -----------------------------------------------------------------------------------


@pytest.fixture
def real() -> Iterator[Real]:
    loop = Real()
    yield loop
    loop.close()


def test_a_callback_that_raises_is_reported_and_the_loop_goes_on(real: Real) -> None:
    seen: list[str] = []
    real.reactor.post(lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    real.reactor.call_later(0.0, lambda: [][0])
    real.reactor.post(lambda: seen.append("next"))
    real.turn(lambda: seen and len(real.errors) == 2)


def test_other_threads_wake_a_loop_that_waits(real: Real) -> None:
    seen: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: [real.reactor.post(lambda: seen.append(n)) for _ in range(500)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    while len(seen) < 2_000:
        real.reactor.run_once(5.0)
    for thread in threads:
        thread.join()
    assert len(seen) == 2_000


def test_a_readable_descriptor_is_told_of_until_it_is_unwatched(real: Real) -> None:
    seen: list[str] = []
    readable, writable = os.pipe()
    real.reactor.watch(readable, lambda: seen.append(os.read(readable, 10).decode()))
    os.write(writable, b"one")
    real.turn(lambda: seen)
    real.reactor.unwatch(readable)
    real.reactor.unwatch(readable)
    os.write(writable, b"two")
    real.reactor.run_once(0.01)
    assert seen == ["one"]
    os.close(readable)
    os.close(writable)


def test_the_longest_of_waits_does_not_break_the_loop(real: Real) -> None:
    seen: list[str] = []
    real.reactor.call_later(86_400.0 * 36_500, lambda: seen.append("in a hundred years"))
    threading.Timer(0.02, lambda: real.reactor.post(lambda: seen.append("now"))).start()
    while not seen:
        real.reactor.run_once()
    assert seen == ["now"]
    assert not real.errors


def test_idle_work_is_done_in_free_moments_until_nothing_of_it_is_left(real: Real) -> None:
    seen: list[str] = []

    def work() -> bool:
        seen.append("idle")
        return len(seen) < 5

    real.reactor.idle_work = work
    real.reactor.post(lambda: seen.append("posted"))
    real.reactor.call_later(0.0, lambda: seen.append("due"))
    real.reactor.run_once(0.0)
    assert seen == ["posted", "due"], "who is called for comes first"
    for _ in range(3):
        real.reactor.run_once(10.0)  # would wait for ten seconds if nothing were left
    assert seen == ["posted", "due", "idle", "idle", "idle"]


def test_what_idle_work_makes_due_is_not_slept_over(real: Real) -> None:
    seen: list[str] = []

    def work() -> bool:
        if not seen:
            real.reactor.post(lambda: seen.append("posted"))
        return False

    real.reactor.idle_work = work
    real.reactor.run_once()
    assert seen == ["posted"]


def test_idle_work_that_raises_is_reported_and_the_loop_goes_on(real: Real) -> None:
    seen: list[str] = []
    real.reactor.idle_work = lambda: [][0]  # type: ignore[assignment,return-value]
    real.reactor.call_later(0.01, lambda: seen.append("next"))
    real.turn(lambda: seen)
    assert real.errors


def test_work_is_idle_only_after_the_rounds_of_those_who_wait(real: Real) -> None:
    """Commits are made after a round; what follows from them is written behind, and never before."""
    seen: list[str] = []
    real.reactor.after_round = lambda: seen.append("round")
    real.reactor.idle_work = lambda: seen.append("idle") is not None
    real.reactor.post(lambda: seen.append("posted"))
    real.reactor.run_once(0.0)
    real.reactor.run_once(0.0)
    assert seen == ["posted", "round", "idle", "round"]
