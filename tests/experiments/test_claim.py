"""The claim chart passes on the claim's packet path, and on no incomplete one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from experiments.analysis.observations import ACK, RST, Observation
from experiments.analysis.outcomes import totals
from nodes.guard.verdict import RESET_INTERVAL_S
from tests.experiments.packet_path import ACKNOWLEDGED, MS, SEQ, START, US
from tests.experiments.scale_out import END, EVENT, SETTLED, ScaleOut
from topologies.domain.plan import FANOUT_MAC

ELEMENTS = ["E1", "E2", "E3", "E4", "E5", "order"]


def failed(run: ScaleOut) -> list[str]:
    return [element for element, row in run.chart().items() if not row.passed]


def is_copy(one: Observation) -> bool:
    return one.eth_src == FANOUT_MAC


@dataclass
class Change:
    """One thing changed in the first moved connection's trace."""

    run: ScaleOut

    def of_first(self, one: Observation) -> bool:
        return one.connection == self.run.moved[0] and one.flags & RST != 0

    def without(self, unwanted: Callable[[Observation], bool]) -> None:
        """Leaves segments out."""
        path = self.run.path
        path.segments = [
            one for one in path.segments if not (self.of_first(one) and unwanted(one))
        ]

    def later(self, wanted: Callable[[Observation], bool], by: int) -> None:
        """Moves segments in time."""
        path = self.run.path
        path.segments = [
            one._replace(time_ns=one.time_ns + by)
            if self.of_first(one) and wanted(one)
            else one
            for one in path.segments
        ]

    def twice(self, label: str, outgoing: bool | None = None) -> None:
        """Adds a copy of the last copy at ``label``, perhaps the other way."""
        path = self.run.path
        one = [o for o in path.segments if self.of_first(o) and is_copy(o)]
        last = [o for o in one if o.label == label][-1]
        way = last.outgoing if outgoing is None else outgoing
        again = last._replace(time_ns=last.time_ns + US, outgoing=way)
        path.segments.append(again)


def no_tier1_copy(change: Change) -> None:
    change.without(lambda o: is_copy(o) and o.label in ("fabric-c2", "c2-up"))
    change.without(lambda o: is_copy(o) and o.label.startswith("c2n"))


def no_tier2_copy(change: Change) -> None:
    change.without(lambda o: is_copy(o) and o.label == "c2n3")


def tier2_copy_twice(change: Change) -> None:
    change.twice("c2n1")


def tier1_copy_twice(change: Change) -> None:
    change.twice("fabric-c2")


def copy_goes_up(change: Change) -> None:
    change.twice("c1-up", outgoing=True)


def client_after_copies(change: Change) -> None:
    change.later(lambda o: o.label == "fabric-h1", 25 * US)


def reset_before_stray(change: Change) -> None:
    change.later(lambda o: not is_copy(o) and o.outgoing, -30 * US)


def copies_before_the_reset(change: Change) -> None:
    change.later(is_copy, -60 * US)


def tier2_before_tier1(change: Change) -> None:
    change.later(lambda o: is_copy(o) and o.label.startswith("c2n"), -90 * US)


def no_client_copy(change: Change) -> None:
    change.without(lambda o: o.label == "fabric-h1")


def client_not_reset(change: Change) -> None:
    path, connection = change.run.path, change.run.moved[0]
    path.events = [
        one
        for one in path.events
        if not (
            one.at_client
            and one.connection == connection
            and one.time_ns > START + 500 * MS
        )
    ]


def client_reset_by_something_else(change: Change) -> None:
    change.later(lambda o: o.label == "fabric-h1", 60 * US)


def owner_not_freed(change: Change) -> None:
    path, connection = change.run.path, change.run.moved[0]
    path.events = [
        one
        for one in path.events
        if one.at_client
        or one.connection != connection
        or one.time_ns < START + 500 * MS
    ]


def owner_got_no_copy(change: Change) -> None:
    owner = change.run.timeline.epochs[0].owner_of(change.run.moved[0])
    change.without(lambda o: is_copy(o) and o.label == owner)


def owner_freed_before_its_copy(change: Change) -> None:
    owner = change.run.timeline.epochs[0].owner_of(change.run.moved[0])
    change.later(lambda o: is_copy(o) and o.label == owner, 50 * MS)


