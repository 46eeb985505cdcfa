"""Owners of connections and receivers of copies, over membership events."""

from __future__ import annotations

import pytest

from experiments.analysis.epochs import Epoch, EpochTimeline
from tests.topologies.domain.test_events import after, fresh, fresh_state


def epoch(start: int, settled: int, **chassis: str) -> Epoch:
    reachable = {name: frozenset(nodes.split()) for name, nodes in chassis.items()}
    return Epoch(start, settled, lambda connection: None, reachable)


FIRST = epoch(0, 0, c1="c1n1 c1n2", c2="c2n1")
WITHOUT_N2 = epoch(100, 110, c1="c1n1", c2="c2n1")
WITHOUT_C2 = epoch(200, 210, c1="c1n1")
TIMELINE = EpochTimeline([FIRST, WITHOUT_N2, WITHOUT_C2])


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [(0, FIRST), (99, FIRST), (100, WITHOUT_N2), (199, WITHOUT_N2), (999, WITHOUT_C2)],
)
def test_epoch_at_an_instant(time_ns: int, expected: Epoch) -> None:
    assert TIMELINE.at(time_ns) is expected


def test_later_epochs() -> None:
    assert list(TIMELINE.after(100)) == [WITHOUT_C2]
    assert list(TIMELINE.after(5)) == [WITHOUT_N2, WITHOUT_C2]


@pytest.mark.parametrize(
    ("time_ns", "must", "may"),
    [
        (50, {"c1": "c1n1 c1n2", "c2": "c2n1"}, {"c1": "c1n1 c1n2", "c2": "c2n1"}),
        (105, {"c1": "c1n1", "c2": "c2n1"}, {"c1": "c1n1 c1n2", "c2": "c2n1"}),
        (111, {"c1": "c1n1", "c2": "c2n1"}, {"c1": "c1n1", "c2": "c2n1"}),
        (205, {"c1": "c1n1"}, {"c1": "c1n1", "c2": "c2n1"}),
        (211, {"c1": "c1n1"}, {"c1": "c1n1"}),
    ],
    ids=["before", "during-node", "between", "during-chassis", "after"],
)
def test_expected_copies(
    time_ns: int, must: dict[str, str], may: dict[str, str]
) -> None:
    expected = TIMELINE.expected(time_ns)
    assert expected.must == {c: frozenset(n.split()) for c, n in must.items()}
    assert expected.may == {c: frozenset(n.split()) for c, n in may.items()}


CUT_C2 = Epoch(
    200, 210, FIRST.owner_of, {"c1": frozenset(["c1n1"])}, frozenset(["c2n1"])
)
RESTORED = epoch(300, 310, c1="c1n1", c2="c2n1")


@pytest.mark.parametrize(
    ("time_ns", "cut_off"),
    [(150, False), (205, True), (250, True), (305, True), (311, False)],
    ids=["before", "going", "away", "coming", "back"],
)
def test_owners_that_no_copy_can_reach(time_ns: int, cut_off: bool) -> None:
    timeline = EpochTimeline([FIRST, CUT_C2, RESTORED])
    assert timeline.cuts_off(time_ns, "c2n1") is cut_off
    assert not timeline.cuts_off(time_ns, "c1n1")


def test_a_cut_off_node_has_power_and_a_failed_one_has_none() -> None:
    cut = Epoch.of(
        fresh_state().becoming(after(fresh(), "uplink-down c2", "fail-node c2n1"))
    )
    assert cut.reachable.keys() == {"c1"}
    assert cut.cut_off == {"c2n2", "c2n3"}
    assert [cut.powers(n) for n in ("c1n1", "c2n1", "c2n2", None)] == [
        True,
        False,
        True,
        False,
    ]
