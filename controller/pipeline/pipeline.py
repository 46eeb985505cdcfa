"""What every switch should do, as a pure function of plan, membership and policy.

All of it is proactive: no packet ever goes to the controller, and every port may send
only what is listed here. IP fragments and VLAN-tagged frames are listed nowhere: the
hash of a fragment has no ports in it, so its connection could not be told.

======================== ================================================ ===========
port                     may send                                         goes to
======================== ================================================ ===========
fabric, client's         TCP from the client's own MAC and IP to the VIP  BALANCE
fabric, live chassis's   TCP from the VIP                                 RETURN
chassis, uplink          TCP to the VIP, not marked as a fan-out copy     BALANCE
chassis, live node's     TCP from the node's own MAC and the VIP          RETURN
client's, live node's    ARP requests                                     ANSWER
======================== ================================================ ===========
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from controller.balancers import Balancer
from controller.flows import neighbours
from controller.flows.entries import (
    Action,
    Field,
    FlowEntry,
    GoTo,
    Multipath,
    Output,
    SetField,
    Value,
)
from controller.flows.flow_tables import (
    FAMILIES,
    PINNED_PORT,
    Family,
    Priority,
    Table,
    deliver_to,
    to_client,
    to_node,
)
from controller.policies import ResetPolicy
from controller.policies.policy import Tables
from topologies.domain.arrangement import Arrangement
from topologies.domain.forecast import basis_of
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
) -> dict[str, tuple[FlowEntry, ...]]:
    """The whole content of the flow tables of every switch, by the switch's name.

    ``history``: the states before this one, the latest first.
    """
    versions = (Arrangement(plan, membership), *history)

    def recalled(switch: str) -> Tables:
        if policy.recall is None:
            return ()
        wanted = versions[: policy.recall.versions + 1]
        return tuple(version.table(switch, balancer) for version in wanted)

    fabric = _fabric(plan, membership, policy, balancer, recalled(FABRIC))
    tables = {FABRIC: _in_order(fabric)}
    for chassis in plan.chassis:
        own, known = membership.of_chassis(chassis), recalled(chassis.name)
        tables[chassis.name] = _chassis(chassis, own, policy, balancer, known)
    return tables


def _in_order(entries: Iterable[FlowEntry]) -> tuple[FlowEntry, ...]:
    """As a reader follows a packet: table by table, what is tried first comes first."""
    return tuple(sorted(entries, key=lambda entry: (entry.table, -entry.priority)))


def _fabric(
    plan: Plan,
    membership: Membership,
    policy: ResetPolicy,
    balancer: Balancer,
    tables: Tables,
) -> Iterator[FlowEntry]:
    """Tier 1: balances over chassis."""
    for client in plan.clients:
        yield from _client(client)
    for chassis in membership.reachable_chassis(plan):
        yield from (_from_chassis(chassis, family) for family in FAMILIES)
    ports: dict[str, tuple[Action, ...]] = {
        chassis.name: _way(policy, chassis.fabric_port, (Output(chassis.fabric_port),))
        for chassis in membership.serving_chassis(plan)
    }
    table = balancer.over_chassis(membership.serving_names(plan))
    yield from _balance(ports, table, basis_of(membership, FABRIC))
    yield neighbours.answer(VIP_MAC, "the VIP's")
    yield from policy.fabric_entries(plan, membership)
    if policy.recall:
        yield from policy.recall.fabric_entries(plan, membership, tables)
    yield _dropped(Table.ADMIT, "not admitted")
    yield _dropped(Table.RETURN, "for nobody who is a client")


@lru_cache(maxsize=1024)
def _chassis(
    chassis: Chassis,
    own: Membership,
    policy: ResetPolicy,
    balancer: Balancer,
    tables: Tables,
) -> tuple[FlowEntry, ...]:
    """Tier 2: balances over the nodes of one chassis; made anew when ``own`` changes,
    what of the membership matters to it."""
    ports: dict[str, tuple[Action, ...]] = {
        node.name: _way(policy, node.port, to_node(node))
        for node in own.serving_nodes(chassis)
    }
    nodes = (e for node in own.reachable_nodes(chassis) for e in _node(node))
    recall = policy.recall
    return _in_order(
        (
            *_uplink(),
            *nodes,
            _to_fabric(),
            *_balance(
                ports, balancer.over_nodes(list(ports)), basis_of(own, chassis.name)
            ),
            neighbours.answer(GATEWAY_MAC, "the gateway's"),
            *policy.chassis_entries(chassis, own),
            *(recall.chassis_entries(chassis, own, tables) if recall else ()),
            _dropped(Table.ADMIT, "not admitted"),
        )
    )


def _way(policy: ResetPolicy, port: int, way: tuple[Action, ...]) -> tuple[Action, ...]:
    """The way to a bucket's member on that port, or to pinning the connection to it."""
    if policy.pins:
        return (SetField(PINNED_PORT, port), GoTo(Table.PIN))
    return way


