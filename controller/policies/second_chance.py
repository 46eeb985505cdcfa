"""Baseline: a node redirects a stray to its bucket's earlier owner.

Neither switches nor guards keep a connection's state (as in GLB and Beamer). The guard
sends the stray back with a reserved Ethernet destination. The fabric finds the chassis, and
the chassis the node, that owned the connection one version of the tables ago. That node
recognises the connection and answers the client, or resets it finally. After a second event
the owner is not found: it is two versions back.

Both tiers must compute the hash of the client's own segments, over the exclusive or of two
MACs. A frame from the fabric has the mark as its source, so its destination is chosen to
give the same result (as in :mod:`controller.policies.directed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.flows.entries import (
    Action,
    Field,
    FlowEntry,
    GotoTable,
    Multipath,
    Output,
    SetField,
)
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    AddressFamily,
    Priority,
    Table,
)
from controller.policies.fan_out import destination_with_same_hash
from controller.policies.policy import ResetPolicy, TableHistory
from controller.policies.promise import Promise
from controller.policies.questions import Memory, OnStray
from topologies.domain.buckets import BucketTable
from topologies.domain.history import Tables
from topologies.domain.membership import Membership
from topologies.domain.plan import (
    GATEWAY_MAC,
    SECOND_CHANCE_MAC,
    UPLINK_PORT,
    Chassis,
    Client,
    Node,
    Plan,
    client_address,
)


def fabric_entries(
    plan: Plan, membership: Membership, tables: Tables
) -> tuple[FlowEntry, ...]:
    """From any chassis to the one that owned the bucket one version ago."""
    earlier = _earlier(tables)
    outputs: dict[str, tuple[Action, ...]] = {
        chassis.name: (Output(chassis.fabric_port),)
        for chassis in membership.reachable_chassis(plan)
    }
    if not outputs or not earlier:
        return ()
    serving = membership.serving_chassis(plan)
    fallback = serving[0].name if serving else next(iter(outputs))
    return (
        *(
            _redirected(chassis.fabric_port, GotoTable(Table.FANOUT), family)
            for chassis in membership.reachable_chassis(plan)
            for family in ADDRESS_FAMILIES
        ),
        *(
            _from_client(client, family, earlier)
            for client in plan.clients
            for family in ADDRESS_FAMILIES
        ),
        *_previous_owner_entries(earlier, outputs, fallback),
    )


def chassis_entries(
    chassis: Chassis, membership: Membership, tables: Tables
) -> tuple[FlowEntry, ...]:
    """From nodes to the fabric; from the fabric to the owner one version ago."""
    nodes = membership.reachable_nodes(chassis)
    upward = tuple(
        entry
        for node in nodes
        for f in ADDRESS_FAMILIES
        for entry in _from_node(node, f)
    )
    earlier = _earlier(tables)
    if not nodes or not earlier:
        return upward
    outputs: dict[str, tuple[Action, ...]] = {
        node.name: (SetField(Field.ETH_DST, node.mac), Output(node.port))
        for node in nodes
    }
    fallback = next(iter([*membership.serving_nodes(chassis), *nodes])).name
    hashed = FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        {},
        (Multipath(earlier.basis, len(earlier)), GotoTable(Table.PREVIOUS_OWNER)),
        f"{len(earlier)} buckets, one version ago",
    )
    downward = (_from_fabric(family) for family in ADDRESS_FAMILIES)
    return (
        *upward,
        *downward,
        hashed,
        *_previous_owner_entries(earlier, outputs, fallback),
    )


def _earlier(tables: Tables) -> BucketTable:
    """The table before the current one; the current one if it is the first."""
    return next((table for table in (*tables[1:], tables[0]) if table), tables[0])


def _from_node(node: Node, family: AddressFamily) -> Iterator[FlowEntry]:
    yield _redirected(node.port, GotoTable(Table.RETURN), family, node.mac)
    yield FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        {
            **family.tcp,
            Field.IN_PORT: node.port,
            Field.ETH_SRC: node.mac,
            Field.ETH_DST: SECOND_CHANCE_MAC,
            family.source: family.vip,
        },
        (SetField(Field.ETH_DST, GATEWAY_MAC), GotoTable(Table.RETURN)),
        f"{node.name}'s answer to a redirected stray (IPv{family.version})",
    )


def _redirected(
    port: int, onward: GotoTable, family: AddressFamily, mac: str | None = None
) -> FlowEntry:
    match = {
        **family.tcp,
        Field.IN_PORT: port,
        Field.ETH_DST: SECOND_CHANCE_MAC,
        family.destination: family.vip,
    }
    return FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        match if mac is None else {**match, Field.ETH_SRC: mac},
        (onward,),
        f"stray redirected by port {port} (IPv{family.version})",
    )


def _from_client(
    client: Client, family: AddressFamily, earlier: BucketTable
) -> FlowEntry:
    return FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        {**family.tcp, family.source: client_address(client, family.version)},
        (
            SetField(Field.ETH_SRC, SECOND_CHANCE_MAC),
            SetField(
                Field.ETH_DST, destination_with_same_hash(client, SECOND_CHANCE_MAC)
            ),
            Multipath(earlier.basis, len(earlier)),
            # The frame may have to leave through its ingress port.
            SetField(Field.IN_PORT, 0),
            GotoTable(Table.PREVIOUS_OWNER),
        ),
        f"{client.name}'s stray: {len(earlier)} buckets, one version ago",
    )


def _from_fabric(family: AddressFamily) -> FlowEntry:
    return FlowEntry.of(
        Table.ADMIT,
        Priority.POLICY,
        {
            **family.tcp,
            Field.IN_PORT: UPLINK_PORT,
            Field.ETH_SRC: SECOND_CHANCE_MAC,
            family.destination: family.vip,
        },
        (GotoTable(Table.FANOUT),),
        f"stray for its earlier owner (IPv{family.version})",
    )


def _previous_owner_entries(
    table: BucketTable, outputs: Mapping[str, tuple[Action, ...]], fallback: str
) -> Iterator[FlowEntry]:
    """Bucket -> output to its earlier owner.

    If that one is gone, ``fallback`` is used: no node knows the connection, and one must
    reset the client.
    """
    for bucket, member in enumerate(table):
        yield FlowEntry.of(
            Table.PREVIOUS_OWNER,
            Priority.POLICY,
            {Field.REG0: bucket},
            outputs.get(member, outputs[fallback]),
            f"bucket {bucket}, one version ago: {member}",
        )


SECOND_CHANCE = ResetPolicy(
    name="second-chance",
    summary="baseline: a node redirects a stray to its bucket's earlier owner",
    on_stray=OnStray.REDIRECT,
    memory=Memory.EARLIER_TABLES,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.NOBODY_HANGS,
            Promise.KEEPS_CONNECTIONS,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
    table_history=TableHistory(1, fabric_entries, chassis_entries),
)
