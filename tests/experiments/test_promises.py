"""What a run must show by its spec: every policy has promises."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policies import POLICIES
from controller.policies.policy import ResetPolicy
from controller.policies.promise import CLAIM
from controller.policies.questions import OnStray
from experiments.spec.run_spec import RunSpec
from experiments.verdict.promises import (
    all_connections_speak,
    expected,
    planned,
    promised,
)
from topologies.domain.events import EVENTS

#: What each policy is expected to show of a planned event, in addition to what all are.
PROMISED = {
    "drop": {
        *("connections.reset", "connections.hung", "packets.node_resets"),
        *("packets.tier1_copies", "packets.tier2_copies"),
    },
    "client-only": {"E1", "E2", "packets.tier1_copies", "packets.tier2_copies"},
    "flood": {"E1", "E2", "E3", "E4", "E5", "wire_order", "half_open.at_end"},
    "flood-others": {"E1", "E2", "E3", "E4", "E5", "wire_order", "half_open.at_end"},
    "directed": {"E1", "E2", "wire_order", "half_open.at_end"},
    "out-of-band": {"E1", "E2", "E3", "half_open.at_end", "packets.tier1_copies"},
    "proactive": {
        *("connections.hung", "half_open.at_end", "half_open.silent"),
        "measurement.half_open_by_socket_tables",
        *("packets.tier1_copies", "packets.tier2_copies"),
    },
    "ctdb": {
        *("E1", "E2", "connections.hung", "half_open.at_end", "half_open.silent"),
        "measurement.half_open_by_socket_tables",
        *("packets.tier1_copies", "packets.tier2_copies"),
    },
    "stateful": {
        *("E1", "E2"),
        *("connections.reset", "connections.reconnected", "connections.hung"),
        *("packets.tier1_copies", "packets.tier2_copies"),
    },
    "jet": {
        *("E1", "E2", "connections.hung"),
        *("packets.tier1_copies", "packets.tier2_copies"),
    },
    "second-chance": {
        *("connections.reset", "connections.reconnected", "connections.hung"),
        *("packets.tier1_copies", "packets.tier2_copies"),
    },
}
#: What all policies that answer strays promise: each answer is a reset.
RESETTING = {"connections.reset", "connections.hung"}


def spec(policy: str = "flood", **more: Any) -> RunSpec:
    """A run of one drained node."""
    events = [{"kind": "drain-node", "target": "c1n2"}]
    return RunSpec.model_validate({"policy": policy, "events": events, **more})


def test_every_policy_of_the_registry_has_its_promises_here() -> None:
    assert POLICIES.keys() == PROMISED.keys()


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_policy_promises(policy: str) -> None:
    figures = {_shortened(key) for key in promised(POLICIES[policy], [["drain-node"]])}
    resetting = RESETTING if "E2" in PROMISED[policy] else set()
    assert figures == PROMISED[policy] | resetting


def test_both_fan_outs_promise_the_claim_and_nothing_beside_it() -> None:
    whole = {name for name, policy in POLICIES.items() if policy.promises == CLAIM}
    assert whole == {"flood", "flood-others"}


def _shortened(key: str) -> str:
    first, *rest = key.split(".")
    return rest[0] if first == "claim" else first if first == "wire_order" else key


def test_a_policy_without_promises_is_refused() -> None:
    with pytest.raises(ValueError, match="silent: a policy promises something"):
        ResetPolicy(
            "silent", "says nothing", on_stray=OnStray.STAY_SILENT, promises=frozenset()
        )
    with pytest.raises(TypeError, match="promises"):
        ResetPolicy("silent", "says nothing", on_stray=OnStray.STAY_SILENT)  # type: ignore[call-arg]


def test_a_policy_that_is_in_no_registry_is_an_error() -> None:
    unknown = spec().model_copy(update={"policy": "unknown"})
    with pytest.raises(KeyError, match="unknown"):
        expected(unknown)


def test_the_spec_overrides_a_policys_promises() -> None:
    conditions = expected(spec(expect={"connections.hung": "> 0"}))
    assert conditions["connections.hung"] == "> 0"
    assert conditions["half_open.at_end"] == "== half_open.out_of_reach"
    assert conditions["data.lost_writes"] == 0


def test_failures_and_a_lost_uplink_are_the_unplanned_events() -> None:
    happen = {"fail-node", "fail-chassis", "uplink-down"}
    assert {kind for kind in EVENTS if not planned([[kind]])} == happen
    with pytest.raises(KeyError):
        planned([["drain-node", "unknown"]])


@pytest.mark.parametrize(
    ("policy", "events", "kept"),
    [
        ("second-chance", [["drain-node", "add-node"]], True),
        ("second-chance", [["drain-node"], ["add-node"]], True),
        ("second-chance", [["drain-node"], ["add-node"]] * 2, True),
        ("second-chance", [["reseed"]] * 5, False),
        ("second-chance", [["reseed"]], True),
        ("second-chance", [["uplink-down"]], False),
        ("stateful", [["drain-node"], ["reseed"]], True),
        ("stateful", [["drain-node", "fail-node"]], False),
        ("jet", [["add-node"]], True),
        ("jet", [["add-chassis"]], True),
        ("jet", [["add-node"], ["add-node"]], False),
        ("jet", [["add-node", "add-node"]], False),
        ("jet", [["restore-node"]], False),
        ("flood", [["drain-node"]], False),
    ],
)
def test_policies_that_avoid_resets_promise_it_for_events_that_allow_it(
    policy: str, events: list[list[str]], kept: bool
) -> None:
    conditions = promised(POLICIES[policy], events)
    assert (conditions.get("connections.reconnected") == 0) is kept
    assert (conditions.get("connections.reset") == 0) is kept


@pytest.mark.parametrize("policy", ["stateful", "jet"])
def test_a_limited_pin_table_promises_to_keep_nothing(policy: str) -> None:
    grown = [{"kind": "add-node", "target": "c1n4"}]
    kept = expected(spec(policy, events=grown))
    limited = expected(spec(policy, events=grown, cluster={"pins": 8}))
    assert kept["connections.reset"] == kept["connections.reconnected"] == 0
    assert limited["connections.reset"] == "== connections.spoke"
    assert "connections.reconnected" not in limited


@pytest.mark.parametrize(
    ("work", "observe_s", "speaks"),
    [
        ({}, 2.0, True),
        ({}, 0.5, False),
        ({"interval_ms": 60_000}, 2.0, False),
        ({"kind": "echo", "pattern": "idle"}, 2.0, False),
        ({"kind": "echo", "pattern": "half-closed"}, 2.0, False),
        ({"kind": "echo", "connections": 9000}, 2.0, False),
        ({"kind": "echo", "connections": 9000}, 20.0, True),
    ],
)
def test_silent_connections_are_unexpected_if_all_must_speak(
    work: dict[str, Any], observe_s: float, speaks: bool
) -> None:
    one = spec(workload=work, observe_s=observe_s)
    assert all_connections_speak(one) is speaks
    assert ("connections.silent" in expected(one)) is speaks


@pytest.mark.parametrize("policy", ["stateful", "second-chance"])
def test_if_connections_keep_their_owner_no_stray_is_expected(policy: str) -> None:
    assert "connections.silent" not in expected(spec(policy))


@pytest.mark.parametrize(
    ("policy", "kind", "observe_s", "condition"),
    [
        ("flood", "postgres", 4.0, "<= half_open.cut_off"),
        ("flood", "postgres", 2.5, "<= half_open.out_of_reach + half_open.silent"),
        ("flood", "postgres", 0.5, None),
        ("proactive", "smb", 4.0, "<= half_open.out_of_reach + half_open.silent"),
        ("client-only", "postgres", 4.0, None),
        ("flood", "nfs", 4.0, None),
        ("flood", "smb-durable", 4.0, None),
        ("flood", "nbd", 4.0, None),
    ],
)
def test_who_frees_owners_leaves_no_lock_to_nobody(
    policy: str, kind: str, observe_s: float, condition: str | None
) -> None:
    """Where locks end with connections, and there was time to see it."""
    one = spec(policy, workload={"kind": kind}, observe_s=observe_s)
    assert expected(one).get("harm.locks_of_nobody.at_end") == condition
