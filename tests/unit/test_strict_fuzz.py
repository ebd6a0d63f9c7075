"""Both grammars, fuzzed: whatever bytes come, a value of plain data or an InputError with its file comes out.

Documents are generated from each grammar and then mutated, because bytes at random seldom get past the first token.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_engine.errors import InputError, JobError, TemplateError
from hybrid_engine.files.strict import guarded, parse_document, parse_object, yamltext
from hybrid_engine.files.templates import _checked, _template
from hybrid_engine.rules.requests import check_request

TEMPLATE = r"""
name: nightly
description: "Fetch \u00e9 & load\x21"
priority: 3
labels: {team: data, tier: 'two'}
concurrency: {pool: database, limit: 2}
params:
  date:  {type: string, pattern: '^\d{4}-\d{2}-\d{2}$', description: "Which night."}
  parts: {type: integer, default: 4, minimum: 1, maximum: 64}
  mode:  {choices: [full, changes], default: changes}
env: &env {TZ: UTC, NIGHT: "${{ params.date }}"}
defaults:
  timeout: 30m
  retry: {attempts: 3, delay: 1.5s, factor: 1e1}
steps:
  fetch:
    run: |
      ./bin/fetch "$NIGHT" > out
    env: *env
  check:
    call: quality.profile
    with: {path: "workflows/${{ workflow.id }}/artifacts", limit: [1, 2.5, null, true]}
  load:
    if: ${{ steps.check.output.score > 0.9 }}
    needs: [fetch, check]
    run: >-
      ./bin/load
      "$PARTS"
