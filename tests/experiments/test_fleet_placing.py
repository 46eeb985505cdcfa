"""Where tasks run: any order of ends, losses, departures and restarts."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.fleet.placing import MOST_LOSSES, Home, Machine, Order, Placing
from experiments.fleet.task import Task

PATIENCE_S = 10.0


def task(name: str, group: str) -> Task:
    """A task; what it does does not matter here."""
    return Task(name, group, "program", None, 1.0)


def decided(placing: Placing, now_s: float) -> tuple[list[Home], list[Order]]:
    """The decisions of now: homes, and orders."""
    decisions = list(placing.decide(now_s))
    homes = [each for each in decisions if isinstance(each, Home)]
    return homes, [each for each in decisions if isinstance(each, Order)]


GROUPS = [task(f"{group}{number}", group) for number in (1, 2, 3) for group in "ab"]
ALPHA, BETA = Machine("alpha", "1", 1), Machine("beta", "2", 1)


def fresh(**given: dict[str, str]) -> Placing:
    """A placing of two groups of three tasks each, at the time 0."""
    return Placing(
        GROUPS, given.get("homes", {}), given.get("done", {}), PATIENCE_S, 0.0
    )


def test_each_machine_takes_a_group_and_keeps_it() -> None:
    placing = fresh()
    placing.see([ALPHA, BETA], 0.0)
    ran: dict[str, set[str]] = {}
    for _ in range(3):
        _, orders = decided(placing, 0.0)
        for order in orders:
            ran.setdefault(order.task.group, set()).add(order.machine.name)
            assert placing.finished(order)
    assert placing.remaining == []
    assert sorted(len(machines) for machines in ran.values()) == [1, 1]
    assert set().union(*ran.values()) == {"alpha", "beta"}


def test_a_machine_runs_as_many_at_a_time_as_it_says() -> None:
    placing = fresh()
    placing.see([Machine("alpha", "1", 4)], 0.0)
    assert len(decided(placing, 0.0)[1]) == 4
    assert decided(placing, 0.0) == ([], [])


def test_an_idle_machine_takes_nothing_of_a_busy_ones_group() -> None:
    placing = Placing([each for each in GROUPS if each.group == "a"], {}, {}, 0.0, 0.0)
    placing.see([ALPHA, BETA], 0.0)
    assert len(decided(placing, 0.0)[1]) == 1
    assert decided(placing, 1e9) == ([], [])


def test_a_group_waits_for_its_home_and_moves_whole() -> None:
    placing = fresh()
    placing.see([ALPHA], 0.0)
    (home,), (order,) = decided(placing, 0.0)
    assert placing.finished(order)
    placing.see([BETA], 1.0)
    homes, orders = decided(placing, 1.0)
    assert [each.group for each in homes] == ["b"], "the other group need not wait"
    for number in range(3):
        (order,) = orders
        assert placing.finished(order)
        _, orders = decided(placing, 2.0 + number)
    assert orders == [], "it waits for alpha"
    (moved,), (first,) = decided(placing, 1.0 + PATIENCE_S)
    assert moved == Home("a", "beta", "alpha", ("a1",))
    assert first.machine == BETA
    assert [each.name for each in placing.remaining] == ["a1", "a2", "a3"]


def test_a_home_that_returns_goes_on() -> None:
    placing = fresh()
    placing.see([ALPHA], 0.0)
    (order,) = decided(placing, 0.0)[1]
    assert placing.finished(order)
    placing.see([], 1.0)
    placing.see([Machine("alpha", "another", 1)], 1.0 + PATIENCE_S)
    homes, (order,) = decided(placing, 1.0 + PATIENCE_S)
    assert (homes, order.task.name) == ([], "a2")


def test_a_worker_that_came_again_has_lost_its_task() -> None:
    placing = fresh()
    placing.see([ALPHA], 0.0)
    (order,) = decided(placing, 0.0)[1]
    assert placing.see([Machine("alpha", "another", 1)], 0.1) == [order]
    assert not placing.lost(order)
    (again,) = decided(placing, 0.1)[1]
    assert again.task == order.task
    assert again.number != order.number
    assert not placing.finished(order), "what comes late of the first does not count"
    assert placing.finished(again)


def test_a_task_that_is_lost_too_often_fails() -> None:
    placing = fresh()
    placing.see([ALPHA], 0.0)
    for number in range(MOST_LOSSES):
        (order,) = decided(placing, 0.0)[1]
        assert order.task.name == "a1"
        assert placing.lost(order) == (number == MOST_LOSSES - 1)
    placing.give_up(order)
    assert [order.task.name for order in decided(placing, 0.0)[1]] == ["a2"]


def test_a_worker_that_is_ended_is_no_tasks_fault() -> None:
    placing = fresh()
    placing.see([ALPHA], 0.0)
    for _ in range(2 * MOST_LOSSES):
        (order,) = decided(placing, 0.0)[1]
        placing.withdraw(order)
    assert len(placing.remaining) == len(GROUPS)


def test_a_scheduler_that_went_is_no_tasks_fault() -> None:
    placing = fresh()
    for _ in range(2 * MOST_LOSSES):
        placing.see([ALPHA], 0.0)
        (order,) = decided(placing, 0.0)[1]
        placing.withdraw_all(0.0)
        assert not placing.finished(order)
    assert len(placing.remaining) == len(GROUPS)


def test_what_was_done_elsewhere_than_at_home_is_done_again() -> None:
    done = {"a1": "alpha", "a2": "beta", "b1": "alpha", "gone": "alpha"}
    placing = fresh(homes={"a": "beta"}, done=done)
    assert [each.name for each in placing.remaining] == ["a1", "b2", "a3", "b3"]


@dataclass
class World:
    """Machines that come and go, and a command that is killed and started again.

    ``notes`` is all that outlives the command: JSON lines, as in a state file.
    """

    tasks: list[Task]
    now_s: float = 0.0
    machines: dict[str, Machine] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    addresses: itertools.count[int] = field(default_factory=itertools.count)
    counted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """The command starts, with what was noted."""
        homes: dict[str, str] = {}
        done: dict[str, str] = {}
        for kind, name, machine in map(json.loads, self.notes):
            (homes if kind == "home" else done)[name] = machine
        self.placing = Placing(self.tasks, homes, done, PATIENCE_S, self.now_s)
        self.see()

    def see(self) -> None:
        """The command looks which machines there are."""
        for order in self.placing.see(list(self.machines.values()), self.now_s):
            self.lose(order)

    def lose(self, order: Order) -> None:
        """An order came to nothing."""
        if self.placing.lost(order):
            self.note("run", order.task.name, order.machine.name)
            self.placing.give_up(order)

    def note(self, *what: str) -> None:
        """One line of the state file."""
        self.notes.append(json.dumps(what))

    def join(self, name: str, places: int) -> None:
        """A worker starts, in the place of an earlier one of that name."""
        self.machines[name] = Machine(name, str(next(self.addresses)), places)
        self.see()

    def leave(self, name: str) -> None:
        """A machine disappears."""
        self.machines.pop(name, None)
        self.see()

    def decide(self) -> None:
        """What is to be done is done; the places of no machine are exceeded."""
        for decision in self.placing.decide(self.now_s):
            if isinstance(decision, Home):
                assert decision.left not in self.machines, "it is there"
                self.note("home", decision.group, decision.machine)
            else:
                assert decision.machine in self.machines.values()
        used = Counter(order.machine for order in self.placing.under_way)
        assert all(count <= machine.places for machine, count in used.items())

    def end_one(self, which: int, well: bool) -> None:
        """One of the orders under way ends."""
        if orders := self.placing.under_way:
            order = orders[which % len(orders)]
            if well:
                self.note("run", order.task.name, order.machine.name)
                assert self.placing.finished(order)
            else:
                self.lose(order)


NAMES = st.sampled_from(["alpha", "beta", "gamma"])
STEPS = st.one_of(
    st.tuples(st.just("join"), NAMES, st.integers(1, 3)),
    st.tuples(st.just("leave"), NAMES),
    st.tuples(st.just("end_one"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("wait"), st.floats(0.1, 2 * PATIENCE_S)),
    st.tuples(st.just("start")),
)


@settings(max_examples=300)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
    st.lists(STEPS, max_size=60),
)
def test_no_task_is_lost_and_every_group_ends_on_one_machine(
    groups: list[int], steps: list[tuple[str, ...]]
) -> None:
    world = World([task(f"t{i}", f"g{group}") for i, group in enumerate(groups)])
    for name, *arguments in steps:
        if name == "wait":
            world.now_s += float(arguments[0])
        else:
            getattr(world, name)(*arguments)
        world.decide()
    # From now on one machine stays, and every task under way ends well.
    world.leave("alpha")
    world.leave("beta")
    world.join("gamma", 2)
    world.now_s += 2 * PATIENCE_S
    for _ in range(2 * len(groups) + 1):
        world.decide()
        world.end_one(0, well=True)
    assert world.placing.remaining == []
    latest = {
        name: machine
        for kind, name, machine in map(json.loads, world.notes)
        if kind == "run"
    }
    assert set(latest) == {each.name for each in world.tasks}
    where: dict[str, set[str]] = {}
    for each in world.tasks:
        where.setdefault(each.group, set()).add(latest[each.name])
    assert all(len(machines) == 1 for machines in where.values()), where
    # A command that is started again has nothing to do.
    world.start()
    assert world.placing.remaining == []
