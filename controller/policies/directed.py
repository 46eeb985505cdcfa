"""Copies go only to members that owned the connection's bucket lately.

Each tier hashes the connection once for each recent table, and sends one copy to each
distinct member found: a few copies, where flood makes one for each node. It is as
stateless as flood: switches keep tables, not connections. A connection that is silent
while its bucket changes more than :data:`~topologies.domain.history.MAX_HISTORY` times
cannot be traced. Events that do not touch its bucket do not count.

``symmetric_l4`` hashes the exclusive or of the two MACs. At both tiers a client's segment
has the client's MAC and the VIP's. The Ethernet source of a tier-1 copy must be the mark,
so its destination is chosen to give the same exclusive or. No chassis needs to know the
clients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from controller.flows.entries import (
    REGISTERS,
    Action,
    Field,
    FlowEntry,
    Masked,
    Multipath,
    Output,
    Resubmit,
    SetBit,
    SetField,
)
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    AddressFamily,
    Priority,
    Table,
    to_client,
)
from controller.policies.fan_out import (
    destination_with_same_hash,
    from_loop,
    reset_then_loop,
    swap_and_mark,
    tier1_copy_entries,
)
from controller.policies.policy import ResetPolicy, TableHistory
from controller.policies.promise import Promise
from controller.policies.questions import Memory, OnStray, Travel
from topologies.domain.history import (
    MAX_HISTORY,
    Tables,
    Timeline,
    by_bucket,
    tables_of,
)
from topologies.domain.membership import Membership
from topologies.domain.plan import FANOUT_MAC, Chassis, Client, Plan

#: ``REG0``: number of the table to look up. ``REG1`` on: the bucket in each table.
_TABLE, _BUCKETS = REGISTERS[0], REGISTERS[1:7]
#: The number of the member that owned the bucket.
_MEMBER = REGISTERS[7]
#: One bit for each member that has been sent its copy.
_SENT = REGISTERS[8:]
_BITS = 32


def fabric_entries(
    plan: Plan, membership: Membership, past: Timeline
) -> tuple[FlowEntry, ...]:
    """The client's reset, then one copy to each chassis that owned its bucket."""
    known = _distinct(past)
    numbers = {chassis.name: chassis.number for chassis in plan.chassis}
    outputs: dict[int, tuple[Action, ...]] = {
        chassis.number: (Output(chassis.fabric_port),)
        for chassis in membership.reachable_chassis(plan)
    }
    pairs = [(client, family) for client in plan.clients for family in ADDRESS_FAMILIES]
    return (
        *(reset_then_loop(client, family) for client, family in pairs),
        *(from_loop(family) for family in ADDRESS_FAMILIES),
        *(_tier1_copies(client, family, known) for client, family in pairs),
        *_member_entries(known, numbers, outputs),
    )


def chassis_entries(
    chassis: Chassis, membership: Membership, past: Timeline
) -> tuple[FlowEntry, ...]:
    """One copy to each live node that owned the connection's bucket."""
    known = _distinct(past)
    numbers = {node.name: node.number for node in chassis.nodes}
    outputs = {
        node.number: (SetField(Field.ETH_DST, node.mac), Output(node.port))
        for node in membership.reachable_nodes(chassis)
    }
    copies = FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        {},
        (*_bucket_actions(known), *_lookup_actions(known)),
        f"tier-2 copies to the nodes of {chassis.name} that owned the bucket",
    )
    return (*tier1_copy_entries(), copies, *_member_entries(known, numbers, outputs))


def _distinct(past: Timeline) -> Tables:
    """The distinct tables of each bucket's own members, without empty ones: they received
    no connection."""
    tables = by_bucket(tables_of(past), MAX_HISTORY)
    return tuple(dict.fromkeys(table for table in tables if table))


def _tier1_copies(client: Client, family: AddressFamily, tables: Tables) -> FlowEntry:
    # The hash comes first, while the frame from the loop has its original MACs.
    return FlowEntry.of(
        Table.FANOUT,
        Priority.POLICY,
        {**family.tcp, **to_client(client, family)},
        (
            *_bucket_actions(tables),
            *swap_and_mark(family),
            SetField(Field.ETH_DST, destination_with_same_hash(client, FANOUT_MAC)),
            *_lookup_actions(tables),
        ),
        f"tier-1 copies for {client.name} (IPv{family.version})",
    )


def _bucket_actions(tables: Tables) -> tuple[Action, ...]:
    """Actions that compute the connection's bucket in every table."""
    return tuple(
        Multipath(table.basis, len(table), register)
        for table, register in zip(tables, _BUCKETS, strict=False)
    )


def _lookup_actions(tables: Tables) -> tuple[Action, ...]:
    """Actions that send a copy to the bucket's owner in each table."""
    return tuple(
        action
        for index in range(len(tables))
        for action in (SetField(_TABLE, index), Resubmit(Table.PREVIOUS_OWNER))
    )


def _member_entries(
    tables: Tables,
    numbers: Mapping[str, int],
    outputs: Mapping[int, Sequence[Action]],
) -> Iterator[FlowEntry]:
    """Bucket -> member's number -> a copy to it, unless one was sent already."""
    for index, table in enumerate(tables):
        for bucket, member in enumerate(table):
            yield FlowEntry.of(
                Table.PREVIOUS_OWNER,
                Priority.POLICY,
                {_TABLE: index, _BUCKETS[index]: bucket},
                (SetField(_MEMBER, numbers[member]), Resubmit(Table.COPY)),
                f"bucket {bucket}, {index} tables back: {member}",
            )
    once = {numbers[member] for table in tables for member in table}
    for number in sorted(once & outputs.keys()):
        yield _copy(number, outputs[number])
    if len(tables) > 1 or once - outputs.keys():
        yield FlowEntry.of(
            Table.COPY, Priority.DEFAULT, {}, (), "has a copy, or is unreachable"
        )


def _copy(number: int, actions: Sequence[Action]) -> FlowEntry:
    register, bit = _SENT[(number - 1) // _BITS], (number - 1) % _BITS
    return FlowEntry.of(
        Table.COPY,
        Priority.POLICY,
        {_MEMBER: number, register: Masked(0, 1 << bit)},
        (SetBit(register, bit), *actions),
        f"copy to member {number}, unless it has one",
    )


assert len(_BUCKETS) > MAX_HISTORY, "a register for each table"

DIRECTED = ResetPolicy(
    name="directed",
    summary="copies only to members that owned the bucket in recent tables",
    on_stray=OnStray.RESET,
    travel=Travel.TO_EARLIER_OWNERS,
    memory=Memory.EARLIER_TABLES,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.ANSWERS_STRAYS,
            Promise.IN_ORDER,
            Promise.NOBODY_HANGS,
            Promise.FREES_OWNERS,
        )
    ),
    table_history=TableHistory(MAX_HISTORY, fabric_entries, chassis_entries),
)
