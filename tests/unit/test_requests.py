"""Requests: what a job file may ask for, field by field."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import JobError
from hybrid_engine.rules.requests import check_request, due_at

NESTED: list[object] = [1]
for _ in range(64):
    NESTED = [NESTED]
NOW = "2026-11-20T07:36:00.000000Z"


def problems(raw: object) -> dict[str | None, str]:
    with pytest.raises(JobError) as caught:
        check_request(raw)
    return {problem.path: str(problem) for problem in caught.value.problems or (caught.value,)}


def test_a_full_request_is_taken() -> None:
    raw = {
        "format": 1, "template": "t", "params": {"a": [1, {"b": None}]}, "priority": 9, "delay": "1h30m",
        "key": "nightly 42",
        "labels": {"team": "blue"}, "user": "ada", "id": "user-ada-key-1", "trigger": "cli",
    }  # fmt: skip
    assert check_request(raw) == raw


def test_params_are_as_deep_as_a_document_may_be() -> None:
    assert check_request({"template": "t", "params": {"x": NESTED[0][0]}})  # type: ignore[index]
    assert check_request({"template": "t", "params": {"x": ({"a": (1, 2)},)}})


def test_what_is_null_counts_as_not_given() -> None:
    assert check_request({"template": "t", "params": None, "key": None, "at": None}) == {"template": "t"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("template", ""), ("template", "../x"), ("template", "a/b"), ("template", "a" * 65), ("template", 5),
        ("template", "ä"),
        ("params", []), ("params", "x"), ("params", {1: 2}), ("params", {"x": float("nan")}),
        ("params", {"x": object()}), ("params", {"x": {1: 2, "1": 3}}), ("params", {"x": [({None: 1},)]}),
        ("params", {"x": NESTED[0]}), ("params", {"x": NESTED}),
        ("params", {"x": "y" * (1 << 20)}), ("params", {"x": "\ud800"}),
        ("priority", -1), ("priority", 10), ("priority", True), ("priority", "5"), ("priority", 1.0),
        ("delay", "soon"), ("delay", -1), ("delay", True), ("delay", []), ("delay", 10**400),
        ("at", "tomorrow"), ("at", "2026-11-20"), ("at", "2026-11-20T07:36:00"), ("at", 5),
        ("at", "2026-13-20T07:36:00Z"),
        ("at", "9999-12-31T23:59:59-12:00"), ("at", "0001-01-01T00:00:00+12:00"), ("at", "2026-W10-1T00:00:00Z"),
        ("key", ""), ("key", "a" * 513), ("key", "a\nb"), ("key", "a\0"), ("key", "\x7f"), ("key", 5),
        ("key", "\ud800"),
        ("labels", []), ("labels", {"a b": "x"}), ("labels", {5: "x"}), ("labels", {f"l{n}": "" for n in range(65)}),
        ("user", ""), ("user", "a/b"), ("user", ".."), ("user", "a" * 41), ("user", 5), ("user", "a\n"),
        ("id", ""), ("id", "../x"), ("id", "a..b"), ("id", "-a"), ("id", "a" * 129), ("id", "a."), ("id", 5),
        ("trigger", "magic"), ("trigger", []),
    ],
)  # fmt: skip
def test_a_bad_field_is_told_at_its_path(field: str, value: object) -> None:
    assert list(problems({"template": "t", field: value})) == [field]


@pytest.mark.parametrize("value", [5, None, "x" * 257, "a\x1b[31m"])
def test_a_label_is_short_clean_text(value: object) -> None:
    assert [path in ("labels.a", "labels") for path in problems({"template": "t", "labels": {"a": value}})] == [True]


@pytest.mark.parametrize("raw", [None, [], "x", 5, True])
def test_what_is_no_mapping_is_refused(raw: object) -> None:
    assert list(problems(raw)) == [None]


def test_an_unknown_field_is_told_with_the_nearest_one() -> None:
    found = problems({"template": "t", "parms": {}, 5: 1})
    assert "did you mean 'params'?" in found["parms"]
    assert list(found) == ["parms", "5"]


def test_a_template_must_be_named() -> None:
    assert "missing" in problems({})["template"]
    assert "missing" in problems({"template": None})["template"]


def test_delay_and_at_exclude_each_other() -> None:
    assert list(problems({"template": "t", "delay": 5, "at": NOW})) == ["at"]


@pytest.mark.parametrize(
    ("written_by", "code"), [(2, "newer_format"), (0, "invalid"), ("1", "invalid"), (True, "invalid")]
)
def test_only_formats_we_know_are_read(written_by: object, code: str) -> None:
    with pytest.raises(JobError) as caught:
        check_request({"format": written_by, "template": "../other"})
    assert (caught.value.path, caught.value.code) == ("format", code)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i)
    )
)
def test_anything_at_all_is_taken_or_refused(raw: object) -> None:
    for value in (
        raw,
        {"template": "t", "params": raw, "delay": raw, "at": raw, "labels": raw, "key": raw, "user": raw},
    ):
        try:
            assert check_request(value)["template"]
        except JobError as error:
            assert str(error)


@pytest.mark.parametrize(
    ("request_", "due"),
    [
        ({}, NOW),
        ({"delay": 0}, NOW),
        ({"delay": "90s"}, "2026-11-20T07:37:30.000000Z"),
        ({"delay": 0.5}, "2026-11-20T07:36:00.500000Z"),
        ({"at": "2026-11-20T09:00:00+01:00"}, "2026-11-20T08:00:00.000000Z"),
        ({"at": "2026-11-20 08:00:00.25z"}, "2026-11-20T08:00:00.250000Z"),
        ({"at": "1999-01-01T00:00:00Z"}, NOW),
    ],
)
def test_a_job_is_due_as_it_asked_but_never_in_the_past(request_: dict[str, object], due: str) -> None:
    assert due_at(check_request({"template": "t", **request_}), NOW) == due


def test_checking_a_request_imports_nothing_heavy() -> None:
    code = (
        "import sys; from hybrid_engine.rules.requests import check_request;"
        "check_request({'template': 't', 'params': {}, 'delay': '5s', 'labels': {'a': 'b'}});"
        "print(*{'json', 're', 'typing', 'dataclasses', 'pydantic', 'enum'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
