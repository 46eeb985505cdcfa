"""The reset policy of the naive reference: switches send resets to the controller."""

from __future__ import annotations

from collections.abc import Iterator

from controller.flows.entries import Action, Field, FlowEntry, Output
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    NOT_RECOGNISED,
    Priority,
    Table,
    deliver_to,
    to_client,
)
from controller.policies import POLICIES, ResetPolicy
from controller.policies.promise import Promise
from controller.policies.questions import OnStray
from topologies.domain.membership import Membership
from topologies.domain.plan import FANOUT_MAC, UPLINK_PORT, Chassis, Plan

#: OFPP_CONTROLLER (OpenFlow 1.4, 7.2.1).
CONTROLLER_PORT = 0xFFFFFFFD
_TO_CONTROLLER: tuple[Action, ...] = (Output(CONTROLLER_PORT),)


def fabric_entries(plan: Plan, membership: Membership) -> tuple[FlowEntry, ...]:
    """Send a reset to its client and to the controller."""
    return tuple(
        FlowEntry.of(
            Table.RETURN,
            Priority.POLICY,
            {**to_client(client, family), Field.TCP_FLAGS: NOT_RECOGNISED},
            (*deliver_to(client), *_TO_CONTROLLER),
            f"reset for {client.name} (IPv{family.version}): and to the controller",
        )
        for client in plan.clients
        for family in ADDRESS_FAMILIES
    )


def chassis_entries(chassis: Chassis, membership: Membership) -> tuple[FlowEntry, ...]:
    """Send a copy to the controller."""
    return tuple(_copies())


def _copies() -> Iterator[FlowEntry]:
    for family in ADDRESS_FAMILIES:
        yield FlowEntry.of(
            Table.ADMIT,
            Priority.POLICY,
            {
                **family.tcp,
                Field.IN_PORT: UPLINK_PORT,
                Field.ETH_SRC: FANOUT_MAC,
                Field.TCP_FLAGS: NOT_RECOGNISED,
            },
            _TO_CONTROLLER,
            f"copy from the fabric (IPv{family.version}): to the controller",
        )


NAIVE = ResetPolicy(
    name="naive",
    summary="the controller makes every copy (a reference for the benchmark)",
    on_stray=OnStray.RESET,
    promises=frozenset((Promise.RESETS_WHO_SPOKE, Promise.FREES_OWNERS)),
    fabric_entries=fabric_entries,
    chassis_entries=chassis_entries,
)


def register() -> None:
    """Make the policy known by its name, in this process."""
    POLICIES[NAIVE.name] = NAIVE
