"""Lives of an engine in memory: whatever may happen to it, in any order, and the laws it must keep meanwhile.

`Life` is a hypothesis state machine, which finds the shortest story of a failure; `tell` makes the same rules into one
long story from a seed, which reaches further. At the end of each story everything is let go: then every workflow must
have ended, and every slot and place must have been given back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from inspect import signature
from random import Random
from typing import Any

from builders import a_job, a_template, at
from contracts.memory import Disk, MemoryEngine, Process, World
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from laws import no_result_is_older_than_what_it_was_made_from

from hybrid_engine.files import views
from hybrid_engine.model import events as e
from hybrid_engine.model.attempt import Attempt
from hybrid_engine.model.signals import Signal
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.model.template import Template
from hybrid_engine.model.waits import FOR_A_SLOT, POOL

CONDITIONS = (True, False, "${{ params.go }}", "${{ steps.a.status == 'completed' }}", "${{ 1 / 0 }}")
WORKFLOWS = 8
PATIENCE = 2_000

ARGUMENTS: dict[str, Sequence[Any]] = {
    "which": range(1_000), "fate": range(1_000), "template": range(300), "percent": range(101), "slots": (1, 2, 3),
    "priority": (0, 1, 2), "delay": (0, 0, 0, 30), "seconds": (0.1, 1.5, 35.0), "go": (True, False),
    "verb": ("cancel", "pause", "resume", "retry", "teleport"), "choice": range(300),
    "kind": ("completed", "completed", "completed", "failed", "failed", "timeout", "lost", "cancelled"),
    "fault": ("commit", "commit", "settle"),
}  # fmt: skip
"""What each argument of a rule may be."""

POSSIBLE: dict[str, Callable[[Any], Any]] = {
    "a_job_is_accepted": lambda life: len(life.templates) < WORKFLOWS,
    "a_signal_is_dropped": lambda life: life.templates,
    "signals_are_read_once_more": lambda life: any(life.disk.signals.values()),
    "an_attempt_ends": lambda life: life.world.running(),
    "an_outcome_comes_again": lambda life: life.world.ended(),
    "an_attempt_says_how_far_it_is": lambda life: life.world.processes,
}
"""When a rule makes sense; the others always do."""


def any_of(*names: str) -> dict[str, Any]:
    """Arguments for hypothesis to choose."""
    return {name: st.sampled_from(ARGUMENTS[name]) for name in names}


def when(name: str) -> Any:
    return precondition(POSSIBLE[name])


@cache
def any_template(number: int) -> Template:
    """One of many graphs of up to five steps, with every feature that has to do with order."""
    dice = Random(number)
    names = "abcde"[: dice.randint(1, 5)]
    steps = {name: any_step(dice, names[:place]) for place, name in enumerate(names)}
    fields: dict[str, Any] = {"params": {"go": {"type": "boolean", "default": False}, "nothing": {"required": False}}}
    if dice.random() < 0.6:
        fields["concurrency"] = dice.choice(({"pool": "flows1", "limit": 1}, {"pool": "flows2", "limit": 2}))
    return a_template(steps, name=f"t{number}", **fields)


def any_step(dice: Random, before: str) -> dict[str, Any]:
    step: dict[str, Any] = {
        "needs": dice.sample(before, dice.randint(0, len(before))),
        "continue_on_error": dice.random() < 0.3,
        "retry": {
            "attempts": dice.randint(1, 3), "delay": dice.choice((0, 1, 40)),
            "lost": dice.randint(0, 2), "jitter": dice.random() < 0.5,
        },
    }  # fmt: skip
    if before and dice.random() < 0.4:
        step["if"] = dice.choice(CONDITIONS)
        step["needs"] = sorted({*step["needs"], "a"})
    if dice.random() < 0.1:
        step["env"] = {"BROKEN": "${{ params.nothing.at_all }}"}
    if dice.random() < 0.5:
        step["concurrency"] = dice.choice(({"pool": "steps1", "limit": 1}, {"pool": "steps2", "limit": 2}))
    return step


def any_choice(number: int, steps: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The steps that a retry is asked for: none, from one on, or some of them; now and then one that is not there."""
    dice = Random(number)
    kind = dice.choice(("", "", "from", "only"))
    if kind == "from":
        return dice.choice([*steps, "nowhere"]), ()
    return None, tuple(dice.sample(steps, dice.randint(1, len(steps)))) if kind else ()


