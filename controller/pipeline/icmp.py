"""The flow entries for ICMP and ICMPv6: the VIP answers echo requests, and errors reach the
connection that they are about; pure.

**Echo.** A client's echo request goes to a node in service, and the node's kernel answers:
every node holds the VIP. No switch answers, because Open vSwitch's kernel datapath cannot
rewrite an ICMPv6 type (:mod:`controller.flows.arp`). The node is chosen by the hash of the
addresses, over the members in service and not over the buckets: ICMP has no ports, so the
answer says nothing of where a connection goes.

**Errors.** "Packet too big" and "unreachable" quote the packet that they are about. No
switch can read the quote, so no hash leads to the owner. One error goes to every live node.
The owner's kernel finds its socket by the quote and checks the sequence number; the others
ignore it (``tcp_v4_err``, ``tcp_v6_err``). RFC 7690 has this for anycast and ECMP.

**Limits.** Both are metered at the fabric: what one client may send, and for errors, each of
which becomes one frame for each chassis and node, what all may send together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controller.flows.entries import (
    Action,
    Field,
    FlowEntry,
    GotoTable,
    Meter,
    Multipath,
    Output,
    SetField,
    Value,
)
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    AddressFamily,
    Priority,
    Table,
    deliver_to,
    to_node,
)
from controller.policies.fan_out import copies_to
from topologies.domain.forecast import basis_of
from topologies.domain.hashing import ETH_TYPE
from topologies.domain.membership import Membership
from topologies.domain.plan import (
    FABRIC,
    GATEWAY_MAC,
    MAX_CLIENTS,
    UPLINK_PORT,
    VIP_MAC,
    Chassis,
    Client,
    Plan,
    client_address,
)

#: Echo requests a second, of one client.
ECHO_PER_S = 100
#: ICMP errors a second, of one client and of all. A path's new MTU needs one for each node
#: that serves the client: Linux keeps it by destination (``update_or_create_fnhe``).
ERRORS_PER_S = 20
ALL_ERRORS_PER_S = 100

#: Meters' numbers: 1 for all errors; then two ranges, by the client's number.
_ALL_ERRORS = Meter(1, ALL_ERRORS_PER_S, ALL_ERRORS_PER_S)
_ECHO_BASE = 1
_ERROR_BASE = _ECHO_BASE + MAX_CLIENTS


def fabric_icmp(plan: Plan, membership: Membership) -> Iterator[FlowEntry]:
    """Tier 1: from clients to chassis, and answers back to their clients."""
    for client in plan.clients:
        for family in ADDRESS_FAMILIES:
            yield from _from_client(client, family)
            yield _to_client(client, family)
    for chassis in membership.reachable_chassis(plan):
        for family in ADDRESS_FAMILIES:
            yield _echo_reply(chassis.name, chassis.fabric_port, {}, family)
    ways = [(Output(c.fabric_port),) for c in membership.serving_chassis(plan)]
    yield from _spread(ways, basis_of(membership, FABRIC))
    outputs = (Output(c.fabric_port) for c in membership.reachable_chassis(plan))
    yield FlowEntry.of(
        Table.ICMP_ERROR,
        Priority.NORMAL,
        {},
        (_ALL_ERRORS, *outputs),
        "ICMP error: one to each live chassis",
    )


def chassis_icmp(chassis: Chassis, membership: Membership) -> Iterator[FlowEntry]:
    """Tier 2: from the fabric to nodes, and answers up to the fabric."""
    nodes = membership.reachable_nodes(chassis)
    to_all: tuple[Action, ...] = (
        SetField(Field.ETH_SRC, GATEWAY_MAC),
        *copies_to(nodes),
    )
    for family in ADDRESS_FAMILIES:
        request = family.control.echo_request
        yield _from_fabric(request, (GotoTable(Table.ECHO),), "echo request", family)
        for error in family.control.errors:
            yield _from_fabric(error, to_all, f"ICMP error {error}", family)
        for node in nodes:
            source = {Field.ETH_SRC: node.mac}
            yield _echo_reply(node.name, node.port, source, family)
    serving = membership.serving_nodes(chassis)
    ways = [to_node(node) for node in serving]
    yield from _spread(ways, basis_of(membership, chassis.name))


def _from_client(client: Client, family: AddressFamily) -> Iterator[FlowEntry]:
    icmp = family.control
    echo = Meter(_ECHO_BASE + client.number, ECHO_PER_S, ECHO_PER_S)
    errors = Meter(_ERROR_BASE + client.number, ERRORS_PER_S, ERRORS_PER_S)
    kinds = [(icmp.echo_request, echo, Table.ECHO, "echo request")]
    for error in icmp.errors:
        kinds.append((error, errors, Table.ICMP_ERROR, f"ICMP error {error}"))
    for kind, meter, table, name in kinds:
        match: dict[Field, Value] = {
            **family.icmp(kind),
            Field.IN_PORT: client.fabric_port,
            Field.ETH_SRC: client.mac,
            Field.ETH_DST: VIP_MAC,
            family.source: client_address(client, family.version),
            family.destination: family.vip,
        }
        actions = (meter, GotoTable(table))
        yield _admit(match, actions, f"{name} from {client.name}", family)


def _to_client(client: Client, family: AddressFamily) -> FlowEntry:
    """Only echo replies are admitted, so the type need not be matched again."""
    match: dict[Field, Value] = {
        Field.ETH_TYPE: ETH_TYPE[family.version],
        Field.IP_PROTO: family.control.protocol,
        family.destination: client_address(client, family.version),
    }
    return FlowEntry.of(
        Table.RETURN,
        Priority.NORMAL,
        match,
        deliver_to(client),
        f"echo reply for {client.name} (IPv{family.version})",
    )


def _echo_reply(
    sender: str, port: int, source: Mapping[Field, Value], family: AddressFamily
) -> FlowEntry:
    match: dict[Field, Value] = {
        **family.icmp(family.control.echo_reply),
        Field.IN_PORT: port,
        **source,
        Field.ETH_DST: GATEWAY_MAC,
        family.source: family.vip,
    }
    return _admit(
        match, (GotoTable(Table.RETURN),), f"echo reply from {sender}", family
    )


def _from_fabric(
    kind: int, actions: tuple[Action, ...], name: str, family: AddressFamily
) -> FlowEntry:
    match: dict[Field, Value] = {
        **family.icmp(kind),
        Field.IN_PORT: UPLINK_PORT,
        Field.ETH_DST: VIP_MAC,
        family.destination: family.vip,
    }
    return _admit(match, actions, f"{name} from the fabric", family)


def _spread(ways: Sequence[tuple[Action, ...]], basis: int) -> Iterator[FlowEntry]:
    """One of those ways, by the hash of the addresses; no answer where there is none."""
    number = (Multipath(basis, len(ways)), GotoTable(Table.ECHO_MEMBER))
    name = f"{len(ways)} members answer echo requests"
    actions = number if ways else ()
    yield FlowEntry.of(Table.ECHO, Priority.NORMAL, {}, actions, name)
    for position, way in enumerate(ways):
        match = {Field.REG0: position}
        name = f"member {position} answers"
        yield FlowEntry.of(Table.ECHO_MEMBER, Priority.NORMAL, match, way, name)


def _admit(
    match: Mapping[Field, Value],
    actions: tuple[Action, ...],
    name: str,
    family: AddressFamily,
) -> FlowEntry:
    name = f"{name} (IPv{family.version})"
    return FlowEntry.of(Table.ADMIT, Priority.NORMAL, match, actions, name)