def _client(client: Client) -> Iterator[FlowEntry]:
    """What a client may send, and how a segment gets back to it."""
    for family in FAMILIES:
        yield _from_client(client, family)
        yield FlowEntry.of(
            Table.RETURN,
            Priority.ORDINARY,
            to_client(client, family),
            deliver_to(client),
            f"segment for {client.name} (IPv{family.version})",
        )
    question = neighbours.arp_request(client.fabric_port, client.mac)
    yield _ask(
        {**question, Field.ARP_SPA: client.ipv4, Field.ARP_TPA: VIP4},
        f"{client.name} asks for the VIP (ARP)",
    )


def _from_client(client: Client, family: Family) -> FlowEntry:
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
        Priority.ORDINARY,
        match,
        (GoTo(Table.BALANCE),),
        f"segment from {client.name} (IPv{family.version})",
    )


def _from_chassis(chassis: Chassis, family: Family) -> FlowEntry:
    match = {
        **family.tcp,
        Field.IN_PORT: chassis.fabric_port,
        Field.ETH_DST: GATEWAY_MAC,
        family.source: family.vip,
    }
    return FlowEntry.of(
        Table.ADMIT,
        Priority.ORDINARY,
        match,
        (GoTo(Table.RETURN),),
        f"segment from {chassis.name} (IPv{family.version})",
    )


def _uplink() -> Iterator[FlowEntry]:
    """What the fabric may send to a chassis."""
    for family in FAMILIES:
        yield FlowEntry.of(
            Table.ADMIT,
            Priority.ORDINARY,
            {
                **family.tcp,
                Field.IN_PORT: UPLINK_PORT,
                Field.ETH_DST: VIP_MAC,
                family.destination: family.vip,
            },
            (GoTo(Table.BALANCE),),
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
    """What a live node may send; a failed one may send nothing, if it is not dead."""
    for family in FAMILIES:
        yield FlowEntry.of(
            Table.ADMIT,
            Priority.ORDINARY,
            {
                **family.tcp,
                Field.IN_PORT: node.port,
                Field.ETH_SRC: node.mac,
                Field.ETH_DST: GATEWAY_MAC,
                family.source: family.vip,
            },
            (GoTo(Table.RETURN),),
            f"segment from {node.name} (IPv{family.version})",
        )
    yield _ask(neighbours.arp_request(node.port, node.mac), f"{node.name} asks (ARP)")


def _ask(match: dict[Field, Value], name: str) -> FlowEntry:
    return FlowEntry.of(
        Table.ADMIT, Priority.ORDINARY, match, (GoTo(Table.ANSWER),), name
    )


def _to_fabric() -> FlowEntry:
    return FlowEntry.of(
        Table.RETURN, Priority.ORDINARY, {}, (Output(UPLINK_PORT),), "to the fabric"
    )


def _balance(
    members: dict[str, tuple[Action, ...]], table: Sequence[str], basis: int
) -> Iterator[FlowEntry]:
    """The bucket table: ``members`` maps each member's name to the way to it."""
    if not table:
        yield _dropped(Table.BALANCE, "nobody is in service")
        return
    yield FlowEntry.of(
        Table.BALANCE,
        Priority.ORDINARY,
        {},
        (Multipath(basis, len(table)), GoTo(Table.BUCKET)),
        f"{len(table)} buckets",
    )
    for bucket, member in enumerate(table):
        yield FlowEntry.of(
            Table.BUCKET,
            Priority.ORDINARY,
            {Field.REG0: bucket},
            members[member],
            f"bucket {bucket}: {member}",
        )


def _dropped(table: Table, name: str) -> FlowEntry:
    """What is not listed is dropped aloud, and counted: what OVS does with a table miss
    depends on its controllers' versions (``connmgr_wants_packet_in_on_miss``)."""
    return FlowEntry.of(table, Priority.OTHERWISE, {}, (), name)
