"""Copies go only to those who owned the connection's bucket in the latest tables.

Each tier computes the hash of the connection once for each table that it remembers, and
sends one copy to each distinct member found: a handful, where flood makes one for each
node. It is as stateless as flood: what is kept are tables, not connections. A connection
that stays silent through more events than :data:`~topologies.domain.buckets.HISTORY` is beyond
recall, and its owner stays half-open.

``symmetric_l4`` hashes the two MACs' exclusive or, and at both tiers it saw a client's
segment from the client's MAC to the VIP's. So a tier-1 copy, whose Ethernet source must
be the mark, is given the destination that makes the exclusive or come out the same: no
chassis needs to know any client.
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
from controller.flows.flow_tables import FAMILIES, Family, Priority, Table, to_client
from controller.policies.fan_out import (
    came_back,
    marked,
    round_the_loop,
    turned,
    veiled,
)
from controller.policies.policy import Recall, ResetPolicy, Tables
from controller.policies.promise import Promise
from topologies.domain.arrangement import HISTORY
from topologies.domain.membership import Membership
from topologies.domain.plan import FANOUT_MAC, Chassis, Client, Plan

#: ``REG0``: which table is asked. ``REG1`` on: the connection's bucket in each.
_TABLE, _BUCKETS = REGISTERS[0], REGISTERS[1:7]
#: The number of the member that had the bucket.
_MEMBER = REGISTERS[7]
#: One bit for each member that has been sent its copy.
_SENT = REGISTERS[8:]
_BITS = 32


def fabric_entries(
    plan: Plan, membership: Membership, tables: Tables
) -> tuple[FlowEntry, ...]:
    """The client's reset, then one copy to each chassis that had its bucket."""
    known = _distinct(tables)
    numbers = {chassis.name: chassis.number for chassis in plan.chassis}
    ways: dict[int, tuple[Action, ...]] = {
        chassis.number: (Output(chassis.fabric_port),)
        for chassis in membership.reachable_chassis(plan)
    }
    pairs = [(client, family) for client in plan.clients for family in FAMILIES]
    return (
        *(round_the_loop(client, family) for client, family in pairs),
        *(came_back(family) for family in FAMILIES),
        *(_tier1_copies(client, family, known) for client, family in pairs),
        *_members(known, numbers, ways),
    )


def chassis_entries(
    chassis: Chassis, membership: Membership, tables: Tables
) -> tuple[FlowEntry, ...]:
    """One copy to each live node that had the connection's bucket."""
    known = _distinct(tables)
    numbers = {node.name: node.number for node in chassis.nodes}
    ways = {
        node.number: (SetField(Field.ETH_DST, node.mac), Output(node.port))
        for node in membership.reachable_nodes(chassis)
    }
    copies = FlowEntry.of(
        Table.FANOUT,
        Priority.RESET,
        {},
        (*_hashes(known), *_asked(known)),
        f"tier-2 copies to those of {chassis.name} that had the bucket",
    )
    return (*marked(), copies, *_members(known, numbers, ways))


def _distinct(tables: Tables) -> Tables:
    """The tables that differ; one that nobody was in sent no connection anywhere."""
    return tuple(dict.fromkeys(table for table in tables if table))


def _tier1_copies(client: Client, family: Family, tables: Tables) -> FlowEntry:
    # The hash comes first: what is back from the loop still has the MACs' exclusive or.
    return FlowEntry.of(
        Table.FANOUT,
        Priority.RESET,
        {**family.tcp, **to_client(client, family)},
        (
            *_hashes(tables),
            *turned(family),
            SetField(Field.ETH_DST, veiled(client, FANOUT_MAC)),
            *_asked(tables),
        ),
        f"tier-1 copies for {client.name} (IPv{family.version})",
    )


def _hashes(tables: Tables) -> tuple[Action, ...]:
    """Actions that find the connection's bucket in every table."""
    return tuple(
        Multipath(table.basis, len(table), register)
        for table, register in zip(tables, _BUCKETS, strict=False)
    )


def _asked(tables: Tables) -> tuple[Action, ...]:
    """Actions that send a copy to whoever had that bucket, table by table."""
    return tuple(
        action
        for index in range(len(tables))
        for action in (SetField(_TABLE, index), Resubmit(Table.PAST))
    )


def _members(
    tables: Tables,
    numbers: Mapping[str, int],
    ways: Mapping[int, Sequence[Action]],
) -> Iterator[FlowEntry]:
    """Bucket -> member's number -> the way to it, if it has not been taken yet."""
    for index, table in enumerate(tables):
        for bucket, member in enumerate(table):
            yield FlowEntry.of(
                Table.PAST,
                Priority.RESET,
                {_TABLE: index, _BUCKETS[index]: bucket},
                (SetField(_MEMBER, numbers[member]), Resubmit(Table.COPY)),
                f"bucket {bucket}, {index} tables back: {member}",
            )
    once = {numbers[member] for table in tables for member in table}
    for number in sorted(once & ways.keys()):
        yield _copy(number, ways[number])
    if len(tables) > 1 or once - ways.keys():
        yield FlowEntry.of(
            Table.COPY, Priority.OTHERWISE, {}, (), "has a copy, or is out of reach"
        )


def _copy(number: int, way: Sequence[Action]) -> FlowEntry:
    register, bit = _SENT[(number - 1) // _BITS], (number - 1) % _BITS
    return FlowEntry.of(
        Table.COPY,
        Priority.RESET,
        {_MEMBER: number, register: Masked(0, 1 << bit)},
        (SetBit(register, bit), *way),
        f"copy to member {number}, unless it has one",
    )


assert len(_BUCKETS) > HISTORY, "a register for each table"

DIRECTED = ResetPolicy(
    name="directed",
    summary="copies only to those who owned the bucket in the latest tables",
    guard_answers=True,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.ANSWERS_STRAYS,
            Promise.IN_ORDER,
            Promise.NOBODY_HANGS,
            Promise.FREES_OWNERS,
        )
    ),
    recall=Recall(HISTORY, fabric_entries, chassis_entries),
)
