"""The supervisor: it keeps looking whatever fails, replaces a watcher that died, and ends in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hybrid_engine.daemon import supervisor as supervisors
from hybrid_engine.daemon.reactor import EpollReactor
from hybrid_engine.daemon.supervisor import Supervisor
from hybrid_engine.engine.gate import Gate
from hybrid_engine.engine.recovery import Report
from hybrid_engine.errors import LockHeldError


class Parts:
    """All that a supervisor supervises, as far as it looks at it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.runs: dict[str, Any] = {}
        self.is_idle = self.is_settled = False
        self.ends_checkpoints = True
        self.problems: dict[str, str | None] = {}

    def pulse(self) -> None:
        self.log.append("pulse")

    def look(self) -> None:
        self.log.append("look")
        if self.log.count("look") == 2:
            raise RuntimeError("a bug in the intake")

    def run(self) -> Report:
        self.log.append("recover")
        return Report(waiting=["w1"])

    def again(self) -> None:
        self.log.append("again")

    def problem(self, name: str, text: str | None) -> None:
        self.problems[name] = text

    def checkpoint(self, done: Callable[[BaseException | None], None]) -> None:
        self.log.append("checkpoint")
        if self.ends_checkpoints:
            done(None)

    def idle_work(self) -> bool:
        self.log.append("idle")
        return False

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **options: self.log.append(name)


class Watcher:
    """A watcher that dies when told to."""

    made = 0

    def __init__(self, fails: bool = False) -> None:
        Watcher.made += 1
        self.is_alive = True
        self.fails = fails

    def start(self) -> None:
        if self.fails:
            raise OSError(24, "inotify watch limit reached")

    def stop(self) -> None:
        self.is_alive = False


class Scene:
    def __init__(self, until_idle: bool = False) -> None:
        self.parts: Any = Parts()
        self.errors: list[BaseException] = []
        self.reactor = EpollReactor(self.errors.append)
        self.watchers: list[Watcher] = []
        self.fails = 0
        self.gate = Gate()
        self.look_after: Callable[[], None] = lambda: self.parts.log.append("look_after")
        Watcher.made = 0
        self.supervisor = Supervisor(
            self.reactor, self.parts, self.gate, self.parts, self.parts, self.parts, self.parts, self.parts,
            self._watcher, lambda: self.look_after(), rescan=0.02, until_idle=until_idle,
        )  # fmt: skip

    def _watcher(self, wake: Callable[[], None]) -> Watcher:
        self.watchers.append(Watcher(fails=self.fails > 0))
        self.fails -= 1
        return self.watchers[-1]

    def run_until(self, condition: Callable[[], Any], then: Callable[[], None] | None = None) -> None:
        """Run the supervisor; when `condition` comes true, do `then`, else tell it to stop."""

        def check() -> None:
            if condition():
                (then or self.stop)()
            else:
                self.reactor.call_later(0.005, check)

        self.reactor.call_later(0.0, check)
        guard = threading.Timer(20, self.reactor.stop)
        guard.start()
        try:
            self.supervisor.run()
        finally:
            guard.cancel()
        assert condition()

    def stop(self) -> None:
        self.parts.is_settled = True
        self.supervisor.stop()


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.reactor.close()


def test_it_recovers_first_then_shows_what_it_found_and_looks_around(scene: Scene) -> None:
    scene.run_until(lambda: scene.parts.log.count("look") > 2)
    assert scene.parts.log[0] == "recover"
    assert {
        "found_queued", "read_signals_of", "again", "look_after", "read_lost_signals", "restore_views", "write_queue",
    } <= set(scene.parts.log)  # fmt: skip


def test_after_every_round_what_was_decided_is_committed_and_free_moments_are_used(scene: Scene) -> None:
    scene.run_until(lambda: scene.parts.log.count("look") > 2 and "idle" in scene.parts.log)
    assert "after_round" in scene.parts.log
    assert scene.parts.log.index("pulse") < scene.parts.log.index("after_round")


