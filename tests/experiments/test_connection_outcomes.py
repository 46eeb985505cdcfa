"""Outcomes of connections, in a modelled scale-out under each policy."""

from __future__ import annotations

import pytest

from experiments.analysis.claim import cases_of
from experiments.analysis.epochs import Epoch, EpochTimeline
from experiments.analysis.outcomes import (
    Outcome,
    connection_outcomes,
    is_stray_candidate,
    totals,
)
from experiments.analysis.socket_states import socket_lifetimes
from experiments.analysis.statistics import Percentiles
from tests.experiments.packet_path import CLIENT, MS, START, US, PacketPath
from tests.experiments.scale_out import END, EVENT, PORT, ScaleOut
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4, Plan


@pytest.fixture
def flood() -> ScaleOut:
    return ScaleOut.build(connections=40)


def outcome_of(run: ScaleOut, connection: FourTuple) -> Outcome:
    (outcome,) = [
        outcome for outcome in run.outcomes() if outcome.connection == connection
    ]
    return outcome


def test_the_model_moves_some_and_not_all(flood: ScaleOut) -> None:
    assert len(flood.moved) >= 3
    assert len(flood.stayed) >= 3


def test_flood_resets_and_frees_every_moved_connection(flood: ScaleOut) -> None:
    found = totals(flood.outcomes())
    assert found.opened == 40
    assert found.moved == found.reset == len(flood.moved)
    assert (found.hung, found.broken_unmoved, found.half_open_at_end) == (0, 0, 0)
    assert found.reset_latency_ms == Percentiles(0.11, 0.11, 0.11)
    assert found.half_open_lifetime_ms == Percentiles(1.001, 1.001, 1.001)
    assert 1 <= found.half_open_peak <= 2  # moved ones stray at least 1 ms apart


def test_client_only_leaves_every_owner_with_its_socket() -> None:
    run = ScaleOut.build(connections=40, policy="client-only")
    found = totals(run.outcomes())
    count = len(run.moved)
    assert (found.reset, found.hung) == (count, 0)
    assert found.half_open_at_end == found.half_open_peak == found.censored == count
    strays = [START + 600 * MS + (c.sport - 20000) * MS for c in run.moved]
    assert found.half_open_lifetime_ms.max == (START + END - min(strays)) / 1e6


def test_drop_hangs_every_moved_client() -> None:
    run = ScaleOut.build(connections=40, policy="drop")
    found = totals(run.outcomes())
    assert (found.reset, found.hung) == (0, len(run.moved))
    assert found.reset_latency_ms == Percentiles(None, None, None)


def test_a_moved_connection_has_its_old_and_new_owner(flood: ScaleOut) -> None:
    outcome = outcome_of(flood, flood.moved[0])
    old, new = (epoch.owner_of(outcome.connection) for epoch in flood.timeline.epochs)
    assert (outcome.owner, outcome.moved_to) == (old, new)
    assert outcome.moved_ns == flood.timeline.epochs[1].start_ns
    assert outcome.first_stray is not None
    assert outcome.first_stray.label == new


def test_a_moved_connection_that_stays_silent_does_not_hang() -> None:
    run = ScaleOut.build(connections=40, policy="drop")
    silent = run.moved[0]
    run.path.segments = [
        one
        for one in run.path.segments
        if one.connection != silent or one.time_ns < START + EVENT
    ]
    outcome = outcome_of(run, silent)
    assert outcome.moved
    assert not outcome.hung
    assert outcome.half_open is None


def test_without_a_capture_a_waiting_connection_counts_as_hung() -> None:
    run = ScaleOut.build(connections=40, policy="drop")
    outcomes = connection_outcomes(run.lifetimes, run.timeline, None, START + END)
    assert sum(outcome.hung for outcome in outcomes) == len(run.moved)
    assert totals(outcomes).half_open_at_end == len(run.moved)


def test_an_unmoved_connection_that_is_reset_was_broken(flood: ScaleOut) -> None:
    flood.path.freed(flood.stayed[0], "client", 700 * MS)
    found = totals(flood.outcomes())
    assert found.broken_unmoved == 1
    assert found.reset == len(flood.moved) + 1
    assert found.hung == 0


def test_an_unmoved_connection_that_times_out_was_broken(flood: ScaleOut) -> None:
    flood.path.state(flood.stayed[0], "client", "ESTABLISHED", "CLOSE", 700 * MS)
    assert totals(flood.outcomes()).broken_unmoved == 1


def test_an_orderly_close_is_not_a_broken_connection(flood: ScaleOut) -> None:
    closer = flood.stayed[0]
    flood.path.state(closer, "client", "ESTABLISHED", "FIN_WAIT1", 700 * MS)
    flood.path.state(closer, "client", "FIN_WAIT1", "CLOSE", 701 * MS)
    assert totals(flood.outcomes()).broken_unmoved == 0


def test_what_happens_after_the_observation_does_not_count(flood: ScaleOut) -> None:
    for connection in flood.stayed:
        flood.path.freed(connection, "client", END + 10 * MS)
    assert totals(flood.outcomes()).broken_unmoved == 0


def test_a_connection_closed_before_the_event_did_not_move(flood: ScaleOut) -> None:
    gone = flood.moved[0]
    flood.path.events = [
        one for one in flood.path.events if one.time_ns < START + EVENT
    ]
    flood.path.state(gone, "client", "ESTABLISHED", "FIN_WAIT1", EVENT - 2 * MS)
    flood.path.state(gone, "client", "FIN_WAIT1", "CLOSE", EVENT - MS)
    assert not outcome_of(flood, gone).moved


