"""A change that fails half-way is undone: state, plan and machines agree afterwards.

Each step of each event's physical side fails once, before its effect and after it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest

from controller.pipeline.cluster_state import ClusterState
from controller.service.controller_client import ApplyResult
from experiments.cluster import cluster_machines
from experiments.cluster.cluster_machines import ClusterMachines
from experiments.cluster.errors import ClusterError
from experiments.cluster.event_executor import EventExecutor
from experiments.cluster.event_log import EventLog
from experiments.cluster.rollback import Rollback
from nodes.guard.guard import GuardCounters, GuardSettings
from tests.topologies.domain.test_events import fresh_state
from topologies.domain.events import event_of
from topologies.domain.link_options import UNSHAPED, LinkOptions
from topologies.domain.plan import Chassis, Node
from topologies.domain.site import Site


class Broken(Exception):
    """What fails."""


@dataclass
class Fuse:
    """Fails once, at the tick of that number; counts ticks."""

    at: int | None = None
    ticks: int = 0

    def tick(self) -> None:
        """Counts one step."""
        self.ticks += 1
        if self.ticks == self.at:
            self.at = None
            raise Broken("a step")


class Machines:
    """The network, its guards and its servers, in memory."""

    def __init__(self, state: ClusterState, fuse: Fuse) -> None:
        """As built for that state: everything has power."""
        self.fuse = fuse
        self.built = {n.name for n in state.plan.nodes} | state.plan.switches.keys()
        self.off: set[str] = set()
        self.cut: set[str] = set()
        self.guarded: set[str] = set()
        self.shaped: dict[str, LinkOptions] = {}
        self.net = MagicMock()

    def site(self, node: Node) -> Site:
        """As :meth:`topologies.network.ClusterNetwork.site`."""
        return Site(node.name, self.net[node.name].pid, node.interface, node.mac)

    def _do(self, effect: Any, *arguments: Any) -> None:
        self.fuse.tick()
        effect(*arguments)
        self.fuse.tick()

    # What ClusterNetwork does.

    def add_node(self, node: Node) -> None:
        """Wired in."""
        assert node.name not in self.built
        self._do(self.built.add, node.name)

    def remove_node(self, node: Node) -> None:
        """Out again."""
        self._do(self.built.discard, node.name)

    def add_chassis(self, chassis: Chassis) -> None:
        """Wired in, piece by piece."""
        assert chassis.name not in self.built
        for name in (chassis.name, *(node.name for node in chassis.nodes)):
            self._do(self.built.add, name)

    def remove_chassis(self, chassis: Chassis) -> None:
        """Out again."""
        self.built -= {chassis.name, *(node.name for node in chassis.nodes)}

    def power_off(self, node: Node) -> None:
        """No power."""
        self._do(self.off.add, node.name)

    def power_on(self, node: Node) -> None:
        """Power."""
        self._do(self.off.discard, node.name)

    def power_off_chassis(self, chassis: Chassis) -> None:
        """No power, piece by piece."""
        for name in (chassis.name, *(node.name for node in chassis.nodes)):
            self._do(self.off.add, name)

    def power_on_chassis(self, chassis: Chassis) -> None:
        """Power, piece by piece."""
        for name in (chassis.name, *(node.name for node in chassis.nodes)):
            self._do(self.off.discard, name)

    def set_uplink_down(self, chassis: Chassis) -> None:
        """No carrier."""
        self._do(self.cut.add, chassis.name)

    def set_uplink_up(self, chassis: Chassis) -> None:
        """A carrier."""
        self._do(self.cut.discard, chassis.name)

    def host(self, name: str) -> Mock:
        """As shaped now."""
        return Mock(link=self.shaped.get(name, UNSHAPED))

    def shape(self, host: str, link: LinkOptions) -> None:
        """Shaped, or as built again."""
        self._do(self.shaped.__setitem__, host, link)
        self.shaped = {
            name: one for name, one in self.shaped.items() if one != UNSHAPED
        }

    def popen(self, host: str, argv: Sequence[str], **_: Any) -> Mock:
        """A server starts."""
        self.fuse.tick()
        return Mock(**{"poll.return_value": None})

    # What a guard does.

    def attach(self, sites: Sequence[Site], settings: GuardSettings) -> None:
        """Guarded, one after the other."""
        for site in sites:
            self._do(self.guarded.add, site.name)

    def detach(self, name: str) -> None:
        """No longer."""
        self.guarded.remove(name)

    def counters(self) -> dict[str, GuardCounters]:
        """Of all that are guarded."""
        return {name: GuardCounters() for name in self.guarded}


@dataclass
class House:
    """A cluster's events on machines in memory."""

    folder: Path
    fuse: Fuse = field(default_factory=Fuse)

    def __post_init__(self) -> None:
        """Every node serves."""
        state = fresh_state()
        machines: Any = Machines(state, self.fuse)
        self.machines = machines
        workload = Mock(**{"server.return_value": ["server", "--now"]})
        self.actions = ClusterMachines(
            machines, workload, machines, GuardSettings(), self.folder, self.folder
        )
        self.actions.limit_reconnect_backoff = lambda switches: None  # type: ignore[method-assign]
        self.actions.serve(tuple(state.plan.nodes))
        controller = Mock(**{"apply.return_value": ApplyResult(1.0, 2.0, 3.0, {})})
        self.log = self.folder / "events.jsonl"
        self.executor = EventExecutor(
            *(state, self.actions, controller, self.folder / "state.json"),
            *(EventLog(self.log), lambda: None),
        )

    def world(self) -> tuple[frozenset[str], ...]:
        """The whole state: what is built, off, cut off, guarded, and served."""
        parts = self.machines
        served = self.actions.processes.running
        sets = (parts.built, parts.off, parts.cut, parts.guarded, served, parts.shaped)
        return tuple(frozenset(each) for each in sets)

    def make(self, words: str) -> None:
        """Events of one instant, as on the command line."""
        kinds, targets = words.split()[::2], words.split()[1::2]
        events = [event_of(kind, LinkOptions(delay_ms=5)) for kind in kinds]
        self.executor.execute(list(zip(events, targets, strict=True)))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A cluster without any event so far."""
    house = House(tmp_path)

    def listens(pid: int, port: int) -> bool:
        house.fuse.tick()
        return True

    monkeypatch.setattr(cluster_machines, "is_listening", listens)
    return house


EVENTS = [
    ("", "add-node c1"),
    ("", "add-chassis c3"),
    ("", "fail-node c1n2"),
    ("fail-node c1n2", "restore-node c1n2"),
    ("", "fail-chassis c2"),
    ("fail-chassis c2", "restore-chassis c2"),
    ("", "uplink-down c2"),
    ("uplink-down c2", "uplink-up c2"),
    ("", "add-node c1 add-node c2 fail-node c2n1 fail-node c1n1"),
    ("fail-node c2n1", "restore-node c2n1 add-chassis c3 uplink-down c1"),
    ("", "link c1n2 link h1 drain-node c1n2 fail-node c2n1"),
]


@pytest.mark.parametrize(("before", "event"), EVENTS, ids=[e for _, e in EVENTS])
def test_an_event_any_step_of_which_fails_can_be_tried_again(
    house: House, before: str, event: str
) -> None:
    """It counts its steps on the way: with each attempt, the next one fails."""
    if before:
        house.make(before)
    state, world = house.executor.state, house.world()
    attempts = 0
    while True:
        attempts += 1
        house.fuse.at = house.fuse.ticks + attempts
        try:
            house.make(event)
        except ClusterError as error:
            assert "a step" in str(error)
            assert "the same can be tried again" in str(error)
            assert house.world() == world
            assert house.executor.state is state
        else:
            break
    assert house.fuse.at is not None  # nothing was left to fail
    assert attempts > 2
    assert house.executor.state is not state
    assert house.world() != world
    failed = [
        record
        for record in map(json.loads, house.log.read_text().splitlines())
        if record["what"] == "event failed"
    ]
    assert len(failed) == attempts - 1


def test_a_server_that_does_not_come_up_is_undone_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = house.world()
    monkeypatch.setattr(cluster_machines, "READY_DEADLINE_S", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(cluster_machines, "is_listening", lambda pid, port: False)
        with pytest.raises(ClusterError, match="server listens on c1n4"):
            house.make("add-node c1")
    assert house.world() == world
    house.make("add-node c1")
    assert "c1n4" in house.machines.guarded


def test_a_server_that_dies_before_it_listens_is_started_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_machines, "RESTART_PERIOD_S", 0.0)
    dead, well = (Mock(**{"poll.return_value": status}) for status in (-9, None))
    starts = [dead, dead, well]
    monkeypatch.setattr(house.machines, "popen", lambda *_, **__: starts.pop(0))
    monkeypatch.setattr(cluster_machines, "is_listening", lambda *_: not starts)
    house.make("add-node c1")
    server = house.actions.processes.running["server c1n4"]
    assert server.process is well
    assert server.restarts == 2


def test_state_that_undoing_does_not_restore_is_reported(house: House) -> None:
    """A node that lost its power has lost its TCP state."""
    house.fuse.at = house.fuse.ticks + 3
    with pytest.raises(ClusterError) as failed:
        house.make("fail-node c1n1 fail-node c1n2")
    assert "restoring the power of c1n1: done, but it has lost its TCP state." in str(
        failed.value
    )


def test_a_failed_undo_is_reported_with_a_remedy_and_the_rest_is_undone() -> None:
    rollback, undone = Rollback(), Mock()
    with pytest.raises(ClusterError) as failed, rollback.transaction():
        rollback.step("the first", undone)
        rollback.step("the second", Mock(side_effect=Broken("stuck")))
        raise Broken("the third")
    undone.assert_called_once_with()
    first, second, remedy = str(failed.value).splitlines()
    assert (first, second) == ("the third", "the second: failed: stuck")
    assert "./resetbed down" in remedy


def test_completed_steps_are_not_undone_later() -> None:
    rollback, undone = Rollback(), Mock()
    with rollback.transaction():
        rollback.step("a step of a change that went well", undone)
    with pytest.raises(ClusterError), rollback.transaction():
        raise Broken("another change")
    undone.assert_not_called()