def one_of(found: Iterable[str], which: int) -> str:
    choice = sorted(found)
    return choice[which % len(choice)]


class Life(RuleBasedStateMachine):
    """A home, its engines one after the other, and all that may befall them. The last figure of a pool is its limit."""

    def __init__(self) -> None:
        super().__init__()
        self.disk, self.world = Disk(), World()
        self.templates: dict[str, Template] = {}
        self.signals = 0
        self.world.on_submit = self.may_be_submitted

    @initialize(**any_of("slots"))
    def begin(self, slots: int) -> None:
        self.slots = slots
        self.engine = MemoryEngine(self.disk, self.world, slots)

    # --- what may happen

    @when("a_job_is_accepted")
    @rule(**any_of("template", "priority", "delay", "go"))
    def a_job_is_accepted(self, template: int, priority: int, delay: float, go: bool) -> None:
        workflow = f"w{len(self.templates)}"
        definition = self.templates[workflow] = any_template(template)
        now = self.engine.reactor.now
        params = {"go": go, "nothing": None}
        job = a_job(workflow, definition, params=params, queued_at=at(now), due_at=at(now + delay), priority=priority)
        self.engine.admit(job, definition)

    @when("a_signal_is_dropped")
    @rule(**any_of("which", "verb", "choice"))
    def a_signal_is_dropped(self, which: int, verb: str, choice: int) -> None:
        self.signals += 1
        workflow = one_of(self.templates, which)
        from_step, steps = any_choice(choice, list(self.templates[workflow].steps))
        self.engine.signal(workflow, verb, f"{verb}.{self.signals}", from_step, steps)

    @when("signals_are_read_once_more")
    @rule(**any_of("which"))
    def signals_are_read_once_more(self, which: int) -> None:
        workflow = one_of((name for name, found in self.disk.signals.items() if found), which)
        for signal in list(self.disk.signals[workflow].values()):
            again = Signal(signal.verb, signal.name, signal.by, None, signal.from_step, signal.steps)
            self.engine.driver.signal(workflow, again)

    @when("an_attempt_ends")
    @rule(**any_of("which", "kind"))
    def an_attempt_ends(self, which: int, kind: str) -> None:
        key = one_of((process.attempt.key for process in self.world.running()), which)
        if kind == "cancelled" and not self.world.processes[key].cancelled:
            kind = "completed"
        self.engine.executor.end(key, kind, {"by": key}, 1 if kind == "failed" else None)

    @when("an_outcome_comes_again")
    @rule(**any_of("which"))
    def an_outcome_comes_again(self, which: int) -> None:
        self.engine.executor.say_again(one_of(self.world.ended(), which))

    @when("an_attempt_says_how_far_it_is")
    @rule(**any_of("which", "percent"))
    def an_attempt_says_how_far_it_is(self, which: int, percent: int) -> None:
        self.engine.executor.progress(one_of(self.world.processes, which), percent)

    @rule()
    def the_reactor_turns(self) -> None:
        self.engine.reactor.run()

    @rule(**any_of("seconds"))
    def time_goes_on(self, seconds: float) -> None:
        self.engine.reactor.advance(seconds)

    @rule(**any_of("fault"))
    def the_disk_will_fail(self, fault: str) -> None:
        self.disk.faults.append(fault)

    @rule()
    def the_disk_works_again(self) -> None:
        self.engine.works_again()

    @rule()
    def the_machine_is_short_of_something(self) -> None:
        self.world.shortages = 1

    @rule(**any_of("fate"))
    def the_engine_is_killed(self, fate: int) -> None:
        """Its processes go on, or end with word or without while nobody looks."""
        dice = Random(fate)
        for process in self.world.running():
            ends = dice.choice(("", "", "completed", "failed", "dies"))
            if ends == "dies":
                process.dead = True
            elif ends:
                self.engine.executor.end(process.attempt.key, ends, "word")
        self.disk.crash()
        self.start_again()

    @rule(**any_of("fate"))
    def the_power_fails(self, fate: int) -> None:
        """Nothing lives on, and of what was not synced any part may be left."""
        for process in self.world.running():
            process.dead = True
        self.disk.crash(Random(fate))
        self.start_again()

    @rule()
    def the_engine_is_stopped(self) -> None:
        self.engine.works_again()
        self.engine.gate.shut("stopping")
        self.engine.settle()
        while not self.engine.driver.is_settled:
            self.engine.reactor.advance(1.0)
            self.engine.settle()
        self.start_again()

    def start_again(self) -> None:
        self.world.shortages = 0
        self.engine = MemoryEngine(self.disk, self.world, self.slots, self.engine.reactor.now + 1.0)

    # --- what must hold

    def may_be_submitted(self, attempt: Attempt) -> None:
        """An attempt begins: it is committed as begun, alone, at its time, and within all limits."""
        state = self.disk.state(attempt.workflow)
        assert state is not None, "an attempt begins before anything of its workflow is committed"
        step = state.steps[attempt.step]
        assert (step.status, step.attempt) == ("running", attempt.number), f"not committed as begun: {attempt.key}"
        story = [event for event in self.disk.events(attempt.workflow) if getattr(event, "step", "") == attempt.step]
        if len(story) > 1 and isinstance(story[-2], e.StepRetryScheduled):
            assert story[-2].retry_at <= at(self.engine.reactor.now), f"{attempt.key} begins before its time"
        running = self.world.running()
        assert len(running) < self.slots, "more attempts than slots"
        mine = (attempt.workflow, attempt.step)
        beside = [p.attempt.key for p in running if (p.attempt.workflow, p.attempt.step) == mine]
        assert not beside, f"{attempt.key} begins beside {beside}"
        places = Counter(filter(None, map(self.pool_of, [*running, Process(attempt)])))
        for pool, used in places.items():
            assert used <= int(pool[-1]), f"pool {pool} is over its limit"

    def pool_of(self, process: Process) -> str | None:
        concurrency = self.templates[process.attempt.workflow].steps[process.attempt.step].concurrency
        return concurrency.pool if concurrency else None

    @invariant()
    def slots_and_pools_keep_their_limits(self) -> None:
        driver = self.engine.driver
        assert len(self.world.running()) <= self.slots
        assert 0 <= driver.dispatcher.slots.used <= self.slots
        for pool, holders in driver.dispatcher.pools.holders.items():
            assert len(holders) <= int(pool[-1]), f"pool {pool}: {list(holders)}"

    @invariant()
    def workflows_at_work_keep_the_limits_of_their_pools(self) -> None:
        at_work: Counter[str] = Counter()
        for workflow, template in self.templates.items():
            state = self.disk.state(workflow)
            if template.concurrency and state is not None and state.active:
                at_work[template.concurrency.pool] += 1
        for pool, used in at_work.items():
            assert used <= int(pool[-1]), f"pool {pool} has {used} workflows at work"

    @invariant()
    def between_commits_memory_is_what_the_journal_says(self) -> None:
        for run in self.engine.driver.runs.values():
            if not run.events:
                found = self.disk.state(run.id)
                assert found is not None
                assert rendered(found) == rendered(run.state)

    @invariant()
    def nothing_is_stuck_or_put_aside(self) -> None:
        assert not self.engine.watcher.stuck_ones
        assert not self.disk.quarantined

    @invariant()
    def the_queue_shows_what_is(self) -> None:
        driver = self.engine.driver
        for entry in driver.backlog.entries.values():
            run = driver.runs.get(entry.id)
            if run is None:
                assert entry.status in ("queued", "paused")
            elif not run.events and not run.mailbox and not run.stuck:
                assert entry.status == run.state.status, f"{entry.id} is {run.state.status}, shown as {entry.status}"

    # --- the end

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        self.world.shortages = 0
        engine = self.engine
        for _ in range(PATIENCE):
            engine.works_again()
            engine.settle()
            for workflow in self.templates:
                state = self.disk.state(workflow)
                if state is not None and state.status == "paused":
                    self.signals += 1
                    engine.signal(workflow, "resume", f"resume.{self.signals}")
            for process in self.world.running():
                engine.executor.end(process.attempt.key)
            engine.settle()
            self.what_is_waited_for_is_not_there()
            if not engine.driver.backlog.entries:
                break
            engine.reactor.advance(engine.reactor.next_timer() or 1.0)
        self.all_has_ended()

    def what_is_waited_for_is_not_there(self) -> None:
        """When all that can be done is done, nobody waits for a slot or a place that is free."""
        driver = self.engine.driver
        if not driver.is_settled or not driver.gate.is_open:
            return  # the disk is about to be tried again
        for entry in driver.backlog.entries.values():
            wait = entry.waits_for
            if wait == FOR_A_SLOT:
                assert driver.dispatcher.slots.free == 0, (
                    f"{entry.id} waits for a slot, and {driver.dispatcher.slots.free} are free"
                )
            elif wait is not None and wait.kind == POOL and driver.dispatcher.slots.free:
                pool = str(wait.name)
                assert len(driver.dispatcher.pools.holders[pool]) == int(pool[-1]), (
                    f"{entry.id} waits for {pool}, which has room"
                )

    def all_has_ended(self) -> None:
        driver = self.engine.driver
        waiting = {entry.id: entry.waits_for for entry in driver.backlog.entries.values()}
        assert not waiting, f"these never end: {waiting}"
        assert driver.is_idle
        assert driver.dispatcher.slots.used == 0
        assert not any(driver.dispatcher.pools.holders.values())
        assert not driver.runs
        assert not self.disk.queue
        for workflow in self.templates:
            state = self.disk.state(workflow)
            assert state is not None and state.is_final
            assert self.disk.states[workflow] == rendered(state)
            assert not self.disk.signals[workflow]
            no_result_is_older_than_what_it_was_made_from(self.templates[workflow], self.disk.events(workflow))


