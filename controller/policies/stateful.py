"""Baseline: the switches pin every connection, so a planned event breaks none.

At a connection's SYN each tier learns the member of its bucket. Later segments go there as
long as that member is reachable, even if the table has changed. A connection that is not
pinned (for example after a restart of the switch) uses its bucket and is pinned then; if it
has moved, its client is reset as for client-only. A new SYN always uses the bucket: it must
not reach a drained member.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from controller.flows.entries import (
    Action,
    Field,
    FlowEntry,
    GotoTable,
    Learn,
    Masked,
    Multipath,
    Output,
    Resubmit,
    Value,
)
from controller.flows.flow_tables import (
    ADDRESS_FAMILIES,
    PINNED_PORT,
    AddressFamily,
    Priority,
    Table,
    to_node,
)
from controller.policies.policy import ResetPolicy, TableHistory
from controller.policies.promise import Promise
from controller.policies.questions import Memory, OnStray
from topologies.domain.buckets import BucketTable
from topologies.domain.hashing import ETH_TYPE, IPPROTO_TCP
from topologies.domain.history import Timeline
from topologies.domain.membership import Membership
from topologies.domain.plan import Chassis, Plan

#: How long a pin stays without a segment: as long as OpenFlow can say, 18 hours. A table
#: with a limit evicts only entries that have such a time (Flow_Table in
#: ovs-vswitchd.conf.db(5)); the one whose time ends first is the least recently used.
_IDLE_S = 0xFFFF
#: How long a pin stays after the client's FIN or RST, in seconds.
_AFTER_END_S = 10
_SYN = 0x02


def fabric_entries(
    plan: Plan, membership: Membership, past: Timeline
) -> tuple[FlowEntry, ...]:
    """Connections are pinned to chassis."""
    outputs: dict[int, tuple[Action, ...]] = {
        chassis.fabric_port: (Output(chassis.fabric_port),)
        for chassis in membership.reachable_chassis(plan)
    }
    return _pin_entries(outputs, past[0].table)


def chassis_entries(
    chassis: Chassis, membership: Membership, past: Timeline
) -> tuple[FlowEntry, ...]:
    """Connections are pinned to nodes."""
    outputs = {node.port: to_node(node) for node in membership.reachable_nodes(chassis)}
    return _pin_entries(outputs, past[0].table)


def _pin_entries(
    outputs: Mapping[int, tuple[Action, ...]], table: BucketTable
) -> tuple[FlowEntry, ...]:
    """``outputs``: the output actions of each reachable member, by its port."""
    lookup = FlowEntry.of(
        Table.PIN_LOOKUP,
        Priority.NORMAL,
        {},
        (Resubmit(Table.LEARNED), GotoTable(Table.PIN_OUTPUT)),
        "look up the pinned member",
    )
    pinned = (_pinned(port, actions) for port, actions in outputs.items())
    default = FlowEntry.of(
        Table.PIN_OUTPUT,
        Priority.DEFAULT,
        {},
        (Multipath(table.basis, len(table)), Resubmit(Table.BUCKET)) if table else (),
        "pinned member unreachable: use the bucket",
    )
    learned = (_learned(family) for family in ADDRESS_FAMILIES if table)
    return (*_non_syn_entries(), lookup, *learned, *pinned, default)


def _non_syn_entries() -> Iterator[FlowEntry]:
    for family in ADDRESS_FAMILIES:
        yield FlowEntry.of(
            Table.BALANCE,
            Priority.POLICY,
            {**_tcp(family), Field.TCP_FLAGS: Masked(0, _SYN)},
            (GotoTable(Table.PIN_LOOKUP),),
            f"not the first segment of a connection (IPv{family.version})",
        )


def _learned(family: AddressFamily) -> FlowEntry:
    learn = Learn(
        Table.LEARNED,
        ETH_TYPE[family.version],
        family.source,
        family.address_bits,
        PINNED_PORT,
        _AFTER_END_S,
        _IDLE_S,
    )
    return FlowEntry.of(
        Table.PIN_LEARN,
        Priority.NORMAL,
        _tcp(family),
        (learn, GotoTable(Table.PIN_OUTPUT)),
        f"pin the connection (IPv{family.version})",
    )


def _pinned(port: int, actions: tuple[Action, ...]) -> FlowEntry:
    return FlowEntry.of(
        Table.PIN_OUTPUT,
        Priority.NORMAL,
        {PINNED_PORT: port},
        actions,
        f"pinned to port {port}",
    )


def _tcp(family: AddressFamily) -> dict[Field, Value]:
    return {
        Field.ETH_TYPE: ETH_TYPE[family.version],
        Field.IP_PROTO: IPPROTO_TCP,
    }


STATEFUL = ResetPolicy(
    name="stateful",
    summary="baseline: switches pin each connection; a planned event breaks none",
    on_stray=OnStray.RESET,
    memory=Memory.CONNECTIONS,
    promises=frozenset(
        (
            Promise.RESETS_WHO_SPOKE,
            Promise.ANSWERS_STRAYS,
            Promise.NOBODY_HANGS,
            Promise.KEEPS_CONNECTIONS,
            Promise.NO_COPIES,
            Promise.TELLS_NO_NODE,
        )
    ),
    table_history=TableHistory(0, fabric_entries, chassis_entries),
)
