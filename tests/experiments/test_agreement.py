"""Socket tables compared with socket events."""

from __future__ import annotations

from dataclasses import replace

from experiments.analysis.agreement import (
    CLIENT,
    Agreement,
    Place,
    agreement,
    sockets_by_events,
    sockets_in_flux,
)
from tests.experiments.packet_path import MS, START, US
from tests.experiments.scale_out import END, ScaleOut


def compared(
    run: ScaleOut,
    tables: frozenset[Place],
    half_open: frozenset[Place] = frozenset(),
    last_look: int = END - 20 * MS,
) -> Agreement:
    """The tables of a run's end beside its events."""
    powered = {node.name for node in run.path.plan.nodes}
    flux = sockets_in_flux(run.lifetimes, START + last_look, START + END)
    events = sockets_by_events(run.lifetimes, START + END, powered)
    return agreement(tables, events, half_open, run.outcomes(), flux)


def tables(run: ScaleOut) -> frozenset[Place]:
    """What the kernels hold at the end: both ends of what stayed; of what moved, with
    ``client-only``, the owner's."""
    owner_of = run.timeline.epochs[0].owner_of
    places: set[Place] = {(c, CLIENT) for c in run.stayed}
    return frozenset(places | {(c, owner_of(c) or "") for c in run.stayed + run.moved})


def left(run: ScaleOut) -> frozenset[Place]:
    owner_of = run.timeline.epochs[0].owner_of
    return frozenset((c, owner_of(c) or "") for c in run.moved)


def test_tables_and_events_agree() -> None:
    run = ScaleOut.build(policy="client-only")
    found = compared(run, tables(run), left(run))
    assert found.compared == 2 * len(run.stayed) + len(run.moved)
    assert (found.not_agreed, len(found.half_open_not_agreed)) == (0, 0)
    assert found.half_open == left(run)
    assert found.descriptions() == []


def test_a_socket_that_only_one_of_them_knows_is_named() -> None:
    run = ScaleOut.build(policy="client-only")
    homes = {node for one, node in tables(run) if one == run.stayed[0]}
    strange = next(n.name for n in run.path.plan.nodes if n.name not in homes)
    extra = (run.stayed[0], strange)
    missing = next(place for place in tables(run) if place[0] == run.moved[0])
    found = compared(run, (tables(run) | {extra}) - {missing}, left(run) - {missing})
    assert found.only_in_tables == {extra}
    assert found.only_in_events == {missing}
    assert found.half_open_not_agreed == {missing}
    assert found.not_agreed == 2
    assert [
        text for text in found.descriptions() if strange in text and "tables" in text
    ]


def test_a_client_that_was_reset_too_late_to_be_judged_leaves_no_disagreement() -> None:
    """By the events it lives, and by the last tables too, as with policies that keep it."""
    run = ScaleOut.build(policy="client-only")
    one = run.outcomes()[0]
    kept = replace(
        one,
        ended_ns=None,
        freed_ns=None,
        routed_elsewhere=False,
        moved_ns=one.opened_ns,
    )
    place = frozenset({(one.connection, one.owner or "")})
    found = [
        agreement(
            frozenset(), frozenset(), place, [replace(kept, late=late)], frozenset()
        )
        for late in (True, False)
    ]
    assert [each.half_open_not_agreed for each in found] == [frozenset(), place]
    assert [each.half_open for each in found] == [frozenset(), place]


def test_what_came_or_went_while_the_tables_were_read_is_not_compared() -> None:
    run = ScaleOut.build(policy="client-only")
    goes = run.stayed[0]
    run.path.state(goes, "client", "ESTABLISHED", "FIN_WAIT1", END - 10 * MS)
    run.path.state(goes, "client", "FIN_WAIT1", "CLOSE", END - 10 * MS + US)
    assert compared(run, tables(run), left(run)).not_agreed == 0
    late = compared(run, tables(run), left(run), last_look=END - 5 * MS)
    assert late.only_in_tables == {(goes, CLIENT)}


def test_a_node_without_power_holds_no_socket() -> None:
    run = ScaleOut.build(policy="client-only")
    gone = next(node for _, node in tables(run) if node != CLIENT)
    powered = {node.name for node in run.path.plan.nodes} - {gone}
    assert gone not in {
        p for _, p in sockets_by_events(run.lifetimes, START + END, powered)
    }


def test_a_silent_connection_is_half_open_by_both() -> None:
    """It has moved, its old owner holds it, and no segment was captured since."""
    run = ScaleOut.build(policy="drop")
    silent = run.moved[0]
    run.path.segments = [
        one
        for one in run.path.segments
        if one.connection != silent or one.time_ns < START + 500 * MS
    ]
    (outcome,) = [outcome for outcome in run.outcomes() if outcome.connection == silent]
    assert (outcome.silent, outcome.spoke, outcome.half_open_at_end) == (
        True,
        False,
        False,
    )
    assert (outcome.stale_at_end, outcome.half_open_silent) == (True, True)
    places = tables(run) | {(c, CLIENT) for c in run.moved}
    assert compared(run, places, left(run)).half_open_not_agreed == frozenset()
