"""Large outputs: kept in files before the commit that names them, and loaded when an expression asks for one.

A journal, the memory and every view would hold them otherwise. Small ones, nearly all, pass through untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from hybrid_engine.engine.watching import Watcher
from hybrid_engine.errors import ExpressionError, HybridError
from hybrid_engine.model.attempt import Outcome
from hybrid_engine.model.jsontext import encode
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.words import Json
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Store, Syncer

LARGE = 65_536
"""Bytes, as JSON, from which on an output is kept by reference."""
AGAIN = 1.0


class LargeOutputs(Mapping[str, Json]):
    """The outputs that a state names only by reference, by step, each loaded when it is asked for."""

    __slots__ = ("_state", "_store")

    def __init__(self, store: Store, state: WorkflowState) -> None:
        self._store = store
        self._state = state

    def __getitem__(self, step: str) -> Json:
        reference = self._state.steps[step].output_ref
        if reference is None:
            raise KeyError(step)
        try:
            return self._store.read_output(self._state.id, reference)
        except HybridError as error:
            raise ExpressionError(f"the output of step {step} is lost: {error}", code="output_lost") from None

    def __iter__(self) -> Iterator[str]:
        return (name for name, step in self._state.steps.items() if step.output_ref is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class OutputKeeper:
    """Puts large outputs into files on their way to the engine: `tell` hears of the outcome when that is durable.

    While the disk fails it is tried again, as commits are; `is_wanted` says whether the outcome still matters.
    """

    def __init__(
        self,
        store: Store,
        reactor: Reactor,
        watcher: Watcher,
        background: Syncer | None,
        is_wanted: Callable[[Outcome], bool],
        tell: Callable[[Outcome], None],
    ) -> None:
        self._store = store
        self._reactor = reactor
        self._watcher = watcher
        self._background = background
        self._is_wanted = is_wanted
        self._tell = tell
        self._keeping: set[str] = set()

    def takes(self, outcome: Outcome) -> bool:
        """True when its output is large: then it is told of later. An outcome may come more than once."""
        if outcome.key in self._keeping:
            return True
        data = _large(outcome.output)
        if data is None or not self._is_wanted(outcome):
            return False
        self._keeping.add(outcome.key)
        self._keep(outcome, data)
        return True

    def _keep(self, outcome: Outcome, data: bytes) -> None:
        found: list[dict[str, Json]] = []

        def work() -> None:
            found.append(self._store.write_output(outcome.workflow, outcome.step, outcome.number, data))

        def done(error: BaseException | None) -> None:
            if error is None:
                self._end(replace(outcome, output=None, output_ref=found[0]))
            else:
                self._failed(outcome, data, error)

        try:
            self._store.settle(outcome.workflow)  # its folder may not be there yet
        except OSError as error:
            self._failed(outcome, data, error)
            return
        if self._background is not None:
            self._background.submit(work, done)
        else:
            try:
                work()
            except (OSError, HybridError) as error:
                done(error)
            else:
                done(None)

    def _failed(self, outcome: Outcome, data: bytes, error: BaseException) -> None:
        if not isinstance(error, OSError):
            why: dict[str, Json] = {"kind": "bad_output", "message": f"its output cannot be kept: {error}"}
            self._end(replace(outcome, kind="failed", output=None, error=why))
            return
        self._watcher.disk(error)
        self._reactor.call_later(AGAIN, lambda: self._again(outcome, data))

    def _again(self, outcome: Outcome, data: bytes) -> None:
        if self._is_wanted(outcome):
            self._keep(outcome, data)
        else:
            self._keeping.discard(outcome.key)

    def _end(self, outcome: Outcome) -> None:
        self._keeping.discard(outcome.key)
        self._tell(outcome)


def _large(output: Json) -> bytes | None:
    """The output as JSON when that is large. Raises nothing: what cannot be JSON is the commit's trouble."""
    if output is None or isinstance(output, bool | int | float):
        return None
    try:
        text = encode(output)
    except (ValueError, TypeError, RecursionError):
        return None
    if len(text) <= LARGE // 4:
        return None  # in whatever characters
    data = text.encode("utf-8", "backslashreplace")
    return data if len(data) > LARGE else None
