"""What the bucket tables were before: plan and membership of earlier states, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.balancers import Balancer
from controller.membership import Membership
from controller.predict import forecast
from topologies.plan import FABRIC, Plan

#: How many earlier states are remembered: whatever happened to a cluster between two
#: segments of a connection, it was hardly more than that. Older ones are forgotten.
HISTORY = 4

#: A bucket table: the name at index ``i`` is the member of bucket ``i``.
BucketTable = tuple[str, ...]


@dataclass(frozen=True)
class Version:
    """A state of the cluster that had bucket tables of its own."""

    plan: Plan
    membership: Membership

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of this version."""
        return {
            "plan": self.plan.to_json(),
            "membership": self.membership.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Version:
        """The version that :meth:`to_json` described."""
        return cls(
            Plan.from_json(data["plan"]), Membership.from_json(data["membership"])
        )

    def table(self, switch: str, balancer: Balancer) -> BucketTable:
        """That switch's bucket table; empty where it had none, or was not there."""
        tables = forecast(self.plan, self.membership, balancer)
        return tables.fabric if switch == FABRIC else tables.chassis.get(switch, ())
