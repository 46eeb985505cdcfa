"""Predictions for a spec, compared with the flow tables, and as a command."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from controller.balancers import BALANCERS
from experiments.analysis.arrivals import arrivals
from experiments.analysis.epochs import IN_FLIGHT_NS
from experiments.analysis.observations import RST
from experiments.commands.cli import main
from experiments.prediction.predict import connections_of, predict, split_evenly
from experiments.spec.run_spec import RunSpec
from nodes.clients.client_ports import seeded_ports
from tests.controller.clusters import network
from tests.controller.frames import from_client
from tests.experiments.packet_path import MS
from tests.experiments.scale_out import EVENT, SETTLED, ScaleOut
from topologies.domain.connection import FourTuple, format_connection
from topologies.domain.plan import FANOUT_MAC

EVENTS = [
    {"kind": "drain-node", "target": "c1n2"},
    {"kind": "add-node", "target": "c2"},
    {"kind": "restore-node", "target": "c1n2"},
]
RESEEDS = [
    {"kind": "reseed", "target": target, "at": at}
    for at, target in enumerate(("fabric", "c1", "all"))
]


def spec(**keys: object) -> RunSpec:
    apart = [{**event, "at": at} for at, event in enumerate(EVENTS)]
    return RunSpec.model_validate({"events": apart, **keys})


def command(*words: str) -> Result:
    return CliRunner().invoke(main, ["predict", *words])


def test_connections_are_those_that_the_clients_open() -> None:
    """The larger shares come first; ports are taken in the seeded order."""
    of = spec(seed=5, cluster={"clients": 3}, workload={"connections": 8})
    ports = [seeded_ports(5, f"h{i}")[:n] for i, n in ((1, 3), (2, 3), (3, 2))]
    assert connections_of(of) == tuple(
        FourTuple(f"10.1.0.{i}", port, "10.0.0.1", 10809)
        for i, own in enumerate(ports, 1)
        for port in own
    )


@pytest.mark.parametrize(("total", "parts"), [(7, 3), (2, 5), (0, 2), (48, 2)])
def test_shares_are_even_and_whole(total: int, parts: int) -> None:
    found = split_evenly(total, parts)
    assert (len(found), sum(found)) == (parts, total)
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize("events", [EVENTS, RESEEDS], ids=["members", "bases"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("balancer", BALANCERS)
def test_every_owner_is_where_the_flow_tables_lead(
    balancer: str, version: int, events: list[dict[str, object]]
) -> None:
    apart = [{**event, "at": at} for at, event in enumerate(events)]
    _assert_led_to_owners(
        spec(balancer=balancer, ip=version, workload={"connections": 12}, events=apart)
    )


def test_weighted_owners_are_where_the_flow_tables_lead() -> None:
    weights = {"c2": 4.0, "c1n2": 0.5, "c2n4": 3.0}
    of = spec(
        balancer="rendezvous",
        cluster={"weights": weights},
        workload={"connections": 60},
    )
    _assert_led_to_owners(of)
    unweighted = predict(spec(balancer="rendezvous", workload={"connections": 60}))
    assert predict(of).owners != unweighted.owners


def _assert_led_to_owners(of: RunSpec) -> None:
    """In every state of the spec, the switches bring each connection to its owner."""
    found = predict(of)
    for state, owners in zip(of.states(), found.owners, strict=True):
        switches = network(state)
        for connection, owner in zip(found.connections, owners, strict=True):
            client = next(
                c for c in state.plan.clients if connection.src in (c.ipv4, c.ipv6)
            )
            frame = from_client(client, connection.sport, of.ip)
            ends = switches.delivered(client.name, frame)
            assert [end.place for end in ends] == [owner]


def test_a_drained_node_loses_all_connections_and_a_restored_one_gets_them_back() -> (
    None
):
    back = {**EVENTS[2], "at": 1}
    found = predict(spec(balancer="resilient", events=[EVENTS[0], back]))
    before, drained, after = found.owners
    assert "c1n2" in before
    assert "c1n2" not in drained
    assert before == after
    assert found.moved(0) == found.moved(1) == before.count("c1n2")


def test_an_impossible_event_is_refused_at_its_instant() -> None:
    with pytest.raises(ValueError, match="c1n2 is in service already"):
        predict(spec(events=[EVENTS[2]]))


def test_the_command_prints_every_owner_as_json() -> None:
    result = command("drain-node", "--json", "--set", "workload.connections=30")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    of = RunSpec.model_validate({"workload": {"connections": 30}, "events": EVENTS[:1]})
    assert [row["connection"] for row in shown["connections"]] == [
        format_connection(connection) for connection in connections_of(of)
    ]
    moved = [row for row in shown["connections"] if len(set(row["owners"])) > 1]
    assert shown["events"] == [
        {"at": 0.0, "kind": "drain-node", "target": "c1n2", "moved": len(moved)}
    ]
    assert moved
    assert shown["balance"]["changes"][0]["connections_moved"] == len(moved)


def test_the_command_prints_a_table() -> None:
    result = command("scale-out-node", "--set", "balancer=maglev")
    assert result.exit_code == 0
    for word in ("c2n4", "add-node c2", "moved", "busiest node", "polarisation"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no-such",), "no such scenario"),
        (("drain-node", "--set", "balancer=modolo"), "is not one of: modulo"),
        (("drain-node", "--set", "events.0.target=c9n1"), "no node 'c9n1'"),
        (("drain-node", "--set", "events.0.kind=restore-node"), "in service already"),
    ],
    ids=["scenario", "balancer", "target", "event"],
)
def test_bad_input_is_refused(words: tuple[str, ...], message: str) -> None:
    result = command(*words)
    assert result.exit_code == 2
    assert message in result.output


def wire() -> ScaleOut:
    return ScaleOut.build(connections=12)


def nodes(run: ScaleOut) -> set[str]:
    return {node.name for node in run.path.plan.nodes}


def test_segments_arrive_as_predicted() -> None:
    run = wire()
    found = arrivals(run.path.observations(), run.timeline, nodes(run))
    assert found.mismatched == frozenset()
    assert found.compared == 2 * len(run.moved + run.stayed)


def test_a_segment_at_another_node_is_found() -> None:
    run = wire()
    elsewhere = run.timeline.epochs[0].owner_of(run.moved[0])
    assert elsewhere
    run.path.data(run.moved[0], elsewhere, 900 * MS)
    found = arrivals(run.path.observations(), run.timeline, nodes(run))
    assert found.mismatched == {(run.moved[0], elsewhere)}


def test_while_an_event_is_under_way_both_owners_are_right() -> None:
    run = wire()
    elsewhere = run.timeline.epochs[0].owner_of(run.moved[0])
    assert elsewhere
    for at in (EVENT, (EVENT + SETTLED) // 2, SETTLED, SETTLED + IN_FLIGHT_NS):
        run.path.data(run.moved[0], elsewhere, at)
    assert (
        arrivals(run.path.observations(), run.timeline, nodes(run)).mismatched == set()
    )


def test_segments_in_flight_when_the_event_settled_are_accepted() -> None:
    run = wire()
    elsewhere = run.timeline.epochs[0].owner_of(run.moved[0])
    assert elsewhere
    run.path.data(run.moved[0], elsewhere, SETTLED + IN_FLIGHT_NS + MS)
    assert arrivals(run.path.observations(), run.timeline, nodes(run)).mismatched


def test_copies_do_not_count_as_arrivals() -> None:
    run = wire()
    segment = (run.moved[0], RST, 1, 0, 900 * MS)
    run.path.see("c1n1", False, *segment, eth_src=FANOUT_MAC)
    run.path.see("c1n2", False, *segment, eth_src=FANOUT_MAC)
    assert (
        arrivals(run.path.observations(), run.timeline, nodes(run)).mismatched == set()
    )
