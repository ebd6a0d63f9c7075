"""The loader: runs for jobs whose journal begins now, and the plans of frozen templates."""

from __future__ import annotations

from hybrid_engine.engine import turn
from hybrid_engine.engine.run import Entry, Run
from hybrid_engine.model.job import Job
from hybrid_engine.ports.storage import Store
from hybrid_engine.rules.decisions import Plan
from hybrid_engine.rules.transitions import evolve

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

    def begin(self, entry: Entry, at: str) -> Run:
        """A run whose first event waits to be committed with what comes next."""
        job = self._fresh.pop(entry.id, None) or self._store.job(entry.id, entry.name)
        event = turn.created_event(job)
        state = evolve(None, event, 1, at)
        run = Run(job, entry, self.plan(job.version, job.id), state, self._store.new_journal(entry.id), is_new=True)
        run.at = at
        run.events.append(event)
        return run
