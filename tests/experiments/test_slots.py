"""Servers with few slots: who holds them, who is refused, as seen and as predicted."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.analysis.outcomes import Outcome
from experiments.analysis.refusals import refused_ports, without_refusals
from experiments.harm.slots import held_by_nobody, refused, slots
from experiments.prediction.slot_use import (
    SlotUse,
    first_refusal,
    predicted,
    sessions,
    slot_uses,
)
from experiments.spec.run_spec import RunSpec
from experiments.spec.spec_file import find_spec, load_spec
from experiments.workloads import WORKLOADS
from nodes.clients import client_ports
from nodes.clients.client_report import ClientReport, parse_report
from nodes.servers.postgres_server import pgbouncer_ini
from nodes.servers.server_settings import ServerSettings
from topologies.domain.connection import FourTuple
from topologies.domain.plan import Plan

END_S = 10.0
READY = (1.0, "ready", {"connections": 2, "ports": [5, 6]})
BROKE = (2.5, "reset", {"conn": 0, "port": 5})
REFUSED = (2.6, "error", {"conn": 0, "port": 7, "reason": "too many clients"})
BACK = (2.8, "reconnected", {"conn": 0, "port": 8, "old_port": 5})


def reports(
    tmp_path: Path, *events: tuple[float, str, dict[str, Any]]
) -> dict[str, ClientReport]:
    path = tmp_path / "h1.jsonl"
    path.write_text(
        "".join(json.dumps({"t": t, "event": e, **f}) + "\n" for t, e, f in events)
    )
    return {"h1": parse_report(path)}


def seen(tmp_path: Path, *events: tuple[float, str, dict[str, Any]]) -> dict[str, Any]:
    return slots(8, reports(tmp_path, *events), [1.5, 2.0, 3.0], END_S)


# ------------------------------------------------------------------------ as seen


def test_the_first_refusal_is_named_by_the_events_before_it(tmp_path: Path) -> None:
    figures = seen(tmp_path, READY, BROKE, REFUSED)
    assert figures["first_refusal"] == {"event": 2, "after_s": 1.1}
    assert figures["limit"] == 8


def test_who_is_not_back_at_the_end_is_without_a_connection(tmp_path: Path) -> None:
    assert seen(tmp_path, READY, BROKE, REFUSED)["without_connection"] == 1
    assert seen(tmp_path, READY, BROKE, REFUSED, BACK)["without_connection"] == 0
    late = (END_S + 1, "reconnected", {"conn": 0, "port": 8, "old_port": 5})
    assert seen(tmp_path, READY, BROKE, REFUSED, late)["without_connection"] == 1


def test_nobody_is_refused_before_all_are_open_or_after_the_end(tmp_path: Path) -> None:
    early, late = (0.5, *REFUSED[1:]), (END_S + 1, *REFUSED[1:])
    found = reports(tmp_path, early, READY, late)
    assert refused(found, END_S) == []
    assert slots(8, found, [2.0], END_S)["first_refusal"] is None


def test_a_socket_is_nobodys_if_no_client_has_its_end() -> None:
    a, b, c = (FourTuple("10.1.0.1", port, "10.0.0.1", 10809) for port in (1, 2, 3))
    held = {a: ["c1n1"], b: ["c1n2", "c2n1"], c: ["c1n1"]}
    assert held_by_nobody(held, {a}) == 3
    assert held_by_nobody(held, {a, b, c}) == 0


def test_an_attempt_that_a_node_is_refusing_is_nobodys_session() -> None:
    a, b = (FourTuple("10.1.0.1", port, "10.0.0.1", 10809) for port in (1, 2))
    held = {a: ["c1n1"], b: ["c1n2"]}
    assert held_by_nobody(held, {}, {("10.1.0.1", 2), ("10.1.0.2", 1)}) == 1


def refused_outcome(**fields: Any) -> Outcome:
    """A connection that its client closed, and its kernel then ended as by a reset."""
    client = Plan.build(1, 1, 1).clients[0]
    connection = FourTuple(client.ipv4, 7, "10.0.0.1", 10809)
    about = {"opened_ns": 1, "owner": "c1n1", "end_ns": 99, "moved_ns": None}
    about |= {"moved_to": None, "reset_ns": 30, "ended_ns": 30, "closing_ns": 20}
    return Outcome(connection, **{**about, **fields})


@pytest.mark.parametrize(
    ("fields", "resets"),
    [
        ({}, 0),
        ({"closing_ns": None}, 1),
        ({"closing_ns": 40}, 1),
        ({"moved_ns": 10, "moved_to": "c1n2"}, 1),
    ],
    ids=["refused", "no end closed it", "closed later", "moved"],
)
def test_a_refused_connection_is_no_reset(
    fields: dict[str, Any], resets: int, tmp_path: Path
) -> None:
    clients = Plan.build(1, 1, 1).clients
    one = refused_outcome(**fields)
    told = reports(tmp_path, READY, BROKE, REFUSED)
    assert sum(o.reset for o in without_refusals([one], clients, told)) == resets
    untold = reports(tmp_path, READY, BROKE)
    assert all(o.reset for o in without_refusals([one], clients, untold))


def test_a_port_that_was_open_once_was_not_refused(tmp_path: Path) -> None:
    broke = (4.0, "error", {"conn": 0, "port": 8, "reason": "no route"})
    first = (4.0, "error", {"conn": 1, "port": 6, "reason": "no route"})
    found = reports(tmp_path, READY, BROKE, REFUSED, BACK, broke, first)
    assert refused_ports(found["h1"]) == {7}


# ------------------------------------------------------------------- as predicted


def spec(**keys: Any) -> RunSpec:
    """One drain of six nodes with that many slots, unless ``keys`` say otherwise."""
    drain = {"kind": "drain-node", "target": "c1n1"}
    about = {"policy": "client-only", "events": [drain], "servers": {"slots": 24}}
    return RunSpec.model_validate({**about, **keys})


def uses(one: RunSpec) -> list[SlotUse]:
    found = slot_uses(one)
    assert found is not None
    return found


def test_a_client_that_comes_back_uses_the_ports_that_real_clients_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_ports, "_bind", lambda _family, _port: object())
    one = spec(seed=7, workload={"connections": 5}, cluster={"clients": 2})
    real = []
    for host, share in (("h1", 3), ("h2", 2)):
        ports = client_ports.SourcePorts(7, host, share + 1)
        for slot in range(share):
            bound = [ports.bind(slot, socket.AF_INET, print)[1] for _ in range(4)]
            real.append(bound)
    assert [
        [next(each.ports).sport for _ in range(4)] for each in sessions(one)
    ] == real


def test_each_client_that_moves_leaves_a_slot_behind() -> None:
    before, after = uses(spec())
    assert sum(before.left.values()) == 0
    assert sum(before.live.values()) == sum(after.live.values()) == 48
    moved = sum(after.left.values())
    assert moved >= before.live["c1n1"] > 0
    assert after.left["c1n1"] == before.live["c1n1"]
    assert after.live["c1n1"] == 0


@pytest.mark.parametrize("policy", ["flood", "directed", "flood-others"])
def test_a_policy_that_frees_owners_leaves_none(policy: str) -> None:
    found = uses(spec(policy=policy))
    assert not any(found[-1].left.values())
    assert first_refusal(found) is None


@pytest.mark.parametrize("policy", ["drop", "proactive", "stateful", "second-chance"])
def test_nothing_is_said_where_clients_that_move_are_not_reset(policy: str) -> None:
    assert slot_uses(spec(policy=policy)) is None
    assert predicted(spec(policy=policy)) is None
    assert slot_uses(spec(servers={})) is None


def test_power_takes_a_nodes_slots_with_it() -> None:
    events = [
        {"at": 0, "kind": "drain-node", "target": "c1n1"},
        {"at": 1, "kind": "fail-node", "target": "c1n1"},
    ]
    _, drained, failed = uses(spec(events=events))
    assert drained.left["c1n1"] > 0
    assert failed.left["c1n1"] == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(8, 24), st.booleans())
def test_no_node_has_more_than_its_slots_and_no_client_is_lost(
    seed: int, limit: int, frees: bool
) -> None:
    shipped = load_spec(find_spec("slots")).model_dump()
    policy = "flood" if frees else "client-only"
    about = {"seed": seed, "policy": policy, "servers": {"slots": limit}}
    for use in uses(RunSpec.model_validate({**shipped, **about})):
        assert all(n <= limit for n in (use.live + use.left).values())
        assert sum(use.live.values()) + use.without == 48
        assert use.without == 0 or use.refused > 0


def test_the_shipped_scenario_fills_a_cluster_that_nobody_uses() -> None:
    """48 clients, 144 slots: a rolling upgrade of six nodes uses them up."""
    shipped = load_spec(find_spec("slots"), ["policy=client-only"])
    found = predicted(shipped)
    assert found == {
        "held_by_nobody": 132,
        "first_refusal": 3,
        "without_connection": 36,
    }
    fanned_out = predicted(load_spec(find_spec("slots")))
    assert fanned_out == {
        "held_by_nobody": 0,
        "first_refusal": None,
        "without_connection": 0,
    }


def test_servers_are_told_their_limit_and_else_have_none() -> None:
    nbd, store = WORKLOADS["nbd"], Path("/store")
    assert not any("limit" in word for word in nbd.server(store))
    command = nbd.tuned(ServerSettings(slots=7)).server(store)
    assert "--filter=limit" in command[: command.index("file")]
    assert "limit=7" in command[command.index("file") :]
    text = pgbouncer_ini(store, ServerSettings(slots=7, user_timeout_s=2.5))
    assert "\nmax_client_conn = 7\n" in text
    assert "\ntcp_user_timeout = 2500\n" in text
    assert "\ntcp_user_timeout = 0\n" in pgbouncer_ini(store, ServerSettings())


def test_a_cluster_with_fewer_slots_than_connections_is_refused() -> None:
    with pytest.raises(ValueError, match=r"servers.slots: 6 nodes with 7 slots"):
        spec(servers={"slots": 7}).check_capacity()
    spec(servers={"slots": 8}).check_capacity()
