"""In which order the reconciler changes switches, and which instants it tells, on fakes."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from controller.flows.entries import FlowEntry
from controller.pipeline.cluster_state import ClusterState
from controller.pipeline.difference import Change
from controller.service import reconciler as reconciler_module
from controller.service.reconciler import Reconciler
from controller.switches import openflow
from controller.switches.session import SwitchError, SwitchSession
from controller.switches.settle import SettleError
from tests.controller.clusters import ALL_IN_SERVICE, PLAN, state, then
from topologies.domain.membership import NodeState

FLOOD = state()
#: c1 changes, and nothing else.
DRAINED = then(FLOOD, ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED))
#: c1 and c2 change, and nothing else.
BOTH = then(
    FLOOD,
    ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED).with_node(
        "c2n2", NodeState.DRAINED
    ),
)
#: The fabric changes, and c2, which it no longer balances over: it leaves.
LEAVING = then(
    FLOOD,
    replace(
        ALL_IN_SERVICE.with_node("c2n1", NodeState.DRAINED)
        .with_node("c2n2", NodeState.DRAINED)
        .with_node("c2n3", NodeState.DRAINED)
    ),
)


@dataclass
class Switch:
    """A switch in memory: what it has, and what is wrong with it."""

    name: str
    journal: list[str]
    entries: tuple[FlowEntry, ...] = ()
    refuses: bool = False
    id: int = 0

    def close(self) -> None:
        """Hang up."""


class FakeSession(SwitchSession):
    """A session with a switch in memory: it answers at once."""

    def request_dump(self) -> None:
        """Ask nobody."""
        self._installed = None

    def receive_dump(self, deadline: float) -> None:
        """What the switch has."""
        found: Any = tuple(_Found(entry) for entry in self.datapath.entries)
        self._installed = found

    def _send(self, messages: list[Any]) -> None:
        self._pending = messages

    def _await_barrier(self, deadline: float) -> float:
        if self.datapath.refuses:
            raise SwitchError(f"switch {self.name} refused")
        self.datapath.entries = tuple(self._desired)
        self.datapath.journal.append(self.name)
        return time.time()


@dataclass(frozen=True)
class _Found:
    """An entry as it is read from a switch: of its own kind."""

    entry: FlowEntry

    @property
    def key(self) -> Any:
        """Identity of the entry in the switch."""
        return self.entry.key


@dataclass
class House:
    """A reconciler, the switches of the plan, and what was done to them in which order."""

    journal: list[str] = field(default_factory=list)
    settles: bool = True

    def __post_init__(self) -> None:
        """No switch has anything yet."""
        self.switches = {
            name: Switch(name, self.journal, id=dpid)
            for name, dpid in PLAN.switches.items()
        }

    def settle(self, sockets: Mapping[str, str], timeout_s: float) -> None:
        """As :func:`controller.switches.settle.settle`."""
        if not self.settles:
            raise SettleError("timed out")
        self.journal.append("settled " + " ".join(sorted(sockets)))

    def start(
        self, wanted: ClusterState | None, names: Sequence[str] = ("c1", "c2", "fabric")
    ) -> Reconciler:
        """A reconciler at work, as after a start, to which those switches connect."""
        self.reconciler = Reconciler(wanted, lambda name: name)
        for name in names:
            self.reconciler.connected(self.switches[name])
        threading.Thread(target=self.reconciler.run, daemon=True).start()
        self.rest()
        return self.reconciler

    def rest(self) -> None:
        """Returns when the reconciler has done all that it could."""
        done = threading.Event()
        self.reconciler._jobs.put(lambda: None)
        self.reconciler._jobs.put(done.set)
        assert done.wait(10)
        # The last of its step is behind it when the next job is begun.
        again = threading.Event()
        self.reconciler._jobs.put(again.set)
        assert again.wait(10)

    def has(self, wanted: ClusterState) -> set[str]:
        """The switches that have what that state says."""
        tables = wanted.tables()
        return {n for n, s in self.switches.items() if s.entries == tables[n]}


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> House:
    """Nothing is started yet."""
    house = House()

    def bundle(_: Any, __: int, change: Change[Any]) -> list[Any]:
        return [change]

    monkeypatch.setattr(reconciler_module, "SwitchSession", FakeSession)
    monkeypatch.setattr(reconciler_module, "settle", house.settle)
    monkeypatch.setattr(openflow, "bundle", bundle)
    return house


def served(house: House, now: ClusterState) -> None:
    """Every switch has that state; the reconciler that brought it is dead."""
    for name, entries in now.tables().items():
        house.switches[name].entries = entries


EVERY_ORDER = list(itertools.permutations(("c1", "c2", "fabric")))


@pytest.mark.parametrize("order", EVERY_ORDER, ids="-".join)
@pytest.mark.parametrize(
    ("old", "new", "steps"),
    [
        (
            FLOOD,
            LEAVING,
            ["settled c1", "fabric", "settled fabric", "c2", "settled c2"],
        ),
        (
            LEAVING,
            replace(FLOOD, history=(LEAVING.arrangement,)),
            ["c2", "settled c1 c2", "fabric", "settled fabric"],
        ),
    ],
    ids=["a chassis leaves", "a chassis comes"],
)
def test_a_controller_that_died_before_it_applied_a_state_keeps_the_tiers_order(
    house: House,
    old: ClusterState,
    new: ClusterState,
    steps: list[str],
    order: Sequence[str],
) -> None:
    """Its successor finds the new state in the file, and switches that have the old."""
    served(house, old)
    house.start(new, order)
    assert house.has(new) == set(PLAN.switches)
    assert house.journal == steps


def test_no_switch_changes_before_those_of_the_tier_before_have_connected(
    house: House,
) -> None:
    new = replace(FLOOD, history=(LEAVING.arrangement,))
    served(house, LEAVING)
    house.start(new, ["fabric", "c1"])
    assert house.journal == []
    house.reconciler.connected(house.switches["c2"])
    house.rest()
    assert house.journal == ["c2", "settled c1 c2", "fabric", "settled fabric"]


def test_no_switch_changes_before_those_of_the_tier_before_have_settled(
    house: House,
) -> None:
    served(house, LEAVING)
    house.settles = False
    house.start(replace(FLOOD, history=(LEAVING.arrangement,)))
    assert house.journal == ["c2"]
    house.settles = True
    house.rest()
    assert house.journal == ["c2", "settled c1 c2", "fabric", "settled fabric"]


def test_a_switch_without_entries_waits_for_nobody(house: House) -> None:
    house.start(FLOOD, ["fabric"])
    assert house.journal == ["fabric"]


def test_what_a_failed_attempt_has_changed_has_settled_before_a_reply(
    house: House,
) -> None:
    """c1 was changed, c2 refused: the retry changes c2, and waits for c1 as well."""
    reconciler = house.start(FLOOD)
    house.journal.clear()
    house.switches["c2"].refuses = True
    with pytest.raises(SwitchError, match="c2 refused"):
        reconciler.apply(BOTH, 5.0)
    house.rest()
    assert house.journal == ["c1"]
    house.switches["c2"].refuses = False
    house.reconciler.connected(house.switches["c2"])
    reply = reconciler.apply(BOTH, 5.0)
    assert house.journal == ["c1", "c2", "settled c1 c2"]
    assert reply["settled_s"] >= reply["applied_s"]


def test_what_was_not_settled_in_time_is_waited_for_by_the_retry(house: House) -> None:
    reconciler = house.start(FLOOD)
    house.settles = False
    with pytest.raises(SettleError):
        reconciler.apply(DRAINED, 5.0)
    with pytest.raises(SettleError):
        reconciler.apply(DRAINED, 5.0)  # nothing is left to change, and all the same
    house.settles = True
    house.journal.clear()
    before = time.time()
    assert reconciler.apply(DRAINED, 5.0)["settled_s"] >= before
    assert house.journal == ["settled c1"]


def test_the_instants_of_a_state_that_was_there_are_those_of_its_coming(
    house: House,
) -> None:
    """A request again, as after a reply that was lost: nothing is to be done."""
    reconciler = house.start(FLOOD)
    first = reconciler.apply(DRAINED, 5.0)
    assert first["requested_s"] <= first["applied_s"] <= first["settled_s"]
    again = reconciler.apply(ClusterState.from_json(DRAINED.to_json()), 5.0)
    instants = ("requested_s", "applied_s", "settled_s")
    assert [again[key] for key in instants] == [first[key] for key in instants]


def test_a_state_that_changes_nothing_is_there_when_it_is_asked_for(
    house: House,
) -> None:
    reconciler = house.start(FLOOD)
    house.journal.clear()
    before = time.time()
    reply = reconciler.apply(then(FLOOD, FLOOD.membership), 5.0)
    assert house.journal == []
    assert before <= reply["requested_s"] == reply["applied_s"] == reply["settled_s"]


def test_who_cannot_ask_tells_no_instant(house: House) -> None:
    reconciler = house.start(FLOOD)
    reconciler._control_socket = None
    assert reconciler.apply(DRAINED, 5.0)["settled_s"] is None
