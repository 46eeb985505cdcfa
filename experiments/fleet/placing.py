"""Which task runs where and when; pure.

Machines differ, so all tasks of a group run on one machine, its *home*. A machine with a
free place takes the next task of a group whose home it is; if there is none, the next group
without a home. A group whose home has been away for ``patience_s`` moves to another machine,
as a whole: what it had done is done again there.

Every decision is taken here, and the caller tells what happened. So a killed command can be
started again: it passes the homes and the ends that it had noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.fleet.task import Task

#: A task that was under way on so many machines (or times) that were lost has failed.
MOST_LOSSES = 3


@dataclass(frozen=True)
class Machine:
    """A machine's worker. ``address`` is another one after each start of the worker.

    ``places``: how many tasks run at a time.
    """

    name: str
    address: str
    places: int


@dataclass(frozen=True)
class Home:
    """A decision: that group runs on ``machine``. It is noted before any of its tasks.

    ``left``: the earlier home, if it has moved. ``again``: the tasks that had been done there.
    """

    group: str
    machine: str
    left: str | None = None
    again: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """A decision: that task starts now on that machine. ``number`` is never used twice."""

    task: Task
    machine: Machine
    number: int


class Placing:
    """The state of all tasks. Times are seconds of one monotonic clock."""

    def __init__(
        self,
        tasks: Sequence[Task],
        homes: Mapping[str, str],
        done: Mapping[str, str],
        patience_s: float,
        now_s: float,
    ) -> None:
        """``homes``: group -> its machine. ``done``: task -> the machine that did it.

        What was done elsewhere than at the group's home is done again.
        """
        self._tasks = {task.name: task for task in tasks}
        known = {name: by for name, by in done.items() if name in self._tasks}
        self._homes = dict(homes)
        for name, machine in known.items():
            self._homes.setdefault(self._tasks[name].group, machine)
        self._done = {
            name: machine
            for name, machine in known.items()
            if machine == self._homes[self._tasks[name].group]
        }
        self._patience_s = patience_s
        self._present: dict[str, Machine] = {}
        self._left_s = dict.fromkeys(self._homes.values(), now_s)
        self._under_way: dict[str, Order] = {}
        self._losses: dict[str, int] = {}
        self._numbers = 0

    @property
    def under_way(self) -> list[Order]:
        """The orders that have not ended."""
        return list(self._under_way.values())

    @property
    def places(self) -> int:
        """How many tasks the present machines run at a time."""
        return sum(machine.places for machine in self._present.values())

    @property
    def remaining(self) -> list[Task]:
        """The tasks that are not done, in their order."""
        return [task for name, task in self._tasks.items() if name not in self._done]

    def see(self, machines: Sequence[Machine], now_s: float) -> list[Order]:
        """These machines are there now. Returns the orders that are lost with the others.

        The caller ends each of them with :meth:`lost`.
        """
        present = {machine.name: machine for machine in machines}
        for name in self._present:
            if name not in present:
                self._left_s[name] = now_s
        self._present = present
        addresses = {machine.address for machine in machines}
        return [o for o in self.under_way if o.machine.address not in addresses]

    def decide(self, now_s: float) -> Iterator[Home | Order]:
        """What is to be done now. A :class:`Home` comes before the orders that need it."""
        free = {
            name: machine.places
            - sum(order.machine == machine for order in self.under_way)
            for name, machine in self._present.items()
        }
        while waiting := self._next(free, now_s):
            machine, task = waiting
            if self._homes.get(task.group) != machine.name:
                yield self._move(task.group, machine.name)
            self._numbers += 1
            order = Order(task, machine, self._numbers)
            self._under_way[task.name] = order
            free[machine.name] -= 1
            yield order

    def finished(self, order: Order) -> bool:
        """That order's task is done, whatever came of it. False: the order is void."""
        if not self._is_valid(order):
            return False
        del self._under_way[order.task.name]
        self._done[order.task.name] = order.machine.name
        return True

    def withdraw(self, order: Order) -> None:
        """That order came to nothing, by no fault of its task, which waits again."""
        if self._is_valid(order):
            del self._under_way[order.task.name]

    def lost(self, order: Order) -> bool:
        """That order came to nothing; its task waits again. True: it was lost too often.

        The caller then calls it finished, as failed, with :meth:`give_up`.
        """
        if not self._is_valid(order):
            return False
        self.withdraw(order)
        name = order.task.name
        self._losses[name] = self._losses.get(name, 0) + 1
        return self._losses[name] >= MOST_LOSSES

    def give_up(self, order: Order) -> None:
        """No more of that task: it counts as done by the machine that lost it last."""
        self._done[order.task.name] = order.machine.name

    def withdraw_all(self, now_s: float) -> None:
        """Nobody can be reached: all orders are void, and no task is to blame."""
        self._under_way.clear()
        self.see((), now_s)

    def _is_valid(self, order: Order) -> bool:
        return self._under_way.get(order.task.name) == order

    def _next(
        self, free: Mapping[str, int], now_s: float
    ) -> tuple[Machine, Task] | None:
        """The next task to start, and where: at its home first, then without a home."""
        machines = [self._present[name] for name, places in free.items() if places > 0]
        if not machines:
            return None
        waiting = [t for t in self.remaining if t.name not in self._under_way]
        for task in waiting:
            for machine in machines:
                if self._homes.get(task.group) == machine.name:
                    return machine, task
        for task in waiting:
            if self._may_move(task.group, now_s):
                return max(machines, key=lambda machine: free[machine.name]), task
        return None

    def _may_move(self, group: str, now_s: float) -> bool:
        home = self._homes.get(group)
        if home is None:
            return True
        if home in self._present:
            return False
        return now_s - self._left_s.setdefault(home, now_s) >= self._patience_s

    def _move(self, group: str, machine: str) -> Home:
        left = self._homes.get(group)
        members = [name for name, task in self._tasks.items() if task.group == group]
        again = tuple(name for name in members if name in self._done)
        for name in again:
            del self._done[name]
        self._homes[group] = machine
        return Home(group, machine, left, again)