def copy_causes_a_reset(change: Change) -> None:
    run = change.run
    unmoved = run.stayed[0]
    run.path.see_back("c1n1", True, unmoved, RST, 77, 78, 700 * MS)
    run.path.see_back("fabric-c1", False, unmoved, RST, 77, 78, 701 * MS)


BROKEN: list[tuple[Callable[[Change], None], list[str]]] = [
    (no_tier1_copy, ["E4", "E5"]),
    (no_tier2_copy, ["E5"]),
    (tier2_copy_twice, ["E5", "order"]),
    (tier1_copy_twice, ["E4", "order"]),
    (copy_goes_up, ["order"]),
    (client_after_copies, ["order"]),
    (reset_before_stray, ["E2", "order"]),
    (copies_before_the_reset, ["E4", "order"]),
    (tier2_before_tier1, ["E5", "order"]),
    (no_client_copy, ["E2", "order"]),
    (client_not_reset, ["E2"]),
    (client_reset_by_something_else, ["E2", "order"]),
    (owner_not_freed, ["E3"]),
    (owner_got_no_copy, ["E3", "E5"]),
    (owner_freed_before_its_copy, ["E3"]),
    (copy_causes_a_reset, ["order"]),
]


@pytest.fixture
def run() -> ScaleOut:
    return ScaleOut.build(connections=40)


def test_every_element_passes_on_the_claims_path(run: ScaleOut) -> None:
    chart = run.chart()
    assert list(chart) == ELEMENTS
    assert failed(run) == []
    assert {row.checked for row in chart.values()} == {len(run.moved)}


@pytest.mark.parametrize(
    ("change", "elements"), BROKEN, ids=[change.__name__ for change, _ in BROKEN]
)
def test_one_broken_connection_fails_what_it_breaks(
    run: ScaleOut, change: Callable[[Change], None], elements: list[str]
) -> None:
    change(Change(run))
    chart = run.chart()
    assert failed(run) == elements
    for element in elements:
        expected = len(run.moved) - (change is not copy_causes_a_reset)
        assert chart[element].held == expected
        assert chart[element].evidence


def test_an_identical_repeated_segment_causes_two_complete_resets(
    run: ScaleOut,
) -> None:
    again = run.moved[0]
    new = run.timeline.epochs[1].owner_of(again)
    assert new is not None
    events = list(run.path.events)
    run.path.reset(again, new, 601 * MS + (again.sport - 20000) * MS, run.reachable)
    run.path.events = events  # the client was reset by the first one
    assert failed(run) == []


def test_each_segment_in_flight_causes_its_own_reset(run: ScaleOut) -> None:
    again = run.moved[0]
    new = run.timeline.epochs[1].owner_of(again)
    assert new is not None
    events = list(run.path.events)
    at = 600 * MS + (again.sport - 20000) * MS + 30 * US
    run.path.reset(again, new, at, run.reachable, seq=SEQ + 64)
    run.path.events = events
    assert failed(run) == []
    run.path.segments = [
        one
        for one in run.path.segments
        if not (one.label == "c2n2" and is_copy(one) and one.ack == SEQ + 64)
    ]
    assert failed(run) == ["E5"]


def test_client_only_shows_the_first_two_elements() -> None:
    run = ScaleOut.build(connections=40, policy="client-only")
    chart = run.chart()
    assert failed(run) == ["E3", "E4", "E5", "order"]
    assert "no node got a copy" in chart["E3"].evidence
    assert "still holds it" in chart["E3"].evidence


def test_under_drop_only_stray_segments_are_seen() -> None:
    run = ScaleOut.build(connections=40, policy="drop")
    chart = run.chart()
    assert failed(run) == ELEMENTS[1:]
    assert chart["E1"].held == len(run.moved)
    assert "did not answer" in chart["E2"].evidence


@pytest.mark.parametrize(
    ("later_s", "wrong"), [(RESET_INTERVAL_S / 2, []), (RESET_INTERVAL_S * 1.2, ["E2"])]
)
def test_only_a_prompt_repetition_of_a_stray_may_stay_unanswered(
    run: ScaleOut, later_s: float, wrong: list[str]
) -> None:
    stray = run.traces()[0].strays[0]
    again = stray._replace(time_ns=stray.time_ns + round(later_s * 1e9))
    run.path.segments.append(again)
    assert failed(run) == wrong