def rendered(state: WorkflowState) -> bytes:
    return views.render_state(views.state_record(state))


# --- by dice --------------------------------------------------------------------------------------------------------


def tell(seed: int, length: int = 120) -> Counter[str]:
    """The events of one long story. What fails is raised with the story so far; `tell(seed)` tells it again."""
    life = life_of(seed, length)
    return Counter(event.TYPE for workflow in life.templates for event in life.disk.events(workflow))


def life_of(seed: int, length: int = 120) -> Life:
    """A life that has ended."""
    dice, life, story = Random(seed), Life(), [f"seed {seed}"]
    often = {name: dice.choice((0.0, 0.3, 1.0, 3.0)) for name in RARE}
    try:
        life.begin(dice.choice(ARGUMENTS["slots"]))
        for _ in range(length):
            name, arguments = next_event(life, dice, often)
            story.append(f"{name} {arguments}")
            getattr(life, name)(**arguments)
            for law in LAWS:
                getattr(life, law)()
        story.append("the end")
        life.teardown()
    except BaseException as error:
        error.add_note("\n".join(story))
        raise
    return life


LAWS = (
    "slots_and_pools_keep_their_limits", "workflows_at_work_keep_the_limits_of_their_pools",
    "between_commits_memory_is_what_the_journal_says", "nothing_is_stuck_or_put_aside", "the_queue_shows_what_is",
)  # fmt: skip
RARE = {
    "a_signal_is_dropped": 1.0, "signals_are_read_once_more": 0.3, "an_outcome_comes_again": 0.2,
    "an_attempt_says_how_far_it_is": 0.2, "time_goes_on": 0.5, "the_disk_will_fail": 0.2,
    "the_machine_is_short_of_something": 0.2, "the_engine_is_killed": 0.15, "the_power_fails": 0.1,
    "the_engine_is_stopped": 0.1,
}  # fmt: skip
"""How often each happens, times a factor that a story has for it; what is not here happens in every story."""
OFTEN = {
    "the_reactor_turns": 4.0, "a_job_is_accepted": 1.5, "an_attempt_ends": 4.0,
    "the_disk_works_again": 0.3,
}  # fmt: skip


def next_event(life: Life, dice: Random, often: dict[str, float]) -> tuple[str, dict[str, Any]]:
    """Some rule that may happen now, with something for each of its arguments."""
    weights = {name: weight * often[name] for name, weight in RARE.items()} | OFTEN
    possible = {name: weight for name, weight in weights.items() if name not in POSSIBLE or POSSIBLE[name](life)}
    name = dice.choices(list(possible), list(possible.values()))[0]
    return name, {key: dice.choice(ARGUMENTS[key]) for key in signature(getattr(life, name)).parameters}
