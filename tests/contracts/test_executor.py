"""The contract of `ports.execution.Executor`, for attempts in memory, shell steps and functions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest
from contracts.memory import MemoryExecutor, MemoryReactor, World
from integration.executing import EngineProcess, eventually

from hybrid_engine.execution import leases
from hybrid_engine.files.layout import Layout
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.stamps import stamp


class Subject(Protocol):
    """An executor, the world it works in, and how to bring about what it shall notice."""

    def attempt(self) -> Attempt: ...
    def submit(self, attempt: Attempt) -> None: ...
    def attach(self, attempt: Attempt) -> bool: ...
    def cancel(self, attempt: Attempt) -> None: ...
    def let_it_end(self) -> None: ...
    def outcome(self, attempt: Attempt) -> dict[str, Any]: ...
    def begun(self) -> int: ...
    def restart(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self.world = World()
        self.submitted = 0
        self.world.on_submit = self._count
        self.restart()

    def _count(self, attempt: Attempt) -> None:
        self.submitted += 1

    def restart(self) -> None:
        self.reactor = MemoryReactor()
        self.executor = MemoryExecutor(self.world, self.reactor)
        self.heard: dict[str, dict[str, Any]] = {}
        self.executor.listen(self._hear, lambda *_: None)

    def _hear(self, outcome: Any) -> None:
        key = f"{outcome.workflow}/{outcome.step}/{outcome.number}"
        self.heard[key] = {"kind": outcome.kind, "output": outcome.output}

    def attempt(self) -> Attempt:
        return Attempt("w1", "held", 1, script="")

    def submit(self, attempt: Attempt) -> None:
        self.executor.submit(attempt)

    def attach(self, attempt: Attempt) -> bool:
        return self.executor.attach(attempt)

    def cancel(self, attempt: Attempt) -> None:
        self.executor.cancel(attempt.key)
        process = self.world.processes.get(attempt.key)
        if process is not None and process.runs:
            self.executor.end(attempt.key, "cancelled")

    def let_it_end(self) -> None:
        for process in self.world.running():
            self.executor.end(process.attempt.key, output={"answer": "42"})

    def outcome(self, attempt: Attempt) -> dict[str, Any]:
        self.reactor.run()
        return self.heard[attempt.key]

    def begun(self) -> int:
        return self.submitted


class OnThisMachine:
    """A LocalExecutor in a process of its own; its attempts note that they begin, then wait at a gate."""

    def __init__(self, home: Layout, folder: Path, kind: str) -> None:
        self.home, self.kind = home, kind
        self.gate, self.notes = folder / "gate", folder / "notes"
        os.mkfifo(self.gate)
        Path(home.functions, "tools.py").write_text(
            "import os\nfrom hybrid_engine import function\n"
            "@function\ndef hold(gate, notes):\n"
            "    open(notes, 'a').write(f'{os.getpid()}\\n')\n    open(gate).read()\n    return {'answer': '42'}\n"
        )
        self.engine = EngineProcess(home)

    def attempt(self) -> Attempt:
        started_at = stamp(datetime.now(UTC))
        if self.kind == "function":
            arguments = {"gate": str(self.gate), "notes": str(self.notes)}
            return Attempt(
                "w1", "held", 1, function="tools.hold", arguments=arguments, started_at=started_at, grace=0.3
            )
        script = f'echo $$ >> {self.notes}; read -r _ < {self.gate} || true; echo answer=42 > "$HYBRID_OUTPUT"'
        return Attempt("w1", "held", 1, script=script, started_at=started_at, grace=0.3)

    def submit(self, attempt: Attempt) -> None:
        self.engine.submit(attempt)
        eventually(lambda: self.begun(), "the attempt has begun")

    def attach(self, attempt: Attempt) -> bool:
        return self.engine.attach(attempt)

    def cancel(self, attempt: Attempt) -> None:
        self.engine.cancel(attempt)

    def let_it_end(self) -> None:
        eventually(self._opened, "the attempt waits at its gate")

    def _opened(self) -> bool:
        try:
            os.close(os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def outcome(self, attempt: Attempt) -> dict[str, Any]:
        return self.engine.outcome(attempt)

    def begun(self) -> int:
        return len(self.notes.read_text().split()) if self.notes.exists() else 0

    def restart(self) -> None:
        self.engine.kill()
        self.engine = EngineProcess(self.home)

    def close(self) -> None:
        self.engine.__exit__(None, None, None)
        for name in os.listdir(self.home.workers):
            path = os.path.join(self.home.workers, name)
            eventually(lambda path=path: not leases.is_held(path), "the workers go")


@pytest.fixture(params=["memory", "shell", "function"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "memory":
        yield InMemory()
        return
    machine = OnThisMachine(request.getfixturevalue("home"), tmp_path, request.param)
    yield machine
    machine.close()


def test_an_outcome_follows_when_an_attempt_ends(subject: Subject) -> None:
    attempt = subject.attempt()
    subject.submit(attempt)
    subject.let_it_end()
    assert {"kind": "completed", "output": {"answer": "42"}}.items() <= subject.outcome(attempt).items()


def test_submitting_the_same_key_again_begins_nothing(subject: Subject) -> None:
    attempt = subject.attempt()
    subject.submit(attempt)
    subject.submit(attempt)
    subject.let_it_end()
    subject.outcome(attempt)
    assert subject.begun() == 1


def test_a_cancelled_attempt_is_confirmed_by_its_outcome(subject: Subject) -> None:
    attempt = subject.attempt()
    subject.submit(attempt)
    subject.cancel(attempt)
    assert subject.outcome(attempt)["kind"] == "cancelled"


def test_cancelling_what_is_not_known_is_harmless(subject: Subject) -> None:
    attempt = subject.attempt()
    subject.cancel(attempt)
    subject.submit(attempt)
    subject.let_it_end()
    assert subject.outcome(attempt)["kind"] == "completed"
    subject.cancel(attempt)


def test_what_was_never_submitted_is_not_known_after_a_restart(subject: Subject) -> None:
    subject.restart()
    assert not subject.attach(subject.attempt())


def test_what_runs_is_known_after_a_restart_and_its_outcome_follows(subject: Subject) -> None:
    attempt = subject.attempt()
    subject.submit(attempt)
    subject.restart()
    assert subject.attach(attempt)
    subject.let_it_end()
    assert subject.outcome(attempt)["output"] == {"answer": "42"}
    assert subject.begun() == 1


def test_what_is_attached_can_be_cancelled(subject: Subject) -> None:
    attempt = subject.attempt()
    subject.submit(attempt)
    subject.restart()
    assert subject.attach(attempt)
    subject.cancel(attempt)
    assert subject.outcome(attempt)["kind"] == "cancelled"


def test_another_attempt_of_the_same_step_is_another(subject: Subject) -> None:
    first = subject.attempt()
    subject.submit(first)
    subject.let_it_end()
    subject.outcome(first)
    second = replace(first, number=2)
    subject.restart()
    assert not subject.attach(second)
