"""Arguments with an inner form, and the short way's reading of a command line."""

from __future__ import annotations

import pytest

from hybrid_engine.cli import fast
from hybrid_engine.cli.arguments import labels_of, params_of
from hybrid_engine.errors import JobError


def test_a_param_is_text_or_json() -> None:
    assert params_of(["a=1", "b:=[1, null]", "c=x=y:=z", "d="]) == {"a": "1", "b": [1, None], "c": "x=y:=z", "d": ""}


@pytest.mark.parametrize("text", ["a", "=1", ":=1", "a:={", "a:=NaN"])
def test_a_param_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(JobError):
        params_of([text])


def test_a_param_given_twice_is_refused() -> None:
    with pytest.raises(JobError, match="twice"):
        params_of(["a=1", "a=2"])


def test_labels_are_text() -> None:
    assert labels_of(["a=1", "b=c=d"]) == {"a": "1", "b": "c=d"}
    with pytest.raises(JobError):
        labels_of(["a"])


def test_the_short_way_reads_a_plain_command_line() -> None:
    argv = ["test", "-p", "a=1", "--param=b:=2", "--priority", "5", "--key=k", "--label", "x=y", "--user", "u"]
    assert fast.parse(argv) == {
        "template": "test", "params": {"a": "1", "b": 2}, "priority": 5, "key": "k", "labels": {"x": "y"}, "user": "u",
    }  # fmt: skip


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--help"],
        ["test", "--json"],
        ["test", "--wait"],
        ["test", "other"],
        ["test", "--priority", "10"],
        ["test", "--priority", "high"],
        ["test", "--key"],
        ["test", "--key", "a", "--key", "b"],
        ["test", "-x"],
        ["--", "test"],
    ],
)
def test_the_short_way_leaves_everything_unusual_to_typer(argv: list[str]) -> None:
    assert fast.parse(argv) is None
