"""Whom switches ask or copy to, held against every state that the cluster was in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from controller.pipeline.cluster_state import ClusterState
from tests.controller.frames import RST, from_node
from tests.controller.test_second_chances import owners, reachable, remembered, walk
from tests.histories.tcp_ends import Violation
from tests.histories.world import H1, World
from topologies.domain.buckets import BucketTable
from topologies.domain.forecast import owner
from topologies.domain.hashing import symmetric_l4
from topologies.domain.history import KEPT_TABLES, MAX_HISTORY
from topologies.domain.plan import FABRIC, VIP_MAC


def require_earlier_owners_asked(world: World, sport: int) -> None:
    """``second-chance`` passes a stray on to them, the latest first. Raises Violation."""
    present = world.state
    if world.owner_of(world.key(sport)) is None:
        return
    wanted = reachable(owners(remembered(world.states, sport), sport, 4), present)
    asked = list(dict.fromkeys(walk(world.switches, present, sport, 4).nodes))
    if asked[: len(wanted)] != wanted:
        raise Violation(f"asked {asked}, and the owners were {wanted}")


def require_earlier_owners_copied(world: World, sport: int) -> None:
    """``directed`` copies to all of them that it remembers. Raises Violation."""
    key, present = world.key(sport), world.state
    now = world.owner_of(key)
    if now is None:
        return
    ways = [_way(of, world, sport) for of in _remembered(world.states, world, sport)]
    names = [name for name in ways if name is not None]
    frame = from_node(present.plan.find_node(now), H1, sport, 4, RST)
    copied = {arrival.place for arrival in world.switches.delivered(now, frame)}
    missing = {*reachable(names, present)} - copied
    if missing:
        raise Violation(f"copies to {copied}, and {missing} were owners, too")


def _way(of: ClusterState, world: World, sport: int) -> str | None:
    return owner(of.plan, of.membership, of.balancer, world.key(sport))


def _remembered(
    states: Sequence[ClusterState], world: World, sport: int
) -> Sequence[ClusterState]:
    """The latest states of which every switch still has the bucket's member."""
    present = states[-1]
    least = 0
    for switch in (FABRIC, *(chassis.name for chassis in present.plan.chassis)):
        tables = [of.arrangement.table(switch, of.balancer) for of in states]
        least = max(least, _oldest(tables, world, sport))
    return states[least:]


def _oldest(tables: Sequence[BucketTable], world: World, sport: int) -> int:
    """The position of the oldest table that a switch still knows the bucket's member of.

    Of tables of the present shape it knows earlier members; of others, whole tables: in all
    as many as MAX_HISTORY, of KEPT_TABLES.
    """
    found = len(tables) - 1
    runs = [list(run) for _, run in groupby(range(len(tables)), key=tables.__getitem__)]
    shape = _shape(tables[-1])
    is_same, members, others = True, [], 0
    for distance, run in enumerate(reversed(runs)):
        table = tables[run[0]]
        is_same = is_same and _shape(table) == shape
        if distance > KEPT_TABLES:
            break
        if is_same:
            members.append(table.members)
            bucket = _bucket(table, world, sport)
            own = [m[bucket] for m in members] if members[0] else []
            if len(list(groupby(own))) > MAX_HISTORY + 1:
                break
        else:
            others += 1
            if others + _levels(members) > MAX_HISTORY:
                break
        found = run[0]
    return found


def _levels(members: Sequence[Sequence[str]]) -> int:
    """How many earlier members some bucket has, at most MAX_HISTORY."""
    columns = [len(list(groupby(column))) for column in zip(*members, strict=True)]
    return min(MAX_HISTORY, max(columns, default=1) - 1)


def _shape(table: BucketTable) -> tuple[int, int]:
    return table.basis, len(table)


def _bucket(table: BucketTable, world: World, sport: int) -> int:
    hashed = symmetric_l4(world.key(sport), H1.mac, VIP_MAC, table.basis)
    return hashed % max(1, len(table))
