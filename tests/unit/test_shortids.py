"""Short ids grow only when they must, always lead back, and never look like an option."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.model.ids import is_id
from hybrid_engine.rules.shortids import meant, shorten

IDS = st.lists(st.text("ab-.1", min_size=1, max_size=12).filter(is_id), min_size=1, max_size=8, unique=True)


def test_a_short_id_is_the_random_end_of_an_id() -> None:
    one, two = "user-anonymous-20261121T124554167797Z-1a2b3c", "user-anonymous-20261121T124554167798Z-ffffff"
    assert shorten([one, two], [one, two]) == {one: "1a2b3c", two: "ffffff"}


def test_a_short_id_grows_by_what_tells_it_from_the_other_and_never_begins_with_a_dash() -> None:
    one, two = "user-anonymous-20261121T124554167797Z-1a2b3c", "user-anonymous-20261121T124554167798Z-1a2b3c"
    assert shorten([one], [two]) == {one: "7Z-1a2b3c"}
    assert shorten(["aaaa-1a2b3c"], ["bbbb.1a2b3c"]) == {"aaaa-1a2b3c": "a-1a2b3c"}


def test_an_id_that_is_short_is_shown_as_it_is() -> None:
    assert shorten(["night-42"], ["other-night-42"]) == {"night-42": "night-42"}


@given(IDS)
def test_a_short_id_leads_back_to_its_workflow_alone(ids: list[str]) -> None:
    for workflow, short in shorten(ids, ids).items():
        assert short == workflow or meant(ids, short, 9) == [workflow]
        assert short[0] not in "-."
