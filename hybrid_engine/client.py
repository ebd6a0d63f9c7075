"""`Client`: for Python programs that enqueue and look, with the daemon up or down.

It asks the way everybody does, by files: nothing here takes part in running workflows, and a program that dies leaves
nothing half done. An instance may be used from any thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, overload

from hybrid_engine.engine.queries import Queries
from hybrid_engine.engine.stepchoice import StepChoice
from hybrid_engine.errors import JobError
from hybrid_engine.files import dropbox, submission
from hybrid_engine.files.place import check_is_home
from hybrid_engine.model.ids import keyed_workflow_id
from hybrid_engine.model.jsontext import decode
from hybrid_engine.model.stamps import stamp
from hybrid_engine.opening import open_commands, open_queries
from hybrid_engine.rules.params import check_params
from hybrid_engine.rules.requests import check_request, due_at
from hybrid_engine.settings import load

Record = dict[str, Any]


class Client:
    """One home: `home`, else HYBRID_HOME, else the current folder. Raises HomeError when there is none."""

    def __init__(self, home: str | None = None, *, user: str | None = None) -> None:
        from hybrid_engine.files.templates import TemplateStore

        settings = load(home=home)
        self._settings = settings if user is None else settings.but(user=user)
        self._layout = settings.layout
        self._queries: Queries = open_queries(settings)
        self._commands = open_commands(self._settings, self._queries)
        self._templates = TemplateStore(self._layout)
        self._frozen: dict[str, tuple[str, dict[str, Any]]] = {}

    @property
    def home(self) -> str:
        return self._layout.home

    # --- ways in

    def enqueue(
        self,
        template: str,
        params: Mapping[str, Any] | None = None,
        *,
        priority: int | None = None,
        delay: str | float | timedelta | None = None,
        at: str | datetime | None = None,
        key: str | None = None,
        labels: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> str:
        """Ask for a workflow; returns its id. It is durable when this returns. The same `key`: the same workflow.

        Raises JobError for what is wrong with it, TemplateError for a template that cannot be used.
        """
        raw = {
            "template": template,
            "params": dict(params) if params else None,
            "priority": priority,
            "delay": delay,
            "at": at,
            "key": key,
            "labels": dict(labels) if labels else None,
            "user": user,
        }
        version, frozen = self._template(template)
        request, job = submission.prepare(_plain(raw), frozen, version, trigger="api", user=self._settings.user)
        submission.submit(self._layout, request, job)
        return job.id

    def enqueue_many(self, jobs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Ask for many workflows, each given like a job file; returns their ids, in order.

        All are checked before anything is written; then they are one file, durable when this returns, which the daemon
        takes up (now, or when one runs). Raises JobError that says which are wrong.
        """
        check_is_home(self._layout)
        raws = [_plain(job) for job in jobs]
        fresh = iter(dropbox.new_ids(self._settings.user, len(raws)))
        now = dropbox.stamp_now()
        requests: dict[str, dict[str, Any]] = {}
        templates: dict[str, dict[str, Any]] = {}
        ids, problems = [], []
        for number, raw in enumerate(raws):
            try:
                request = self._checked(raw, now, next(fresh), templates)
            except JobError as error:
                problems.append(_numbered(error, number))
                continue
            ids.append(request["id"])
            if request["id"] not in requests and not ("key" in request and self._is_known(request["id"])):
                requests[request["id"]] = request
        if problems:
            raise JobError.of(problems)
        if requests:
            dropbox.drop_many(
                self._layout,
                list(requests.values()),
                is_known=lambda: submission.were_accepted(self._layout, list(requests)),
            )
        return ids

    def _checked(
        self, raw: dict[str, Any], now: str, fresh: str, templates: dict[str, dict[str, Any]]
    ) -> dict[str, Any]:
        """The request to drop: only what was asked for, with its id, and with a delay turned into its moment.

        `templates` holds the frozen templates already looked at for this call: the files are read once.
        """
        request = check_request(raw)
        if "id" in request:
            raise JobError("is given by the engine: use `key`", path="id")
        name = request["template"]
        frozen = templates.get(name)
        if frozen is None:
            frozen = templates[name] = self._template(name)[1]
        check_params(frozen.get("params") or {}, request.get("params") or {})
        user = request.setdefault("user", self._settings.user)
        if request.get("delay"):
            request["at"] = due_at(request, now)
        request.pop("delay", None)
        if "key" in request:
            request["id"] = keyed_workflow_id(user, name, request["key"])
        else:
            request["id"] = fresh if user == self._settings.user else dropbox.new_ids(user, 1)[0]
        request["trigger"] = "api"
        return request

    def _is_known(self, workflow: str) -> bool:
        return submission.is_known(self._layout, workflow)

    def _template(self, name: str) -> tuple[str, dict[str, Any]]:
        """(version, frozen definition) of the template in use now."""
        template = self._templates.current(name)
        known = self._frozen.get(name)
        if known is None or known[0] != template.version:
            known = self._frozen[name] = (template.version, decode(template.to_frozen()))
        return known

    def cancel(self, workflow: str, reason: str | None = None) -> None:
        """Ask for the workflow's end. Raises NotFoundError, ConflictError."""
        self._commands.ask("cancel", workflow, reason)

    def pause(self, workflow: str) -> None:
        """Ask that nothing more of it is started."""
        self._commands.ask("pause", workflow)

    def resume(self, workflow: str) -> None:
        """Let a paused workflow go on."""
        self._commands.ask("resume", workflow)

    def retry(self, workflow: str, *, from_step: str | None = None, steps: Collection[str] = ()) -> None:
        """Run again what failed or was cancelled, and all that depends on it; what is not affected is kept.

        With `from_step` that step too, and all that depends on it; with `steps` only these, and what depends on them.
        Both can be asked of a completed workflow.
        """
        self._commands.retry(workflow, StepChoice(from_step, tuple(steps)))

    # --- ways to look

    def get(self, workflow: str) -> Record:
        """All that is known of a workflow, as in its `state.json`. Raises NotFoundError."""
        return self._queries.get(workflow)

    def why(self, workflow: str) -> str:
        """In one line: what it waits for, or how it ended."""
        return self._queries.why(workflow)

    @overload
    def wait(self, ids: str, timeout: float | None = None) -> str: ...  # type: ignore[overload-overlap]

    @overload
    def wait(self, ids: Iterable[str], timeout: float | None = None) -> dict[str, str]: ...

    def wait(self, ids: str | Iterable[str], timeout: float | None = None) -> str | dict[str, str]:
        """Wait until one workflow, or many, have ended; returns the final status, or that of each by id.

        "completed", "failed", "cancelled", or "rejected" when the daemon could not accept the job. Raises TimeoutError
        after `timeout` seconds.
        """
        wanted = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
        found = self._queries.wait(wanted, timeout)
        missing = [workflow for workflow in wanted if workflow not in found]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise TimeoutError(f"{missing[0]}{more} had not ended after {timeout:g} s")
        return found[wanted[0]] if isinstance(ids, str) else found

    def list(
        self,
        *,
        status: str | Collection[str] | None = None,
        template: str | None = None,
        labels: Mapping[str, str | None] | None = None,
        user: str | None = None,
        key: str | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> list[Record]:
        """Workflows that fit all filters, newest first; go on behind the last one with `after=row["cursor"]`."""
        return self._queries.page(
            status=[status] if isinstance(status, str) else status,
            template=template,
            labels=labels,
            user=user,
            key=key,
            since=stamp(since) if isinstance(since, datetime) else since,
            until=stamp(until) if isinstance(until, datetime) else until,
            limit=limit,
            after=after,
        )


def _plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A request as a job file has it: what is None is left out, moments and lengths of time are text and numbers."""
    found = {name: value for name, value in raw.items() if value is not None}
    if isinstance(found.get("at"), datetime):
        if found["at"].tzinfo is None:
            raise JobError("has no time zone: use an aware datetime", path="at")
        found["at"] = stamp(found["at"])
    if isinstance(found.get("delay"), timedelta):
        found["delay"] = found["delay"].total_seconds()
    return found


def _numbered(error: JobError, number: int) -> JobError:
    """The error of one job of many, with its place in the list in its path."""
    for problem in error.problems or (error,):
        problem.path = f"jobs[{number}].{problem.path}" if problem.path else f"jobs[{number}]"
    return JobError.of(error.problems) if error.problems else error
