"""An arrangement of a cluster: its members at one time, and which of them serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from topologies.domain.balancer import Balancer, Departed
from topologies.domain.buckets import BucketTable
from topologies.domain.forecast import basis_of
from topologies.domain.membership import Membership
from topologies.domain.plan import FABRIC, Plan


@dataclass(frozen=True)
class Arrangement:
    """Plan and membership together, which determine bucket tables and events."""

    plan: Plan
    membership: Membership

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of this arrangement."""
        return {
            "plan": self.plan.to_json(),
            "membership": self.membership.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Arrangement:
        """The arrangement that :meth:`to_json` described."""
        return cls(
            Plan.from_json(data["plan"]), Membership.from_json(data["membership"])
        )

    def table(self, switch: str, balancer: Balancer) -> BucketTable:
        """That switch's bucket table; empty if it had none or did not exist.

        A chassis that is cut off still has its table: its switch keeps it.
        """
        basis = basis_of(self.membership, switch)
        if switch == FABRIC:
            names = self.membership.serving_names(self.plan)
            members = tuple((name, tuple(nodes)) for name, nodes in names.items())
            departed = self.membership.departed(FABRIC)
            return BucketTable(basis, _chassis_table(balancer, members, departed))
        for chassis in self.plan.chassis:
            if chassis.name == switch:
                own = self.membership.of_chassis(chassis)
                nodes = tuple(node.name for node in own.serving_nodes(chassis))
                departed = own.departed(switch)
                return BucketTable(basis, _node_table(balancer, nodes, departed))
        return BucketTable(basis)


# Cached: most events change few switches' tables.


@lru_cache(maxsize=64)
def _chassis_table(
    balancer: Balancer,
    members: tuple[tuple[str, tuple[str, ...]], ...],
    departed: Departed,
) -> tuple[str, ...]:
    return balancer.chassis_table(dict(members), departed)


@lru_cache(maxsize=1024)
def _node_table(
    balancer: Balancer, nodes: tuple[str, ...], departed: Departed
) -> tuple[str, ...]:
    return balancer.node_table(nodes, departed)
