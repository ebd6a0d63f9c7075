"""The graph of steps: circles are found and named, orders are orders, and nothing recurses."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import TemplateError
from hybrid_engine.rules.graph import (
    Ancestry,
    ancestors,
    check_graph,
    dependents,
    descendants,
    find_cycle,
    topological_order,
)


class Node(NamedTuple):
    needs: tuple[str, ...]


def graph(**needs: str) -> dict[str, Node]:
    return {name: Node(tuple(text.split())) for name, text in needs.items()}


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, Node]:
    """Steps that need only steps drawn before them, in shuffled order."""
    size = draw(st.integers(1, 12))
    nodes = {f"s{i}": Node(tuple(f"s{j}" for j in draw(st.sets(st.integers(0, i - 1))))) for i in range(1, size)}
    nodes["s0"] = Node(())
    return {name: nodes[name] for name in draw(st.permutations(sorted(nodes)))}


@st.composite
def anything(draw: st.DrawFn) -> dict[str, Node]:
    size = draw(st.integers(1, 8))
    names = st.integers(0, size - 1).map("s{}".format)
    return {f"s{i}": Node(tuple(draw(st.lists(names, max_size=3)))) for i in range(size)}


@given(acyclic())
def test_every_step_comes_after_what_it_needs(steps: dict[str, Node]) -> None:
    check_graph(steps)
    order = topological_order(steps)
    assert sorted(order) == sorted(steps)
    assert all(order.index(need) < order.index(name) for name in steps for need in steps[name].needs)


@given(anything())
def test_a_graph_has_an_order_or_a_circle_and_the_circle_is_one(steps: dict[str, Node]) -> None:
    circle = find_cycle(steps)
    assert bool(circle) == (len(topological_order(steps)) < len(steps))
    if circle:
        assert circle[0] == circle[-1]
        assert all(need in steps[name].needs for name, need in pairwise(circle))
        with pytest.raises(TemplateError, match="circle"):
            check_graph(steps)


@given(acyclic())
def test_ancestors_dependents_and_descendants_agree(steps: dict[str, Node]) -> None:
    behind, order = dependents(steps), Ancestry(steps)
    for name, step in steps.items():
        assert all(name in behind[need] for need in step.needs)
        before = ancestors(steps, name)
        assert {other for other in steps if order.is_before(other, name)} == before
        assert all(name in descendants(steps, [other]) for other in before)


def test_a_circle_is_told_by_name() -> None:
    with pytest.raises(TemplateError, match="a -> c -> b -> a") as caught:
        check_graph(graph(a="c", b="a", c="b", d=""))
    assert (caught.value.code, caught.value.path) == ("cycle", "steps.a.needs")


def test_a_step_that_needs_itself_is_a_circle() -> None:
    with pytest.raises(TemplateError, match="a -> a"):
        check_graph(graph(a="a"))


def test_unknown_needs_are_all_told_with_the_nearest_name() -> None:
    with pytest.raises(TemplateError) as caught:
        check_graph(graph(profile="", clean="profle", publish="clean nothing"))
    first, second = caught.value.problems
    assert (first.path, first.hint) == ("steps.clean.needs", "did you mean 'profile'?")
    assert "nothing" in second.message


def test_a_need_that_is_written_twice_counts_once() -> None:
    steps = graph(a="", b="a a")
    assert topological_order(steps) == ["a", "b"]
    assert dependents(steps) == {"a": ["b"], "b": []}


def test_a_chain_of_ten_thousand_steps_is_no_problem() -> None:
    steps = {f"s{i}": Node((f"s{i + 1}",) if i < 9_999 else ()) for i in range(10_000)}
    check_graph(steps)
    assert topological_order(steps)[0] == "s9999"
    assert len(ancestors(steps, "s0")) == 9_999
    assert Ancestry(steps).is_before("s9999", "s0")
    steps["s9999"] = Node(("s0",))
    assert len(find_cycle(steps)) == 10_001
    with pytest.raises(TemplateError, match="…"):
        check_graph(steps)
