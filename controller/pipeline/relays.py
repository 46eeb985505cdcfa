"""The flow entries by which clients' own resets find their owners (healing); pure.

A client's reset that reaches a node without its connection is sent back by that node's
guard with :data:`~topologies.domain.plan.RELAY_MAC` as Ethernet destination. Its chassis
passes it up. The fabric sends one to each reachable chassis, and each chassis one to each
reachable node, with the same MAC as Ethernet source. The owner's guard checks its
numbers. A relayed reset is addressed to nodes only, and never answered, so it causes no
other packet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.flows.entries import (
    Action,
    Field,
    FlowEntry,
    Masked,
    Output,
    SetField,
    Value,
)
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    AddressFamily,
    Priority,
    Table,
)
from controller.policies.fan_out import copies_to
from topologies.domain.membership import Membership
from topologies.domain.plan import (
    RELAY_MAC,
    UPLINK_PORT,
    VIP_MAC,
    Chassis,
    Node,
    Plan,
)

_RST = 0x04
#: A client's reset: after its abort (RST|ACK), or where it has no socket any more (RST).
_ANY_RESET = Masked(_RST, _RST)


def fabric_relays(plan: Plan, membership: Membership) -> Iterator[FlowEntry]:
    """From the chassis of the node that relays to every reachable chassis."""
    chassis = membership.reachable_chassis(plan)
    onward: tuple[Action, ...] = (
        SetField(Field.ETH_SRC, RELAY_MAC),
        SetField(Field.ETH_DST, VIP_MAC),
        # One of them has to leave through its ingress port.
        SetField(Field.IN_PORT, 0),
        *(Output(one.fabric_port) for one in chassis),
    )
    for one in chassis:
        for family in ADDRESS_FAMILIES:
            match: dict[Field, Value] = {
                Field.IN_PORT: one.fabric_port,
                Field.ETH_DST: RELAY_MAC,
            }
            yield _entry(match, family, onward, f"reset relayed by {one.name}")


def chassis_relays(chassis: Chassis, membership: Membership) -> Iterator[FlowEntry]:
    """From each node to the fabric, and from the fabric to every reachable node."""
    nodes = membership.reachable_nodes(chassis)
    for node in nodes:
        for family in ADDRESS_FAMILIES:
            yield _from_node(node, family)
    for family in ADDRESS_FAMILIES:
        match: dict[Field, Value] = {
            Field.IN_PORT: UPLINK_PORT,
            Field.ETH_SRC: RELAY_MAC,
        }
        yield _entry(match, family, copies_to(nodes), "relayed reset from the fabric")


def _from_node(node: Node, family: AddressFamily) -> FlowEntry:
    match: dict[Field, Value] = {
        Field.IN_PORT: node.port,
        Field.ETH_SRC: node.mac,
        Field.ETH_DST: RELAY_MAC,
    }
    return _entry(
        match, family, (Output(UPLINK_PORT),), f"reset relayed by {node.name}"
    )


def _entry(
    match: Mapping[Field, Value],
    family: AddressFamily,
    actions: tuple[Action, ...],
    name: str,
) -> FlowEntry:
    return FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        {
            **family.tcp,
            **match,
            family.destination: family.vip,
            Field.TCP_FLAGS: _ANY_RESET,
        },
        actions,
        f"{name} (IPv{family.version})",
    )
