"""Slots and pools: order, limits, and that a place is never lost between two who wait."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.engine.slots import Candidate, Pools, Slots
from hybrid_engine.model.ids import queue_name

STAMPS = [f"2026-11-20T08:00:{second:02}.000000Z" for second in range(60)]


def candidate(workflow: str, step: str = "", position: int = -1) -> Candidate:
    return Candidate(f"9-{workflow}", workflow, position, step)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(STAMPS), st.sampled_from("abcdef")), max_size=30))
def test_candidates_come_by_priority_then_due_time_then_arrival(jobs: list[tuple[int, str, str]]) -> None:
    slots = Slots(1)
    for priority, due, workflow in jobs:
        slots.offer(Candidate(queue_name(priority, due, workflow), workflow))
    found = [slots.pop() for _ in jobs]
    expected = sorted(jobs, key=lambda job: (-job[0], job[1], job[2]))
    assert [each.workflow for each in found if each] == [workflow for *_, workflow in expected]
    assert slots.pop() is None


def test_steps_of_a_workflow_come_in_the_order_of_their_template() -> None:
    slots = Slots(1)
    for position, step in ((2, "a"), (0, "z"), (1, "m")):
        slots.offer(candidate("w", step, position))
    assert [each.step for each in (slots.pop(), slots.pop(), slots.pop()) if each] == ["z", "m", "a"]


def test_looking_at_the_first_takes_nobody() -> None:
    slots = Slots(2)
    assert slots.peek() is None
    slots.offer(candidate("w"))
    assert slots.peek() == slots.peek() == candidate("w")
    assert (len(slots), slots.free) == (1, 2)


def test_a_pool_has_so_many_places_and_a_holder_takes_one_once() -> None:
    pools = Pools()
    assert pools.enter("db", 2, "a")
    assert pools.enter("db", 2, "a")
    assert pools.enter("db", 2, "b")
    assert not pools.enter("db", 2, "c")
    assert pools.leave("db", "a") is None
    assert pools.enter("db", 2, "c")


def test_a_pool_is_full_as_far_as_its_last_visitor_knew_its_limit() -> None:
    pools = Pools()
    assert not pools.is_full("db"), "nobody has said how many may be in"
    pools.force("db", 2, "a")
    assert not pools.is_full("db")
    assert not pools.enter("db", 1, "b")
    assert pools.is_full("db")
    pools.leave("db", "a")
    assert not pools.is_full("db")


def test_a_pool_is_known_to_be_full_after_a_restart_before_anybody_asks_for_a_place() -> None:
    pools = Pools()
    pools.force("db", 1, "a")
    assert pools.is_full("db")


def test_who_leaves_wakes_the_first_who_waits_and_he_knows_what_for() -> None:
    pools = Pools()
    pools.enter("db", 1, "a")
    pools.park("db", candidate("c"))
    pools.park("db", candidate("b"))
    assert pools.leave("db", "nobody") is None
    assert pools.leave("db", "a") == candidate("b")._replace(pool="db")
    assert pools.next("db") == candidate("c")._replace(pool="db")
    assert pools.next("db") is None


def test_after_a_restart_holders_are_in_whatever_the_limit_says() -> None:
    pools = Pools()
    for holder in "abc":
        pools.force("db", 1, holder)
    assert not pools.enter("db", 1, "d")
    pools.leave("db", "a")
    assert not pools.enter("db", 1, "d")


def test_companions_are_all_who_wait_of_one_workflow() -> None:
    pools = Pools()
    for workflow, step in (("a", "x"), ("b", "x"), ("a", "y")):
        pools.park("db", candidate(workflow, step))
    assert [each.step for each in pools.companions("db", "a")] == ["x", "y"]
    assert pools.companions("db", "a") == []
    assert pools.next("db") == candidate("b", "x")._replace(pool="db")


@given(
    st.lists(st.tuples(st.sampled_from(["park", "enter", "leave"]), st.integers(0, 8)), max_size=60), st.integers(1, 3)
)
def test_nobody_waits_for_ever_beside_a_free_place(story: list[tuple[str, int]], limit: int) -> None:
    """Who is woken enters, or passes the place on: then waiting and free places never stand side by side."""
    pools, waiting = Pools(), set[str]()

    def wake(found: Candidate | None) -> None:
        while found is not None:
            waiting.discard(found.workflow)
            if pools.enter("db", limit, found.workflow):
                return
            pools.park("db", found)
            waiting.add(found.workflow)
            return

    for what, number in story:
        name = f"w{number}"
        if what == "leave":
            wake(pools.leave("db", name))
        elif name not in waiting and name not in pools.holders["db"] and not pools.enter("db", limit, name):
            pools.park("db", candidate(name))
            waiting.add(name)
        assert len(pools.holders["db"]) <= limit
        assert not waiting or len(pools.holders["db"]) == limit
