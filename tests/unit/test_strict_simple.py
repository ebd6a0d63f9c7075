"""The quick reader of simple YAML: what it takes, it reads as the full parser does, values and places."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_engine.errors import JobError
from hybrid_engine.files.strict.simpleyaml import MAX_TEXT, parse_simple
from hybrid_engine.files.strict.yamltext import _parse_events

JOB = """\
---
# a job as people write it
template: nightly   # the template
params:
  date: 2026-11-20
  parts: -5
  source: https://example.org/a?b=1&c=2
  "no": 'it is'
labels: {team: data, "on call": 'ann b', tier: 2}
tags: [a, 'b c', 3, true, null, "x"]
at: 2026-11-20T08:36:00+01:00
note: say "hello" to 5 > 3, then {stop}
empty:
nested:
    deeper:
      key: v
    other: 0.5
priority: 3
"""


def same_or_refused(text: str) -> bool:
    """Whether the quick reader took the text; when it did, both agree."""
    simple = parse_simple(text)
    if simple is None:
        return False
    value, positions = _parse_events(text, None, JobError)
    assert repr(simple[0]) == repr(value)  # also the types, and the order of keys
    assert (simple[1].values, simple[1].keys) == (positions.values, positions.keys)
    return True


@pytest.mark.parametrize(
    "text",
    [
        "template: a", "a: 1\nb: two words # why\n", "a:\n  b: 1\n  c:\n    d: x\ne: 2\n", "a: {b: 1, c: 'd e'}",
        "a: [1, -2, .5, x y, \"z\"]", "a: http://x:80/y", "a: 12:30:45", "a:\n\nb:\n", "a: ''", "a: b  \n",
        "---\na: 1", "a: $(date) ${{x}} 'q'", "a: b-c_d/e.f", "a: 0x1F", "  # c\na: 1\n   \n",
    ],
)  # fmt: skip
def test_simple_texts_are_read_as_the_full_parser_reads_them(text: str) -> None:
    assert same_or_refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "# c", "a", "- a", "a: 1\na: 2", "a: 1\n  b: 2", " a: 1", "a:\n  b: 1\n c: 2", "null: 1", "a: &x 1",
        "a: *x", "a: !t 1", "a: |\n  b", "a: 'it''s'", 'a: "\\n"', "a: b: c", "a: b:", "a: [1", "a: [[1]]", "a: []",
        "a: {}", "a: [1,]", "a: {b}", "a: {b: 1, b: 2}", "a: 014", "a: 1e999", "a: .nan", "a: é", "a:\tb", "a: b\r\n",
        "a: b#c", "a: 'b'#c", "a: @b", "a: - b", "a: b\nc", "a: 1\n---\nb: 2", "%YAML 1.2\n---\na: 1", "a:b", "a :b",
        "<<: {a: 1}", "? a", "a: -", "a: [-]", "a: [b]c", "x: {a: 1}}", "a: b\x00", "a: " + "b" * MAX_TEXT,
    ],
)  # fmt: skip
def test_everything_else_is_left_to_the_full_parser(text: str) -> None:
    assert parse_simple(text) is None


def test_a_usual_job_is_simple() -> None:
    assert not same_or_refused(JOB)  # for its quoted keys
    assert same_or_refused(JOB.replace('"no"', "nope").replace('"on call"', "on-call"))


PIECES = st.sampled_from([
    "a", "b", "key", "null", "true", "no", "1", "-1", "0.5", "1e3", "014", "0x1F", "~", ".inf", ": ", ":", "\n",
    "\n  ", "\n    ", "\n ", " ", "  ", "#", " # c", "'", '"', "[", "]", "{", "}", ", ", ",", "- ", "-", "&a", "*a",
    "!",
    "|", ">", "?", "%", "@", "`", "\\", "---", "...", "$(", "/", "é", "\t", "\r", "a: ", "b: ", "c:\n  ",
    "'x y'", '"z"', "[1, 2]", "{a: 1}", "=", "<<", ";", "+", ".", "(", ")", "^", "~",
])  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
@settings(max_examples=800, deadline=None)
def test_pieces_in_any_order_are_read_alike(text: str) -> None:
    same_or_refused(text)


@given(st.text(st.characters(min_codepoint=9, max_codepoint=126), max_size=12), st.integers(0, 6))
@settings(max_examples=800, deadline=None)
def test_any_value_in_any_place_is_read_alike(value: str, place: int) -> None:
    shapes = ["a: {}", "{}: 1", "a: [x, {}]", "a: {{b: {}, c: 1}}", "a:\n  {}: x", "a: 1\n{}\nb: 2", "a:{}b"]
    same_or_refused(shapes[place].format(value))


def test_a_job_with_something_changed_is_read_alike() -> None:
    dice = random.Random(20261120)
    plain = JOB.replace('"no"', "nope").replace('"on call"', "on-call")
    taken = 0
    for _ in range(1500):
        at = dice.randrange(len(plain))
        text = plain[:at] + dice.choice(" :#'\"[]{},-\n&!?x5\t") + plain[at + dice.randrange(3) :]
        taken += same_or_refused(text)
    assert taken > 300


def test_no_text_takes_long() -> None:
    for text in ("a: " + "b " * 30_000, "a: " + ": " * 30_000, "a: [" + "b, " * 20_000, "a: '" * 15_000, " " * 60_000):
        assert parse_simple(text + "\x01") is None
