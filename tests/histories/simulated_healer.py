"""The healer of ``experiments/healing/healer.py``, on a clock that the test turns.

History and schedule are the product's. Copied here is only when it looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from controller.pipeline.cluster_state import ClusterState
from experiments.healing.route_history import RouteHistory
from experiments.healing.schedule import NEXT_PROBE, Actions, Held, Schedule
from tests.histories.guarded_node import GuardedNode
from tests.histories.tcp_ends import State

#: How often it sees whether the state is another, in seconds.
POLL_S = 0.05


@dataclass
class SimulatedHealer:
    """One that was just started. ``looks`` turns a schedule into another, for tests that
    take a check away."""

    bound_s: float
    schedule: Schedule = field(init=False)
    history: RouteHistory = field(default_factory=RouteHistory)
    #: In place of the history's answer; None: the product's.
    changed_s: Callable[[str, object], float | None] | None = None
    _state: ClusterState | None = None
    _watch_until_s: float = 0.0
    _next_look_s: float = 0.0

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.bound_s)

    def step(
        self, now_s: float, state: ClusterState, nodes: Mapping[str, GuardedNode]
    ) -> Actions:
        """What it does now; nothing, if it is not time to look."""
        if state is not self._state:
            self._state = state
            self.history.add(state, now_s)
            self._watch_until_s = now_s + self.bound_s
            self._next_look_s = 0.0
        if now_s < self._next_look_s:
            return Actions()
        routes = self.history.current
        actions = self.schedule.look(
            _held(nodes.values()),
            now_s,
            routes.owner_of,
            self.changed_s or self.history.changed_s,
            routes.reachable.__contains__,
        )
        if actions.in_doubt:
            self._watch_until_s = now_s + self.bound_s
        watches = now_s < self._watch_until_s
        pause_s = NEXT_PROBE * self.bound_s
        self._next_look_s = now_s + pause_s if watches else float("inf")
        return actions


def _held(nodes: Iterable[GuardedNode]) -> Iterable[Held]:
    for node in nodes:
        for key, end in node.sockets.items():
            is_open = end.state is State.ESTABLISHED
            heard_s = end.heard_s if is_open else None
            yield Held(node.name, key, heard_s, end.number)
