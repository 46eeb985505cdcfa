"""The flow entries of every switch: a pure function of plan, membership and policy.

All entries are proactive: no packet goes to the controller. A port may send only what
is listed here. IP fragments and VLAN-tagged frames match no entry: a fragment has no
ports to hash, so its connection is unknown.

======================== ================================================ ===========
port                     may send                                         goes to
======================== ================================================ ===========
fabric, client's         TCP from the client's own MAC and IP to the VIP  BALANCE
fabric, live chassis's   TCP from the VIP                                 RETURN
chassis, uplink          TCP to the VIP, not marked as a fan-out copy     BALANCE
chassis, live node's     TCP from the node's own MAC and the VIP          RETURN
client's, live node's    ARP requests                                     ARP
fabric, client's         ICMP echo requests and errors to the VIP         ECHO, errors
chassis, live node's     ICMP echo replies from the VIP                   RETURN
live node's              with healing: clients' resets, to be relayed     the uplink
======================== ================================================ ===========
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from controller.balancers import Balancer
from controller.flows import arp
from controller.flows.entries import (
    Action,
    Field,
    FlowEntry,
    GotoTable,
    Multipath,
    Output,
    SetField,
    Value,
)
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    PINNED_PORT,
    AddressFamily,
    Priority,
    Table,
    deliver_to,
    to_client,
    to_node,
)
from controller.pipeline.horizon import chassis_joined, fabric_joined, pinned_buckets
from controller.pipeline.icmp import chassis_icmp, fabric_icmp
from controller.pipeline.relays import chassis_relays, fabric_relays
from controller.policies import ResetPolicy
from topologies.domain.arrangement import Arrangement
from topologies.domain.forecast import basis_of
from topologies.domain.history import Timeline, ranks, timeline
from topologies.domain.membership import Membership
from topologies.domain.plan import (
    FABRIC,
    FANOUT_MAC,
    GATEWAY_MAC,
    UPLINK_PORT,
    VIP4,
    VIP_MAC,
    Chassis,
    Client,
    Node,
    Plan,
    client_address,
)


def pipeline(
    plan: Plan,
    membership: Membership,
    policy: ResetPolicy,
    balancer: Balancer,
    history: tuple[Arrangement, ...] = (),
    healing: bool = False,
    ended: tuple[int, ...] = (),
) -> dict[str, tuple[FlowEntry, ...]]:
    """All flow entries of every switch, by the switch's name.

    ``history``: the earlier arrangements, latest first; ``ended``: when each ended, if
    that matters. ``healing``: whether clients' own
    resets are relayed to their owners (:mod:`controller.pipeline.relays`).
    """
    versions = (Arrangement(plan, membership), *history)

    times = ended or ranks(len(history))

    def past(switch: str) -> Timeline:
        if policy.table_history is None:
            return ()
        return timeline(versions, times, switch, balancer)

    fabric = _fabric(plan, membership, policy, balancer, past(FABRIC))
    relays = fabric_relays(plan, membership) if healing else ()
    tables = {FABRIC: _in_order((*fabric, *relays))}
    for chassis in plan.chassis:
        own, known = membership.of_chassis(chassis), past(chassis.name)
        tables[chassis.name] = _chassis(
            *(chassis, own, policy, balancer, known, healing)
        )
    return tables


def _in_order(entries: Iterable[FlowEntry]) -> tuple[FlowEntry, ...]:
    """Sorted by table, then by descending priority."""
    return tuple(sorted(entries, key=lambda entry: (entry.table, -entry.priority)))


def _fabric(
    plan: Plan,
    membership: Membership,
    policy: ResetPolicy,
    balancer: Balancer,
    past: Timeline,
) -> Iterator[FlowEntry]:
    """Tier 1: balances over chassis."""
    for client in plan.clients:
        yield from _client(client)
    for chassis in membership.reachable_chassis(plan):
        yield from (_from_chassis(chassis, family) for family in ADDRESS_FAMILIES)
    ways = {
        chassis.name: _Way(chassis.fabric_port, (Output(chassis.fabric_port),))
        for chassis in membership.serving_chassis(plan)
    }
    names, departed = membership.serving_names(plan), membership.departed(FABRIC)
    table = balancer.chassis_table(names, departed)
    joined = fabric_joined(plan, membership, balancer) if policy.pins else ()
    pinned = pinned_buckets(policy.memory, table, joined)
    yield from _balance(ways, table, basis_of(membership, FABRIC), pinned)
    yield arp.reply_entry(VIP_MAC, "the VIP's")
    yield from fabric_icmp(plan, membership)
    yield from policy.fabric_entries(plan, membership)
    if policy.table_history:
        yield from policy.table_history.fabric_entries(plan, membership, past)
    yield _drop_entry(Table.ADMIT, "not admitted")
    yield _drop_entry(Table.RETURN, "no client has this address")


@lru_cache(maxsize=1024)
def _chassis(
    chassis: Chassis,
    own: Membership,
    policy: ResetPolicy,
    balancer: Balancer,
    past: Timeline,
    healing: bool,
) -> tuple[FlowEntry, ...]:
    """Tier 2: balances over the nodes of one chassis.

    Cached: recomputed only when ``own`` changes, its part of the membership.
    """
    ways = {
        node.name: _Way(node.port, to_node(node)) for node in own.serving_nodes(chassis)
    }
    table = balancer.node_table(list(ways), own.departed(chassis.name))
    joined = chassis_joined(chassis, own, balancer) if policy.pins else ()
    pinned = pinned_buckets(policy.memory, table, joined)
    nodes = (e for node in own.reachable_nodes(chassis) for e in _node(node))
    history = policy.table_history
    return _in_order(
        (
            *_uplink(),
            *nodes,
            _to_fabric(),
            *_balance(ways, table, basis_of(own, chassis.name), pinned),
            arp.reply_entry(GATEWAY_MAC, "the gateway's"),
            *chassis_icmp(chassis, own),
            *policy.chassis_entries(chassis, own),
            *(history.chassis_entries(chassis, own, past) if history else ()),
            *(chassis_relays(chassis, own) if healing else ()),
            _drop_entry(Table.ADMIT, "not admitted"),
        )
    )


class _Way(NamedTuple):
    """How to send to a member: its port, and the actions that output there."""

    port: int
    actions: tuple[Action, ...]

    @property
    def pinning(self) -> tuple[Action, ...]:
        """Actions that pin the connection to the member first."""
        return (SetField(PINNED_PORT, self.port), GotoTable(Table.PIN_LEARN))


def _client(client: Client) -> Iterator[FlowEntry]:
    """What a client may send, and the return path of segments to it."""
    for family in ADDRESS_FAMILIES:
        yield _from_client(client, family)
        yield FlowEntry.of(
            Table.RETURN,
            Priority.NORMAL,
            to_client(client, family),
            deliver_to(client),
            f"segment for {client.name} (IPv{family.version})",
        )
    request = arp.request_match(client.fabric_port, client.mac)
    yield _admit_arp(
        {**request, Field.ARP_SPA: client.ipv4, Field.ARP_TPA: VIP4},
        f"{client.name} asks for the VIP (ARP)",
    )


def _from_client(client: Client, family: AddressFamily) -> FlowEntry:
    match = {
        **family.tcp,
        Field.IN_PORT: client.fabric_port,
        Field.ETH_SRC: client.mac,
        Field.ETH_DST: VIP_MAC,
        family.source: client_address(client, family.version),
        family.destination: family.vip,
    }
    return FlowEntry.of(
        Table.ADMIT,
        Priority.NORMAL,
        match,
        (GotoTable(Table.BALANCE),),
        f"segment from {client.name} (IPv{family.version})",
    )


def _from_chassis(chassis: Chassis, family: AddressFamily) -> FlowEntry:
    match = {
        **family.tcp,
        Field.IN_PORT: chassis.fabric_port,
        Field.ETH_DST: GATEWAY_MAC,
        family.source: family.vip,
    }
    return FlowEntry.of(
        Table.ADMIT,
        Priority.NORMAL,
        match,
        (GotoTable(Table.RETURN),),
        f"segment from {chassis.name} (IPv{family.version})",
    )


def _uplink() -> Iterator[FlowEntry]:
    """What the fabric may send to a chassis."""
    for family in ADDRESS_FAMILIES:
        yield FlowEntry.of(
            Table.ADMIT,
            Priority.NORMAL,
            {
                **family.tcp,
                Field.IN_PORT: UPLINK_PORT,
                Field.ETH_DST: VIP_MAC,
                family.destination: family.vip,
            },
            (GotoTable(Table.BALANCE),),
            f"segment from the fabric (IPv{family.version})",
        )
    yield FlowEntry.of(
        Table.ADMIT,
        Priority.MARKED,
        {Field.IN_PORT: UPLINK_PORT, Field.ETH_SRC: FANOUT_MAC},
        (),
        "fan-out copy that the policy does not ask for",
    )


def _node(node: Node) -> Iterator[FlowEntry]:
    """What a live node may send. A failed node may send nothing, even if it still runs."""
    for family in ADDRESS_FAMILIES:
        yield FlowEntry.of(
            Table.ADMIT,
            Priority.NORMAL,
            {
                **family.tcp,
                Field.IN_PORT: node.port,
                Field.ETH_SRC: node.mac,
                Field.ETH_DST: GATEWAY_MAC,
                family.source: family.vip,
            },
            (GotoTable(Table.RETURN),),
            f"segment from {node.name} (IPv{family.version})",
        )
    yield _admit_arp(arp.request_match(node.port, node.mac), f"{node.name} asks (ARP)")


def _admit_arp(match: dict[Field, Value], name: str) -> FlowEntry:
    return FlowEntry.of(
        Table.ADMIT, Priority.NORMAL, match, (GotoTable(Table.ARP),), name
    )


def _to_fabric() -> FlowEntry:
    return FlowEntry.of(
        Table.RETURN, Priority.NORMAL, {}, (Output(UPLINK_PORT),), "to the fabric"
    )


def _balance(
    ways: Mapping[str, _Way],
    table: Sequence[str],
    basis: int,
    pinned: Collection[int],
) -> Iterator[FlowEntry]:
    """The bucket table: ``ways`` by each member's name; ``pinned``: buckets that pin."""
    if not table:
        yield _drop_entry(Table.BALANCE, "no member is in service")
        return
    yield FlowEntry.of(
        Table.BALANCE,
        Priority.NORMAL,
        {},
        (Multipath(basis, len(table)), GotoTable(Table.BUCKET)),
        f"{len(table)} buckets",
    )
    for bucket, member in enumerate(table):
        yield FlowEntry.of(
            Table.BUCKET,
            Priority.NORMAL,
            {Field.REG0: bucket},
            ways[member].pinning if bucket in pinned else ways[member].actions,
            f"bucket {bucket}: {member}",
        )


def _drop_entry(table: Table, name: str) -> FlowEntry:
    """An explicit drop entry, so that dropped frames are counted.

    What OVS does with a table miss depends on its controllers' OpenFlow versions
    (``connmgr_wants_packet_in_on_miss``).
    """
    return FlowEntry.of(table, Priority.DEFAULT, {}, (), name)
