"""The loader: runs for workflows that come into memory, and the plans of frozen templates."""

from __future__ import annotations

from hybrid_engine.engine import turn
from hybrid_engine.engine.outputs import LargeOutputs
from hybrid_engine.engine.run import Run
from hybrid_engine.errors import IllegalTransitionError, JournalError
from hybrid_engine.model.entry import Entry
from hybrid_engine.model.job import Job
from hybrid_engine.ports.storage import History, Store
from hybrid_engine.rules.decisions import Plan
from hybrid_engine.rules.transitions import evolve, fold

PLANS = 256
"""So many versions of templates are kept ready."""
FRESH = 2_000
"""Of so many accepted jobs the record is kept in memory until they start; of the others it is read again."""


class Loader:
    """What is kept here is a cache: everything can be read again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._plans: dict[str, Plan] = {}
        self._fresh: dict[str, Job] = {}

    def remember(self, job: Job) -> None:
        """This job was just accepted and may start soon."""
        if len(self._fresh) < FRESH:
            self._fresh[job.id] = job

    def plan(self, version: str, workflow: str) -> Plan:
        """The plan of the workflow's frozen template. Raises HybridError when it is missing or damaged."""
        plan = self._plans.get(version)
        if plan is None:
            if len(self._plans) >= PLANS:
                self._plans.pop(next(iter(self._plans)))
            plan = self._plans[version] = Plan(self._store.template(version, workflow))
        return plan

    def begin(self, entry: Entry, at: str, job: Job | None) -> Run:
        """A run for a job that has not begun. `job` is given when its acceptance is to be committed with what comes
        next, and then is the run's first event."""
        is_new = job is not None
        job = job or self._fresh.pop(entry.id, None) or self._store.job(entry.id, entry.name)
        event = turn.created_event(job)
        state = evolve(None, event, 1, job.queued_at)
        run = Run(job, entry, self.plan(job.version, job.id), state, LargeOutputs(self._store, state))
        run.at = at
        if is_new:
            run.events.append(event)
        return run

    def load(self, workflow: str, entry: Entry | None = None) -> Run | None:
        """The run of a workflow that is not in memory; None when nothing is known of it. Raises JournalError."""
        history = self._store.history(workflow)
        return None if history is None else self.run_of(workflow, history, entry)

    def run_of(self, workflow: str, history: History, entry: Entry | None = None) -> Run:
        """The run that committed events add up to. Raises JournalError when they do not."""
        try:
            state = fold(history.entries, history.base)
        except (IllegalTransitionError, TypeError, AttributeError, ValueError) as error:
            raise JournalError(f"the journal of {workflow} tells an impossible story: {error}") from None
        if state is None or state.id != workflow:
            raise JournalError(f"the journal of {workflow} is that of another workflow")
        job = turn.job_of(state)
        plan = self.plan(state.version, workflow)
        return Run(job, entry or Entry.of(job), plan, state, LargeOutputs(self._store, state))
