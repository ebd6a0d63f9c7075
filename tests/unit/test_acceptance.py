"""From a request to a job: what it leaves open is the template's word, and what it says is its own."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_engine.model.job import Job
from hybrid_engine.rules.acceptance import make_job

NOW = "2026-11-20T08:00:00.000000Z"


def a_job(request: dict[str, Any], template: dict[str, Any]) -> Job:
    frozen = {"steps": {"one": {}}, **template}
    return make_job({"template": "t", **request}, frozen, "v1", id="w1", queued_at=NOW, trigger="cli")


@pytest.mark.parametrize(
    ("asked", "of_template", "priority"),
    [
        ({}, {}, 0),
        ({}, {"priority": 7}, 7),
        ({"priority": 3}, {"priority": 7}, 3),
        ({"priority": 0}, {"priority": 7}, 0),
    ],
)
def test_a_priority_is_the_requests_else_the_templates(
    asked: dict[str, Any], of_template: dict[str, Any], priority: int
) -> None:
    assert a_job(asked, of_template).priority == priority


def test_labels_of_the_request_go_over_those_of_the_template() -> None:
    job = a_job({"labels": {"team": "mine", "one": "1"}}, {"labels": {"team": "theirs", "two": "2"}})
    assert job.labels == {"team": "mine", "one": "1", "two": "2"}
