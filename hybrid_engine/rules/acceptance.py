"""From a checked request to a job: priority, params, labels and due time as the template and the moment say.

Light module: `hybrid enqueue` accepts a job itself when no engine runs.
"""

from __future__ import annotations

from hybrid_engine.model.ids import ANONYMOUS
from hybrid_engine.model.job import Job
from hybrid_engine.rules.params import check_params
from hybrid_engine.rules.requests import due_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def make_job(
    request: dict[str, Any],
    frozen: dict[str, Any],
    version: str,
    *,
    id: str,
    queued_at: str,
    trigger: str,
    source: str | None = None,
    coerce: bool = False,
) -> Job:
    """The job that `request` (as `check_request` returns it) makes of a frozen template's JSON object.

    Raises JobError when the params do not fit. `coerce`: params come from a command line, as text.
    """
    params = check_params(frozen.get("params") or {}, request.get("params") or {}, coerce=coerce)
    priority = request.get("priority")
    return Job(
        id=id,
        template=request["template"],
        version=version,
        queued_at=queued_at,
        due_at=max(due_at(request, queued_at), queued_at),
        params=params,
        priority=priority if priority is not None else frozen.get("priority") or 0,
        key=request.get("key"),
        labels={**(frozen.get("labels") or {}), **(request.get("labels") or {})},
        user=request.get("user") or ANONYMOUS,
        trigger=trigger,
        source=source,
        steps=list(frozen["steps"]),
    )
