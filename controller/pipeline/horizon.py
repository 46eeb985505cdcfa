"""Which buckets' connections are pinned: all, none, or those that may move; pure.

A bucket may move if it belongs to another member as soon as the *horizon* has joined: every
member that is out of service, and the next new one. With a consistent balancer a bucket
that all of them together do not take is not taken by some of them either (Mendelson and
others: JET, CoNEXT 2021).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from controller.policies.questions import Memory
from topologies.domain.balancer import Balancer
from topologies.domain.membership import Membership
from topologies.domain.plan import FABRIC, Chassis, Node, Plan


def pinned_buckets(
    memory: Memory, table: Sequence[str], joined: Sequence[str]
) -> Collection[int]:
    """The buckets whose connections a switch pins.

    ``joined``: the table once the horizon has joined; empty if it does not matter or
    cannot be compared.
    """
    if memory is Memory.CONNECTIONS or (memory is Memory.MOVABLE and not joined):
        return range(len(table))
    if memory is Memory.MOVABLE:
        pairs = enumerate(zip(table, joined, strict=True))
        return {bucket for bucket, (now, then) in pairs if now != then}
    return ()


def fabric_joined(
    plan: Plan, membership: Membership, balancer: Balancer
) -> tuple[str, ...]:
    """Tier 1's table with every chassis in service, and the next one.

    Empty if the balancer moves other buckets too, or has weights: then a chassis' weight
    depends on its nodes. Who has left is among the members then, and only its place counts.
    """
    if not horizon_known(balancer):
        return ()
    following = Chassis(len(plan.chassis) + 1, ())
    chassis = {one.name: () for one in (*plan.chassis, following)}
    return balancer.chassis_table(chassis, membership.departed(FABRIC))


def chassis_joined(
    chassis: Chassis, membership: Membership, balancer: Balancer
) -> tuple[str, ...]:
    """Tier 2's table with every node of the chassis in service, and the next one."""
    if not horizon_known(balancer):
        return ()
    following = Node(chassis.number, len(chassis.nodes) + 1)
    nodes = [node.name for node in (*chassis.nodes, following)]
    return balancer.node_table(nodes, membership.departed(chassis.name))


def horizon_known(balancer: Balancer) -> bool:
    """Whether it can be told which buckets may move. If not, all of them may."""
    return balancer.consistent and not balancer.weights