def test_a_part_that_fails_does_not_end_the_looking(scene: Scene) -> None:
    scene.run_until(lambda: scene.parts.log.count("look") > 5)
    assert [str(error) for error in scene.errors] == ["a bug in the intake"]


def test_a_watcher_that_died_is_replaced(scene: Scene) -> None:
    def check() -> bool:
        if len(scene.watchers) == 1:
            scene.watchers[0].is_alive = False
        return len(scene.watchers) == 2

    scene.run_until(check)
    assert scene.watchers[1].is_alive is False, "stopped at the end"
    assert scene.parts.problems["watcher"] is None


def test_without_a_watcher_it_says_so_and_looks_now_and_then(scene: Scene) -> None:
    scene.fails = 1_000
    scene.run_until(lambda: scene.parts.log.count("look") > 4)
    assert "seen only every 0.02 s" in str(scene.parts.problems["watcher"])


def test_it_stops_when_all_is_committed_and_starts_nothing_new_before(scene: Scene) -> None:
    seen: list[bool] = []

    def then() -> None:
        scene.supervisor.stop()
        scene.supervisor.stop()
        scene.reactor.call_later(0.1, lambda: seen.append(scene.gate.is_open))
        scene.reactor.call_later(0.15, lambda: setattr(scene.parts, "is_settled", True))

    scene.run_until(lambda: "look" in scene.parts.log, then)
    assert seen == [False]


def test_the_last_deed_is_a_checkpoint_once_all_is_committed(scene: Scene) -> None:
    scene.run_until(lambda: "look" in scene.parts.log)
    assert scene.parts.log.count("checkpoint") == 1
    assert "look" not in scene.parts.log[scene.parts.log.index("checkpoint") :]


def test_a_last_checkpoint_that_does_not_end_is_not_waited_for_for_ever(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would have made durable is in the log."""
    monkeypatch.setattr(supervisors, "STOP_PATIENCE", 0.1)
    scene.parts.ends_checkpoints = False
    scene.run_until(lambda: "look" in scene.parts.log)
    assert "checkpoint" in scene.parts.log


def test_a_commit_that_does_not_end_is_not_waited_for_for_ever_either(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisors, "STOP_PATIENCE", 0.1)
    scene.run_until(lambda: "look" in scene.parts.log, scene.supervisor.stop)
    assert "checkpoint" not in scene.parts.log


def test_the_loss_of_the_lock_ends_it_with_the_reason(scene: Scene) -> None:
    def lost() -> None:
        raise LockHeldError("another engine holds the home")

    scene.look_after = lost
    scene.parts.is_settled = True
    with pytest.raises(LockHeldError):
        scene.supervisor.run()


def test_a_home_that_cannot_be_looked_at_is_trouble_with_the_disk(scene: Scene) -> None:
    def gone() -> None:
        raise FileNotFoundError(2, "No such file or directory")

    scene.look_after = gone
    scene.run_until(lambda: scene.parts.log.count("disk") > 2)


def test_until_idle_it_ends_by_itself_after_a_last_look() -> None:
    scene = Scene(until_idle=True)
    scene.parts.is_settled = True

    def check() -> None:
        scene.parts.is_idle = scene.parts.log.count("look") > 3
        scene.reactor.call_later(0.01, check)

    scene.reactor.call_later(0.0, check)
    scene.supervisor.run()
    assert scene.parts.log.count("look") >= 5
    scene.reactor.close()


def test_until_idle_what_came_in_just_before_the_end_is_still_done() -> None:
    """A job was dropped, and nobody has told of it yet."""
    scene = Scene(until_idle=True)
    scene.supervisor._rescan = 60.0
    parts = scene.parts
    parts.is_settled, looks = True, []

    def look() -> None:
        looks.append(parts.is_idle)
        if looks.count(True) == 1:  # the drop is found, and takes a moment
            parts.is_idle = False
            scene.reactor.call_later(0.01, all_is_done)

    def all_is_done() -> None:
        parts.is_idle = True

    parts.look = look
    scene.reactor.call_later(0.01, all_is_done)
    scene.supervisor.run()
    assert looks == [False, True, True]
    scene.reactor.close()
