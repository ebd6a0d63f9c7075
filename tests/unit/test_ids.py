"""Ids, names and queue names: what may become a path, and that sorting names is the order of work."""

from __future__ import annotations

import os
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import InputError
from hybrid_engine.model.ids import (
    check_id,
    check_name,
    check_user,
    is_id,
    is_name,
    keyed_workflow_id,
    parse_queue_name,
    queue_name,
    step_address,
    workflow_id,
)

HOSTILE = [
    "", ".", "..", "...", "a/b", "/etc/passwd", "../x", "a/../b", "a\0b", "a\nb", "a b", "-rf", "--help", ".hidden",
    "~", "$HOME", "a;b", "a|b", "a&b", "`id`", "$(id)", "a'b", 'a"b', "a\\b", "ü", "ａ", "١", "a\u200bb", "a\ud800",
    "a*", "a?", "CON:", "a%2fb", "x" * 129, "a..b", "a.", "\x7f", "{a,b}", "[a]", "#", "!", "@", "=",
]  # fmt: skip


def _stamp(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f".{when.microsecond:06}Z"


STAMP = st.datetimes().map(_stamp)


@pytest.mark.parametrize("text", [*HOSTILE, None, 5, b"a", ["a"]])
def test_what_could_do_harm_in_a_path_is_no_id(text: object) -> None:
    assert not is_id(text)
    with pytest.raises(InputError):
        check_id(text)


@pytest.mark.parametrize("text", [*HOSTILE, "a.b", "x" * 65, None, 5])
def test_what_could_do_harm_in_a_path_is_no_name(text: object) -> None:
    assert not is_name(text)
    with pytest.raises(InputError):
        check_name(text)


@pytest.mark.parametrize("text", [*HOSTILE, "a.b", "x" * 41])
def test_what_could_do_harm_in_a_path_is_no_user(text: str) -> None:
    with pytest.raises(InputError):
        check_user(text)


@given(st.text(max_size=140))
def test_an_id_is_one_plain_part_of_a_path(text: str) -> None:
    if is_id(text):
        assert os.path.normpath(os.path.join("/home/x", text)) == "/home/x/" + text
        assert text.isascii()
        assert not text.startswith((".", "-"))
        assert len(text) <= 128


@pytest.mark.parametrize("text", ["a", "_", "9", "user-ada-20261120T080000000000Z-abc", "a.b.c", "x" * 128])
def test_good_ids_are_good(text: str) -> None:
    assert check_id(text) == text


@given(STAMP, STAMP)
def test_ids_of_a_user_sort_as_their_moments(one: str, other: str) -> None:
    found = workflow_id("ada", one, "x"), workflow_id("ada", other, "x")
    assert all(map(is_id, found))
    assert (found[0] < found[1]) == (one < other)


@given(st.integers(0, 9), STAMP, st.integers(0, 9), STAMP)
def test_sorting_names_in_the_queue_is_the_order_of_work(p1: int, due1: str, p2: int, due2: str) -> None:
    first, second = queue_name(p1, due1, "w"), queue_name(p2, due2, "w")
    assert (first < second) == ((-p1, due1) < (-p2, due2))


@given(st.integers(0, 9), STAMP, st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_-]{0,20}(\.[a-z0-9]{1,5})?\Z"))
def test_a_name_in_the_queue_says_what_went_into_it(priority: int, due: str, workflow: str) -> None:
    found = parse_queue_name(queue_name(priority, due, workflow))
    assert found is not None
    assert (found[0], found[2]) == (priority, workflow)
    assert found[1] == due.replace("-", "").replace(":", "").replace(".", "")


@pytest.mark.parametrize(
    "name",
    [
        "", "a", "9-20261120T080000000000Z-.json", "9-20261120T080000000000Z-a", "99-20261120T080000000000Z-a.json",
        "x-20261120T080000000000Z-a.json", "9-2026-a.json", "9-20261120T080000000000Z-..json",
        "²-20261120T080000000000Z-a.json",
    ],
)  # fmt: skip
def test_other_names_are_none_of_jobs(name: str) -> None:
    assert parse_queue_name(name) is None


def test_a_key_names_one_workflow_of_its_user_and_template() -> None:
    found = {keyed_workflow_id(*each) for each in (("u", "t", "k"), ("u", "t", "l"), ("u", "s", "k"), ("v", "t", "k"))}
    assert len(found) == 4
    assert keyed_workflow_id("u", "t", "k") in found
    assert all(map(is_id, found))


@given(st.text(max_size=600), st.text(max_size=600))
def test_any_text_can_be_a_key_and_no_two_fall_together(one: str, other: str) -> None:
    try:
        found = keyed_workflow_id("ada", "report", one), keyed_workflow_id("ada", "report", other)
    except UnicodeEncodeError:
        return  # half of a surrogate pair: refused where keys come in
    assert is_id(found[0])
    assert (found[0] == found[1]) == (one == other)


def test_a_step_has_an_address_with_turn_and_item_where_there_are_any() -> None:
    assert [step_address("a"), step_address("a", 2), step_address("a", 0, 3)] == ["a", "a.2", "a.0.3"]
