"""What an attempt leaves, read back: bytes of strangers become an output or an error, whatever they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_engine.errors import InputError
from hybrid_engine.execution import results
from hybrid_engine.execution.worker_functions import FunctionError, Functions, _success, answer_of
from hybrid_engine.model.attempt import Attempt

SHELL = Attempt("w1", "one", 1, "true", None, {}, {}, None, 5.0)
CALL = Attempt("w1", "one", 1, None, "m.f", {}, {}, None, 5.0)
BAD = [b'{"a":1e9999x}', b'{"a":1E9999.5}', b'{"a":"\\ud800"}', b"{" * 100_000, b'{"a":' + b"9" * 5000 + b"}", b"{\xff",
       b"a=1\n=2", b"a", b"\xff=1", b'{"a":1,"a":2}', b'{"a":NaN}']  # fmt: skip


@pytest.mark.parametrize("data", BAD)
def test_output_that_cannot_be_read_ends_the_step(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "output").write_bytes(data)
    outcome = results.of_exit(SHELL, str(tmp_path), 0)
    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error["kind"] == "bad_output"


@given(st.binary(max_size=60) | st.text('{}[]":,0123456789eE.-x\\ua= \n', max_size=30).map(str.encode))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_output_is_read_or_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "output").write_bytes(data)
    outcome = results.of_exit(SHELL, str(tmp_path), 0)
    json.dumps(outcome.output).encode()
    assert outcome.kind == "completed" or (outcome.error or {})["kind"] == "bad_output"


@pytest.mark.parametrize("data", [*BAD, b"", b"[1]", b"5", b"null", b'"error"', b"\0" * 50])
def test_an_answer_that_cannot_be_read_was_never_given(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "exit").write_bytes(data)
    assert results.of_word(CALL, str(tmp_path)) is None


@pytest.mark.parametrize("error", [5, None, "x", [], {}, {"kind": 1, "message": "m"}, {"kind": "k"}])
def test_an_answer_with_an_error_of_another_form_is_bad_output(tmp_path: Path, error: object) -> None:
    (tmp_path / "exit").write_bytes(json.dumps({"error": error}).encode())
    outcome = results.of_word(CALL, str(tmp_path))
    assert outcome is not None
    assert (outcome.kind, (outcome.error or {})["kind"]) == ("failed", "bad_output")


def test_the_words_of_an_error_can_be_written_into_a_journal() -> None:
    outcome = results.of_answer(CALL, {"error": {"kind": "exception", "message": "\ud800", "where": "a.py:\udfff"}})
    assert outcome.error == {"kind": "exception", "message": "\\ud800", "where": "a.py:\\udfff"}


# --- the worker's side


@pytest.mark.parametrize(
    "output", [{1: 2, "1": 3}, {"a": [{None: 1, "null": 2}]}, {True: 1, "true": 2}, {1.5: 1, "1.5": 2}]
)
def test_keys_that_become_one_are_bad_output(output: Any) -> None:
    with pytest.raises(FunctionError, match="is there twice") as caught:
        _success("k", output)
    assert caught.value.kind == "bad_output"


@pytest.mark.parametrize("output", [{1: 2, "2": 3}, {"a": (1, 2)}, {"a": {"a": 1}}, [{"a": 1}, {"a": 2}], None, 10**99])
def test_what_comes_back_whole_is_an_output(output: Any) -> None:
    assert json.loads(_success("k", output)) == {"key": "k", "output": json.loads(json.dumps(output))}


class Angry:
    def __str__(self) -> str:
        raise KeyError("no words")


@pytest.mark.parametrize(
    "output", [{"a": {1, 2}}, float("nan"), 10**100, "\ud800", Angry(), {Angry(): 1}, "x" * (1 << 20), [[]] * 400_000]
)
def test_what_is_not_json_is_bad_output(output: Any) -> None:
    with pytest.raises(FunctionError) as caught:
        _success("k", output)
    assert caught.value.kind == "bad_output"


class Raising(Functions):
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def get(self, name: str) -> Any:
        def call() -> None:
            raise self._error

        return call


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("\ud800"), "exception"), (ValueError(Angry()), "exception"), (SystemExit(Angry()), "exit"),
     (KeyboardInterrupt(), "exception")],
)  # fmt: skip
def test_whatever_a_function_raises_is_an_answer(error: BaseException, kind: str) -> None:
    answer = json.loads(answer_of(Raising(error), {"key": "k", "function": "m.f", "arguments": {}}))
    assert answer["error"]["kind"] == kind
    json.dumps(answer, ensure_ascii=False).encode()


def test_pairs_are_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(b"a=1\n\nb = x=y\n")
    assert results.read_output(str(tmp_path / "output")) == {"a": "1", "b": " x=y"}
    (tmp_path / "output").write_bytes(b"a=1\nb\n")
    with pytest.raises(InputError) as caught:
        results.read_output(str(tmp_path / "output"))
    assert (caught.value.file, caught.value.line) == ("output", 2)
