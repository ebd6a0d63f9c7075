"""The names that an expression sees: large outputs are asked for only when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from builders import a_state

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model import events as e
from hybrid_engine.model.words import Json
from hybrid_engine.rules.context import names_of
from hybrid_engine.rules.expressions import evaluate

REFERENCE: dict[str, Json] = {"path": "steps/one/1/output.json", "bytes": 2, "sha256": "…"}
STATE = a_state(e.WorkflowStarted(), e.StepStarted("one", 1), e.StepCompleted("one", 1, None, 0, REFERENCE))


class Asked(Mapping[str, Json]):
    """One large output; `count` tells how often it was asked for."""

    def __init__(self, output: Json | ExpressionError) -> None:
        self.output = output
        self.count = 0

    def __getitem__(self, step: str) -> Json:
        assert step == "one"
        self.count += 1
        if isinstance(self.output, ExpressionError):
            raise self.output
        return self.output

    def __iter__(self) -> Iterator[str]:
        return iter(("one",))

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("text", "value", "count"),
    [
        ("${{ steps.one.status }}", "completed", 0),
        ("${{ steps.one.exit_code }}", 0, 0),
        ("${{ steps.one.output.rows }}", [1, 2], 1),
        ("${{ steps.one.output }}", {"rows": [1, 2]}, 1),
        ("${{ steps.one.output.rows[0] + steps['one'].output.rows[1] }}", 3, 1),
        ("${{ default(steps.one.output.none, 'x') }}", "x", 1),
        ("${{ steps.one.status == 'failed' and steps.one.output.rows }}", False, 0),
        ("${{ 'rows' in steps.one.output }}", True, 1),
    ],
)
def test_a_large_output_is_as_any_other_and_asked_for_once_when_it_is_looked_at(
    text: str, value: Json, count: int
) -> None:
    asked = Asked({"rows": [1, 2]})
    assert evaluate(text, names_of(STATE, asked)) == value
    assert asked.count == count


def test_a_step_with_a_large_output_has_the_fields_that_others_have() -> None:
    small = a_state(e.WorkflowStarted(), e.StepStarted("one", 1), e.StepCompleted("one", 1, 5, 0))
    seen = names_of(STATE, Asked(5))["steps"]["one"]
    assert dict(seen) == dict(names_of(small)["steps"]["one"])
    assert evaluate("${{ steps.one }}", names_of(STATE, Asked(5))) == dict(seen)


def test_a_lost_output_is_an_error_that_no_default_hides() -> None:
    asked = Asked(ExpressionError("the output of step one is lost"))
    with pytest.raises(ExpressionError, match="step one is lost, in `default"):
        evaluate("${{ default(steps.one.output.rows, 1) }}", names_of(STATE, asked))


def test_a_reopened_step_forgets_its_large_output() -> None:
    story = (e.WorkflowFailed(), e.WorkflowReopened(), e.StepReopened("one"))
    state = a_state(e.WorkflowStarted(), e.StepStarted("one", 1), e.StepCompleted("one", 1, None, 0, REFERENCE), *story)
    assert state.steps["one"].output_ref is None