def test_a_reconnection_on_the_same_four_tuple_is_another_connection(
    flood: ScaleOut,
) -> None:
    again = flood.moved[0]
    new = flood.timeline.epochs[1].owner_of(again)
    assert new is not None
    flood.path.open(again, new, 900 * MS)
    flood.path.data(again, new, 950 * MS)
    first, second = [
        outcome for outcome in flood.outcomes() if outcome.connection == again
    ]
    assert (first.moved, first.reset) == (True, True)
    assert (second.moved, second.reset, second.owner) == (False, False, new)
    assert second.first_stray is None


def test_a_connection_opened_by_the_old_tables_during_the_event() -> None:
    run = ScaleOut.build(connections=1)
    old_epoch, new_epoch = run.timeline.epochs
    late = next(
        connection
        for port in range(30000, 31000)
        if old_epoch.owner_of(connection := FourTuple(CLIENT.ipv4, port, VIP4, PORT))
        != new_epoch.owner_of(connection)
    )
    owner = old_epoch.owner_of(late)
    assert owner is not None
    run.path.open(late, owner, EVENT + 2 * MS)
    outcome = outcome_of(run, late)
    assert outcome.moved
    assert outcome.moved_ns == outcome.opened_ns


def test_a_handshake_during_an_event_belongs_to_the_node_that_answered() -> None:
    """Its last segment went elsewhere: the client has a socket, the node never had."""
    run = ScaleOut.build(connections=1)
    third = "c2n1"
    late = next(
        connection
        for port in range(30000, 31000)
        if third
        not in {
            epoch.owner_of(connection := FourTuple(CLIENT.ipv4, port, VIP4, PORT))
            for epoch in run.timeline.epochs
        }
    )
    new = run.timeline.epochs[1].owner_of(late)
    assert new is not None
    run.path.open(late, third, EVENT + 2 * MS)
    run.path.events = [
        one
        for one in run.path.events
        if one.connection != late or one.local[0] == CLIENT.ipv4
    ]
    run.path.reset(late, new, EVENT + 3 * MS, {})
    outcome = outcome_of(run, late)
    assert (outcome.owner, outcome.unfinished) == (third, True)
    assert outcome.moved
    assert outcome.reset
    assert not outcome.broken_unmoved
    assert outcome.half_open is None
    assert late not in [case.outcome.connection for case in run.cases()]


def test_a_connection_that_was_never_answered_was_not_opened(flood: ScaleOut) -> None:
    never = FourTuple(CLIENT.ipv4, 29999, VIP4, PORT)
    flood.path.state(never, "client", "CLOSE", "SYN_SENT", 300 * MS)
    flood.path.see("fabric-h1", False, never, 2, 1, 0, 300 * MS + US)
    assert totals(flood.outcomes()).opened == 40


def outage(path: PacketPath, connection: FourTuple, destroyed: int) -> EpochTimeline:
    """``c1n1`` opens the connection, fails with all its state, and comes back."""
    path.open(connection, "c1n1", 0)
    path.state(connection, "c1n1", "ESTABLISHED", "CLOSE", destroyed)
    both, one = ({"c1": frozenset(nodes.split())} for nodes in ("c1n1 c1n2", "c1n2"))
    return EpochTimeline(
        [
            Epoch(0, 0, lambda _: "c1n1", both),
            Epoch(START + EVENT, START + EVENT + MS, lambda _: "c1n2", one),
            Epoch(START + 2 * EVENT, START + 2 * EVENT + MS, lambda _: "c1n1", both),
        ]
    )


@pytest.mark.parametrize(
    ("met", "destroyed"),
    [("c1n1", EVENT), ("c1n2", EVENT), ("c1n2", EVENT + 50 * MS)],
    ids=["the-returned", "its-deputy", "its-deputy-while-it-still-fails"],
)
def test_a_failed_owner_holds_no_socket_and_the_client_hangs(
    met: str, destroyed: int
) -> None:
    path = PacketPath(Plan.build(1, 2, 1))
    connection = FourTuple(CLIENT.ipv4, 20001, VIP4, PORT)
    timeline = outage(path, connection, destroyed)
    path.data(connection, "c1n1", EVENT - 100 * MS)
    path.data(connection, met, EVENT + 10 * MS if met == "c1n2" else 3 * EVENT)
    lifetimes = socket_lifetimes(path.socket_events())
    nodes = frozenset(("c1n1", "c1n2"))
    strays = [o for o in path.observations() if is_stray_candidate(o, nodes)]
    (outcome,) = connection_outcomes(lifetimes, timeline, strays, START + END)
    assert (outcome.owner, outcome.moved_to, outcome.owner_failed) == (
        "c1n1",
        "c1n2",
        True,
    )
    assert outcome.first_stray is not None
    assert outcome.first_stray.label == met
    assert outcome.hung
    assert outcome.half_open is None


@pytest.mark.parametrize("policy", ["flood", "client-only", "drop"])
@pytest.mark.parametrize("after_us", [1, 30, 70, 95, 105, 150, 900])
def test_a_reset_cut_off_by_the_end_of_the_observation_counts_as_late(
    policy: str, after_us: int
) -> None:
    """It ends during the first reset: that connection does not count as one that spoke."""
    run = ScaleOut.build(policy=policy)
    strays = [stray for stray in run.strays() if stray.connection in run.moved]
    first = min(stray.time_ns for stray in strays if stray.time_ns > START + EVENT)
    end_ns = first + after_us * 1000
    outcomes = connection_outcomes(run.lifetimes, run.timeline, run.strays(), end_ns)
    found = totals(outcomes)
    assert (found.late, found.spoke, found.reset, found.hung) == (1, 0, 0, 0)
    assert found.half_open_at_end == 0
    traces = [one for one in run.traces() if one.first_ns < end_ns]
    assert cases_of(outcomes, traces) == []