@pytest.mark.parametrize(
    ("earlier_s", "wrong"), [(0.001, []), (RESET_INTERVAL_S * 1.2, ["E2"])]
)
def test_a_slow_guard_answers_the_first_stray_when_the_second_has_come(
    run: ScaleOut, earlier_s: float, wrong: list[str]
) -> None:
    stray = run.traces()[0].strays[0]
    first = stray._replace(time_ns=stray.time_ns - round(earlier_s * 1e9))
    run.path.segments.append(first)
    assert failed(run) == wrong


def test_without_moved_connections_the_claim_is_not_proven(run: ScaleOut) -> None:
    run.path.segments = [
        one for one in run.path.segments if one.time_ns < START + 400 * MS
    ]
    chart = run.chart()
    assert failed(run) == ELEMENTS
    assert {row.checked for row in chart.values()} == {0}


def test_one_chassis_does_not_satisfy_the_claims_plurality() -> None:
    run = ScaleOut.build(chassis=1, connections=40)
    assert failed(run) == ["E4"]
    assert "no plurality" in run.chart()["E4"].evidence


def test_resets_after_the_observation_are_left_out(run: ScaleOut) -> None:
    run.path.see_back("c1n1", True, run.stayed[0], RST, 77, 78, END + MS)
    assert failed(run) == []


def test_evidence_names_packet_node_and_instant(run: ScaleOut) -> None:
    chart, outcomes = run.chart(), run.outcomes()
    first = next(f for f in outcomes if f.moved and f.first_stray is not None)
    stray = first.first_stray
    assert stray is not None
    for word in (
        f"frame {stray.frame} ",
        stray.label,
        f"owner is {first.owner}",
        " ms ",
    ):
        assert word in chart["E1"].evidence
    assert totals(outcomes).moved == chart["E1"].checked


def refusal(run: ScaleOut, after_ns: int) -> Observation:
    """An RST|ACK for the first moved connection's stray, from the node that it reached."""
    (reset, *_) = run.traces()[0].resets
    stray = run.traces()[0].strays[0]
    return reset._replace(flags=RST | ACK, time_ns=stray.time_ns + after_ns)


def test_the_answer_to_a_second_stray_may_reset_the_client_before_the_first_one(
    run: ScaleOut,
) -> None:
    Change(run).later(lambda o: o.label == "fabric-h1", 60 * US)
    assert failed(run) == ["E2", "order"]
    run.path.segments.append(refusal(run, 1 * US))
    assert failed(run) == ["order"]


def test_what_the_budget_refused_to_fan_out_is_counted_and_not_checked(
    run: ScaleOut,
) -> None:
    limited, answer = run.moved[0], refusal(run, 1 * US)
    run.path.segments = [
        answer,
        *(
            one
            for one in run.path.segments
            if not (one.connection == limited and one.flags & (RST | ACK) == RST)
        ),
    ]
    assert totals(run.outcomes()).limited == 1
    assert failed(run) == []
    assert {row.checked for row in run.chart().values()} == {len(run.moved) - 1}


def with_a_reset_lost(at: int, *, answered_later: bool = True) -> ScaleOut:
    """An uplink returns; the first reset of one node there is not passed on by the fabric.

    ``answered_later``: the client's next segment draws a reset that arrives.
    """
    run = ScaleOut.uplink_returns()
    owner_of = run.timeline.epochs[1].owner_of
    first = next(c for c in run.moved if (owner_of(c) or "").startswith("c2"))
    node = str(owner_of(first))
    run.path.data(first, node, at, SEQ - 1)
    back = (RST, ACKNOWLEDGED, SEQ - 1)
    run.path.see_back(node, True, first, *back, at + 20 * US)
    run.path.see_back("fabric-c2", False, first, *back, at + 60 * US)
    if not answered_later:
        run.path.segments = [
            one
            for one in run.path.segments
            if one.connection != first or not one.flags & RST or one.ack == SEQ - 1
        ]
    return run


def test_a_reset_that_is_lost_while_an_uplink_returns_is_told_and_the_next_is_judged() -> (
    None
):
    run = with_a_reset_lost(EVENT + 2 * MS)
    assert failed(run) == []
    assert "resets lost while an uplink came or went: 1" in run.chart()["E2"].evidence


@pytest.mark.parametrize(
    ("at", "answered_later"),
    [(SETTLED + 2 * MS, True), (EVENT + 2 * MS, False)],
    ids=["after the switches settled", "and none came after it"],
)
def test_a_reset_that_is_lost_fails_the_claim(at: int, answered_later: bool) -> None:
    assert "E2" in failed(with_a_reset_lost(at, answered_later=answered_later))
