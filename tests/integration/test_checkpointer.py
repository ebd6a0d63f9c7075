"""The checkpointer: what follows from commits is written in free moments, and made durable when its time has come."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from contracts.memory import MemoryReactor, MemorySyncer

from hybrid_engine.daemon import checkpointer as checkpointers
from hybrid_engine.daemon.checkpointer import Checkpointer
from hybrid_engine.daemon.health import Health
from hybrid_engine.engine.gate import Gate
from hybrid_engine.model.stamps import moment

Done = Callable[[BaseException | None], None]


class Log:
    """`ports.storage.CommitLog`, as far as it is looked at. `behind` counts what is not in its place."""

    def __init__(self) -> None:
        self.size = 0
        self.behind = 0
        self.ages: list[float] = []
        self.checkpoints: list[Done] = []

    @property
    def is_dirty(self) -> bool:
        return self.size > 0

    @property
    def is_behind(self) -> bool:
        return self.behind > 0

    def write_behind(self, seconds: float, min_age: float = 0.0) -> bool:
        self.ages.append(min_age)
        self.behind = max(0, self.behind - 1)
        return self.behind > 0

    def checkpoint(self, done: Done) -> None:
        self.checkpoints.append(done)

    def commit(self, size: int = 100) -> None:
        self.size += size
        self.behind += 1


class Scene:
    def __init__(self) -> None:
        self.reactor = MemoryReactor(100.0)
        self.gate, self.log = Gate(), Log()
        self.commits, self.rung = 0, False
        background = MemorySyncer(self.reactor)
        clock = lambda: moment("2026-11-20T08:00:00.000000Z")  # noqa: E731
        self.health = Health(self.reactor, background, clock, self.gate, lambda: None)
        log = self.log
        self.checkpointer = Checkpointer(log, self.reactor, self.health, lambda: self.commits, self.asked)  # type: ignore[arg-type]
        self.reactor.after_round = self.checkpointer.after_round

    def asked(self) -> bool:
        was, self.rung = self.rung, False
        return was

    def commit(self, size: int = 100) -> None:
        self.log.commit(size)
        self.commits += 1
        self.reactor.run()

    def end(self, error: BaseException | None = None) -> None:
        done = self.log.checkpoints.pop()
        if error is None:
            self.log.size = 0
        done(error)
        self.reactor.run()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_in_free_moments_all_that_is_behind_is_written_at_once(scene: Scene) -> None:
    scene.log.behind = 3
    assert [scene.checkpointer.idle_work() for _ in range(4)] == [True, True, False, False]
    assert scene.log.ages == [0.0] * 3


def test_without_a_free_moment_only_what_is_old_is_written(scene: Scene) -> None:
    scene.commit()
    scene.reactor.advance(checkpointers.LOOK)
    assert scene.log.ages == [checkpointers.OLD]


def test_a_checkpoint_is_made_soon_after_the_last_commit(scene: Scene) -> None:
    scene.commit()
    scene.reactor.advance(checkpointers.QUIET - 0.1)
    assert not scene.log.checkpoints
    scene.reactor.advance(0.3)
    assert len(scene.log.checkpoints) == 1
    scene.end()
    scene.reactor.advance(60)
    assert not scene.log.checkpoints
    assert scene.reactor.next_timer() is None, "at rest nothing is looked at"


def test_a_busy_engine_makes_one_every_few_seconds(scene: Scene) -> None:
    made = 0
    for _ in range(200):
        scene.commit()
        scene.reactor.advance(0.1)
        if scene.log.checkpoints:
            made += 1
            scene.end()
    assert 20 / checkpointers.LATEST - 1 <= made <= 20 / checkpointers.LATEST + 1


def test_a_full_log_makes_one_at_once_and_never_two_at_a_time(scene: Scene) -> None:
    scene.commit(checkpointers.FULL)
    scene.reactor.advance(2 * checkpointers.LOOK)
    assert len(scene.log.checkpoints) == 1
    scene.reactor.advance(30)
    assert len(scene.log.checkpoints) == 1


def test_while_one_is_under_way_what_it_waits_for_is_written_however_young(scene: Scene) -> None:
    scene.log.behind = 50
    scene.commit(checkpointers.FULL)
    scene.reactor.advance(2 * checkpointers.LOOK)
    scene.log.ages.clear()
    scene.reactor.advance(checkpointers.LOOK)
    assert scene.log.ages == [0.0]


def test_who_asks_for_one_gets_it(scene: Scene) -> None:
    scene.commit()
    scene.rung = True
    scene.reactor.advance(2 * checkpointers.LOOK)
    assert len(scene.log.checkpoints) == 1


def test_one_that_fails_is_a_problem_and_is_tried_again_but_not_at_every_look(scene: Scene) -> None:
    scene.commit()
    scene.reactor.advance(checkpointers.QUIET + 0.2)
    scene.end(OSError(5, "Input/output error"))
    assert "tried again" in scene.health.problems["checkpoint"]
    tries = 0
    for _ in range(100):
        scene.reactor.advance(0.1)
        if scene.log.checkpoints:
            tries += 1
            scene.end(OSError(5, "Input/output error"))
    assert 2 <= tries <= 10 / checkpointers.AGAIN + 1
    scene.reactor.advance(checkpointers.AGAIN + 0.2)
    scene.end()
    assert "checkpoint" not in scene.health.problems


def test_a_log_that_grows_and_grows_shuts_the_gate_until_a_checkpoint_succeeds(scene: Scene) -> None:
    scene.commit(checkpointers.TOO_LARGE + 1)
    scene.reactor.advance(2 * checkpointers.LOOK)
    assert not scene.gate.is_open
    scene.end()
    scene.reactor.advance(2 * checkpointers.LOOK)
    assert scene.gate.is_open
    assert not scene.health.problems
