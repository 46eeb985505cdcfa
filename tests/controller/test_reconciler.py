"""The order in which the reconciler updates switches, and the times it reports; fakes."""

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
from topologies.domain.membership import Membership, NodeState

FLOOD = state()
#: Only c1 changes.
DRAINED = then(FLOOD, ALL_IN_SERVICE.with_node("c1n2", NodeState.DRAINED))
#: Only c1 and c2 change.
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
    """A switch in memory: its entries and its faults."""

    name: str
    journal: list[str]
    entries: tuple[FlowEntry, ...] = ()
    refuses: bool = False
    id: int = 0

    def close(self) -> None:
        """Hang up."""


class FakeSession(SwitchSession):
    """A session with a switch in memory, which replies immediately."""

    def request_dump(self) -> None:
        """Send nothing."""
        self._installed = None

    def receive_dump(self, deadline: float) -> None:
        """Read the switch's entries."""
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
    """An entry from a switch's dump, of another class than ours."""

    entry: FlowEntry

    @property
    def key(self) -> Any:
        """Identity of the entry in the switch."""
        return self.entry.key


@dataclass
class FakeCluster:
    """A reconciler, the plan's switches, and a journal of what was done to them."""

    journal: list[str] = field(default_factory=list)
    settles: bool = True

    def __post_init__(self) -> None:
        """Create switches without entries."""
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
        self,
        desired: ClusterState | None,
        names: Sequence[str] = ("c1", "c2", "fabric"),
    ) -> Reconciler:
        """Start a reconciler and connect those switches to it."""
        self.reconciler = Reconciler(desired, lambda name: name)
        for name in names:
            self.reconciler.connected(self.switches[name])
        threading.Thread(target=self.reconciler.run, daemon=True).start()
        self.wait_idle()
        return self.reconciler

    def wait_idle(self) -> None:
        """Return when the reconciler is idle."""
        done = threading.Event()
        self.reconciler._jobs.put(lambda: None)
        self.reconciler._jobs.put(done.set)
        assert done.wait(10)
        # Its step has ended when the next job starts.
        again = threading.Event()
        self.reconciler._jobs.put(again.set)
        assert again.wait(10)

    def has(self, desired: ClusterState) -> set[str]:
        """The switches that have that state's entries."""
        tables = desired.tables()
        return {n for n, s in self.switches.items() if s.entries == tables[n]}


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """Nothing is started yet."""
    fakes = FakeCluster()

    def bundle(_: Any, __: int, change: Change[Any]) -> list[Any]:
        return [change]

    monkeypatch.setattr(reconciler_module, "SwitchSession", FakeSession)
    monkeypatch.setattr(reconciler_module, "settle", fakes.settle)
    monkeypatch.setattr(openflow, "bundle", bundle)
    return fakes


def served(fakes: FakeCluster, now: ClusterState) -> None:
    """Every switch has that state; the reconciler that applied it is dead."""
    for name, entries in now.tables().items():
        fakes.switches[name].entries = entries


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
    fakes: FakeCluster,
    old: ClusterState,
    new: ClusterState,
    steps: list[str],
    order: Sequence[str],
) -> None:
    """Its successor finds the new state in the file, and switches that have the old."""
    served(fakes, old)
    fakes.start(new, order)
    assert fakes.has(new) == set(PLAN.switches)
    assert fakes.journal == steps


def test_no_switch_changes_before_those_of_the_tier_before_have_connected(
    fakes: FakeCluster,
) -> None:
    new = replace(FLOOD, history=(LEAVING.arrangement,))
    served(fakes, LEAVING)
    fakes.start(new, ["fabric", "c1"])
    assert fakes.journal == []
    fakes.reconciler.connected(fakes.switches["c2"])
    fakes.wait_idle()
    assert fakes.journal == ["c2", "settled c1 c2", "fabric", "settled fabric"]


def test_no_switch_changes_before_those_of_the_tier_before_have_settled(
    fakes: FakeCluster,
) -> None:
    served(fakes, LEAVING)
    fakes.settles = False
    fakes.start(replace(FLOOD, history=(LEAVING.arrangement,)))
    assert fakes.journal == ["c2"]
    fakes.settles = True
    fakes.wait_idle()
    assert fakes.journal == ["c2", "settled c1 c2", "fabric", "settled fabric"]


def test_a_switch_without_entries_is_updated_without_waiting(
    fakes: FakeCluster,
) -> None:
    fakes.start(FLOOD, ["fabric"])
    assert fakes.journal == ["fabric"]


def test_a_reply_waits_for_changes_of_an_earlier_failed_request(
    fakes: FakeCluster,
) -> None:
    """c1 was updated, c2 refused. The retry updates c2 and waits for c1 too."""
    reconciler = fakes.start(FLOOD)
    fakes.journal.clear()
    fakes.switches["c2"].refuses = True
    with pytest.raises(SwitchError, match="c2 refused"):
        reconciler.apply(BOTH, 5.0)
    fakes.wait_idle()
    assert fakes.journal == ["c1"]
    fakes.switches["c2"].refuses = False
    fakes.reconciler.connected(fakes.switches["c2"])
    reply = reconciler.apply(BOTH, 5.0)
    assert fakes.journal == ["c1", "c2", "settled c1 c2"]
    assert reply["settled_s"] >= reply["applied_s"]


def test_a_retry_waits_for_what_has_not_settled(fakes: FakeCluster) -> None:
    reconciler = fakes.start(FLOOD)
    fakes.settles = False
    with pytest.raises(SettleError):
        reconciler.apply(DRAINED, 5.0)
    with pytest.raises(SettleError):
        reconciler.apply(DRAINED, 5.0)  # nothing is left to change, and all the same
    fakes.settles = True
    fakes.journal.clear()
    before = time.time()
    assert reconciler.apply(DRAINED, 5.0)["settled_s"] >= before
    assert fakes.journal == ["settled c1"]


def test_a_repeated_request_reports_the_times_of_the_first(
    fakes: FakeCluster,
) -> None:
    """A request is repeated, as after a lost reply: nothing has to change."""
    reconciler = fakes.start(FLOOD)
    first = reconciler.apply(DRAINED, 5.0)
    assert first["requested_s"] <= first["applied_s"] <= first["settled_s"]
    again = reconciler.apply(ClusterState.from_json(DRAINED.to_json()), 5.0)
    instants = ("requested_s", "applied_s", "settled_s")
    assert [again[key] for key in instants] == [first[key] for key in instants]


def test_a_state_that_changes_nothing_is_applied_when_requested(
    fakes: FakeCluster,
) -> None:
    reconciler = fakes.start(FLOOD)
    fakes.journal.clear()
    before = time.time()
    assert FLOOD.membership != Membership(), "says the same in other words"
    reply = reconciler.apply(then(FLOOD, Membership()), 5.0)
    assert fakes.journal == []
    assert before <= reply["requested_s"] == reply["applied_s"] == reply["settled_s"]


def test_without_control_sockets_no_settled_time_is_reported(
    fakes: FakeCluster,
) -> None:
    reconciler = fakes.start(FLOOD)
    reconciler._control_socket = None
    assert reconciler.apply(DRAINED, 5.0)["settled_s"] is None
