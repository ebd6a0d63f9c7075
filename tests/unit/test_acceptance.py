"""From a request to a job: what the template says, and what the request says over it."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_engine.errors import JobError
from hybrid_engine.model.job import Job
from hybrid_engine.rules.acceptance import make_job
from hybrid_engine.rules.requests import check_request

NOW = "2026-11-20T07:36:00.000000Z"


def accepted(request: dict[str, Any], **frozen: Any) -> Job:
    frozen = {"steps": {"a": {"run": "true"}, "b": {"run": "true"}}, **frozen}
    return make_job(
        check_request({"template": "t", **request}), frozen, "abc", id="w1", queued_at=NOW, trigger="inbox", source="x"
    )


@pytest.mark.parametrize(
    ("asked", "template", "priority"),
    [(None, None, 0), (None, 0, 0), (None, 7, 7), (3, None, 3), (3, 7, 3), (9, 7, 9), (0, 7, 0), (0, None, 0)],
)
def test_a_priority_is_the_jobs_own_or_the_templates(asked: int | None, template: int | None, priority: int) -> None:
    frozen = {} if template is None else {"priority": template}
    assert accepted({"priority": asked}, **frozen).priority == priority


def test_a_jobs_labels_come_on_top_of_the_templates() -> None:
    job = accepted({"labels": {"team": "red", "run": "1"}}, labels={"team": "blue", "tier": "two"})
    assert job.labels == {"team": "red", "tier": "two", "run": "1"}
    assert accepted({}, labels={"team": "blue"}).labels == {"team": "blue"}


def test_params_are_those_of_the_template_with_its_defaults() -> None:
    specs = {"n": {"type": "integer", "default": 4, "required": False}, "s": {}}
    assert accepted({"params": {"s": "x"}}, params=specs).params == {"n": 4, "s": "x"}
    with pytest.raises(JobError):
        accepted({"params": {"s": 5}}, params=specs)


@pytest.mark.parametrize(
    ("request_", "due"),
    [({}, NOW), ({"delay": "90s"}, "2026-11-20T07:37:30.000000Z"), ({"at": "2020-01-01T00:00:00Z"}, NOW)],
)
def test_a_job_is_due_when_it_asked_and_never_before_it_came(request_: dict[str, Any], due: str) -> None:
    assert accepted(request_).due_at == due


def test_a_job_without_a_user_is_somebodys() -> None:
    assert accepted({"user": "ada"}).user == "ada"
    assert accepted({}).user
    assert (accepted({}).steps, accepted({"key": "k"}).key, accepted({}).source) == (["a", "b"], "k", "x")
