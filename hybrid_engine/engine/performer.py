"""The performer: does what was decided, once it is committed – begin an attempt, end one, wake a step later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from errno import E2BIG
from functools import partial

from hybrid_engine.engine.dispatcher import LONGEST_TIMER
from hybrid_engine.engine.run import Run
from hybrid_engine.engine.watching import Watcher
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.effects import StopAttempt, WakeStep
from hybrid_engine.model.stamps import moment
from hybrid_engine.ports.execution import Executor
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Store
from hybrid_engine.rules.retries import wait_until

SUBMIT_AGAIN = 0.2


class Performer:
    """`outcome` hears of attempts that could not be begun; `woken` of steps whose next attempt may begin."""

    def __init__(
        self,
        executor: Executor,
        store: Store,
        reactor: Reactor,
        watcher: Watcher,
        clock: Callable[[], datetime],
        outcome: Callable[[Outcome], None],
        woken: Callable[[str, WakeStep], None],
    ) -> None:
        self._executor = executor
        self._store = store
        self._reactor = reactor
        self._watcher = watcher
        self._clock = clock
        self._outcome = outcome
        self._woken = woken

    def perform(self, run: Run) -> None:
        """All effects of the run's last turn."""
        effects, run.effects = run.effects, []
        for effect in effects:
            if isinstance(effect, Attempt):
                self._submit(run, effect)
            elif isinstance(effect, WakeStep):
                self._wake_later(run, effect)
            elif isinstance(effect, StopAttempt):
                self._executor.cancel(f"{run.id}/{effect.step}/{run.state.steps[effect.step].attempt}")

    def _submit(self, run: Run, attempt: Attempt) -> None:
        """Hand an attempt to the executor; when the machine is short of something, wait: the job is not at fault."""
        try:
            if attempt.function is None:  # its process begins in the workflow's folder; a function's worker need not
                self._store.settle(attempt.workflow)
            self._executor.submit(attempt)
        except FileNotFoundError:  # its folder was removed: whoever writes behind finds out, and the run is over then
            self._reactor.call_later(SUBMIT_AGAIN, lambda: self._submit_again(run, attempt))
        except OSError as error:
            if error.errno == E2BIG:
                self._cannot_begin(attempt, f"its script and environment are too large for the system: {error}")
                return
            self._watcher.short_of(error, attempt)
            self._reactor.call_later(SUBMIT_AGAIN, lambda: self._submit_again(run, attempt))
        except Exception as error:  # a NUL byte, a lone surrogate, a bug of ours: it must not wait for ever
            self._cannot_begin(attempt, f"it cannot be handed to the system: {error}")

    def _cannot_begin(self, attempt: Attempt, why: str) -> None:
        error = {"kind": "start", "message": why}
        self._outcome(Outcome(attempt.workflow, attempt.step, attempt.number, "failed", error=error))

    def _submit_again(self, run: Run, attempt: Attempt) -> None:
        step = run.state.steps[attempt.step]
        if run.stuck:
            return
        if step.status != "running" or step.attempt != attempt.number:
            return
        if run.state.cancel_requested_at:
            self._outcome(Outcome(attempt.workflow, attempt.step, attempt.number, "cancelled"))
        else:
            self._submit(run, attempt)

    def _wake_later(self, run: Run, effect: WakeStep) -> None:
        """Wake the step at its moment. The wall clock is looked at again every half minute, and however it was set, a
        delay never gets longer than the policy's longest."""
        delay = wait_until(run.plan.definition(effect.step).retry, moment(effect.at), self._clock())
        self._look_at_clock(run.id, effect, self._reactor.monotonic() + delay.total_seconds())

    def _look_at_clock(self, workflow: str, effect: WakeStep, latest: float) -> None:
        seconds = (moment(effect.at) - self._clock()).total_seconds()
        seconds = min(seconds, latest - self._reactor.monotonic())
        if seconds <= 0:
            self._woken(workflow, effect)
        else:
            again = partial(self._look_at_clock, workflow, effect, latest)
            self._reactor.call_later(min(seconds, LONGEST_TIMER), again)