"""
JOB = {
    "template": "nightly", "params": {"date": "2026-11-20", "parts": 4.5e1, "list": [1, {"a": None}]}, "priority": 5,
    "labels": {"team": "data"}, "delay": "1h30m", "at": "2026-11-20T07:36:00Z", "key": "nightly 42", "user": "ada",
}  # fmt: skip
EVIL = st.sampled_from([
    "%YAML 1.3\n---\n", '"\\UFFFFFFFF"', '"\\U80000000"', "1e9999x", "1e9999", "1E-9999", "-", "0x", "9" * 120,
    "9" * 5000,
    "1e308", ".inf", "\\ud800", "\\", '"', "'", "\x00", "\x85", "\u2028", "\ufeff", "\U0010ffff", "[" * 70, "{" * 70,
    "]", "}",
    ": ", ":", ",", "\n", "\r", "\t", " ", "#", "&a ", "*a", "!", "!!python/object:x ", "|", ">", "? ", "- ", "---\n",
    "...\n", "<<: *env\n", "%TAG ! x\n", "${{", "}}", "null", "true", "NaN", "Infinity", "-0", "+1", "0b1", "1_000",
    "~",
    "format: 99\n", '"format":1e99,', "10000000000000000000d", "1e300", "99999999999999999999999",
])  # fmt: skip


def documents(text: str) -> st.SearchStrategy[bytes]:
    """`text` with one to four things put in, taken out, doubled or swapped."""
    place = st.integers(0, len(text))
    edit = st.tuples(place, st.integers(0, 12), EVIL | st.text(max_size=3) | st.just(""))
    slices = st.tuples(place, place)

    def mutated(edits: list[tuple[int, int, str]], copied: tuple[int, int] | None) -> bytes:
        changed = text
        for start, length, new in edits:
            changed = changed[:start] + new + changed[start + length :]
        if copied is not None:
            changed += changed[min(copied) : max(copied)]
        return changed.encode(errors="surrogatepass")

    return st.builds(mutated, st.lists(edit, min_size=1, max_size=4), st.none() | slices)


def plain(value: Any) -> bool:
    """Is this JSON and nothing else, so that a journal can hold it?"""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    todo = [value]
    while todo:
        item = todo.pop()
        if type(item) is dict:
            assert all(type(key) is str for key in item)
            todo += item.values()
        elif type(item) is list:
            todo += item
        else:
            assert item is None or type(item) in (bool, int, float, str)
    return True


def read(data: bytes, name: str) -> Any:
    """The value of a document, or None when it is refused as it should be."""
    try:
        value, places = parse_document(data, name, file=name)
    except JobError as error:
        assert error.file == name
        assert error.code
        assert (error.line or 1) >= 1 <= (error.column or 1)
        str(error).encode()
        return None
    assert plain(value)
    assert places.locate("steps.load.run")
    return value


def load(data: bytes, name: str) -> None:
    try:
        assert _template("nightly", data, name, name).version
    except TemplateError as error:
        assert all(problem.file == name for problem in error.problems or (error,))


def request(value: Any) -> None:
    try:
        check_request(value)
    except JobError as error:
        assert str(error)


@given(documents(TEMPLATE))
@settings(max_examples=250, deadline=None)
def test_a_mutated_yaml_template_is_read_or_refused(data: bytes) -> None:
    read(data, "t.yaml")
    load(data, "t.yaml")


@given(documents(json.dumps(yamltext.parse_yaml(TEMPLATE.encode())[0], indent=1)))
@settings(max_examples=250, deadline=None)
def test_a_mutated_json_template_is_read_or_refused(data: bytes) -> None:
    read(data, "t.json")
    load(data, "t.json")


HOSTILE = st.sampled_from([
    None, True, -1, 0, 10**99, 1e308, -1e308, 5e-324, "", " ", "x" * 300, "${{", "${{ steps }}", "${{ [steps] }}",
    "${{ 1 }}",
    "1e999d", "9" * 60 + "d", "1e300s", 1e300, "P1D", "9999-12-31T23:59:59-12:00", "(" * 90, "a{1000}{1000}", "\0",
    "é", [], {},
    [[]], {"a": {}}, {"": None}, {"a b": 1}, {"${{": 1}, ["a"] * 50, [None], [{}], "/", "..", "a.b", "a.b.c",
    "\U0010ffff", 0.1,
])  # fmt: skip


def with_a_part_replaced(value: Any, path: list[int], new: Any) -> Any:
    """`value` with the part that `path` leads to replaced by `new`; the numbers count children, modulo how many."""
    if not path or not isinstance(value, dict | list) or not value:
        return new
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[path[0] % len(keys)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = with_a_part_replaced(value[key], path[1:], new)
    return copy


PATHS = st.lists(st.integers(0, 9), min_size=1, max_size=4)


@given(st.lists(st.tuples(PATHS, HOSTILE), min_size=1, max_size=2))
@settings(max_examples=300, deadline=None)
def test_a_template_with_anything_in_place_of_a_part_is_taken_or_refused(changes: list[tuple[list[int], Any]]) -> None:
    value = yamltext.parse_yaml(TEMPLATE.encode())[0]
    for path, new in changes:
        value = with_a_part_replaced(value, path, new)
    load(json.dumps(value).encode(), "t.json")
    try:
        _checked("nightly", json.dumps(value).encode(), "t.json", "t.json")
    except TemplateError:
        pass  # and nothing else: the guard is for what nobody thought of


@given(st.lists(st.tuples(PATHS, HOSTILE), min_size=1, max_size=2))
@settings(max_examples=300, deadline=None)
def test_a_job_with_anything_in_place_of_a_part_is_taken_or_refused(changes: list[tuple[list[int], Any]]) -> None:
    value: Any = JOB
    for path, new in changes:
        value = with_a_part_replaced(value, path, new)
    request(value)


@given(documents(json.dumps(JOB)), st.sampled_from(["j.json", "j.yaml"]))
@settings(max_examples=300, deadline=None)
def test_a_mutated_job_is_read_or_refused(data: bytes, name: str) -> None:
    request(read(data, name))


@given(st.binary(max_size=80), st.sampled_from(["j.json", "j.yaml"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    request(read(data, name))


@given(st.lists(EVIL, max_size=8).map("".join), st.sampled_from(["j.json", "j.yaml"]))
@settings(max_examples=300, deadline=None)
def test_pieces_in_any_order_are_read_or_refused(text: str, name: str) -> None:
    request(read(text.encode(errors="surrogatepass"), name))


@given(st.binary(max_size=40) | documents('{"reason": "why", "by": ["a", 1e1]}'))
def test_the_content_of_a_signal_is_an_object_or_refused(data: bytes) -> None:
    try:
        assert plain(parse_object(data, file="cancel.json"))
    except JobError as error:
        assert error.file == "cancel.json"


@pytest.mark.parametrize("data", [b"", b" \n", b"{}"])
def test_a_signal_without_content_has_an_empty_object(data: bytes) -> None:
    assert parse_object(data) == {}


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b"\0"])
def test_a_signal_with_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(JobError):
        parse_object(data, file="s")


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    "failure",
    [AssertionError("x"), OverflowError(), KeyError(5), RecursionError("deep"), MemoryError(), StopIteration(),
     AttributeError("a\nb"), Speechless(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")],
)  # fmt: skip
def test_whatever_a_parser_raises_is_an_error_of_the_file(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise failure

    with pytest.raises(TemplateError, match=type(failure).__name__) as caught:
        guarded(broken, "YAML", "t.yaml", TemplateError)
    assert (caught.value.file, caught.value.code) == ("t.yaml", "syntax")
    monkeypatch.setattr(yamltext, "parse_simple", broken)
    with pytest.raises(InputError, match=r"t\.yaml"):
        parse_document(b"a: 1", "t.yaml", file="t.yaml")


def test_an_interruption_is_not_an_error_of_the_file() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(interrupted, "YAML", None, JobError)
