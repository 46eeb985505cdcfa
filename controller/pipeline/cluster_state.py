"""The desired state of the cluster: one value, in a file and over the socket."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from controller.balancers import Balancer, get_balancer
from controller.flows.entries import FlowEntry
from controller.pipeline.pipeline import pipeline
from controller.policies import POLICIES, ResetPolicy
from topologies.domain.arrangement import Arrangement
from topologies.domain.history import needed, next_times, ranks
from topologies.domain.membership import Membership
from topologies.domain.plan import Plan

T = TypeVar("T")


@dataclass(frozen=True)
class ClusterState:
    """Plan, membership, reset policy, balancer, healing: all inputs of the pipeline.

    ``history``: the earlier arrangements that some switch's earlier tables need, latest
    first (:func:`~topologies.domain.history.needed`). ``ended``: when each of them ended
    (:func:`~topologies.domain.history.next_times`). ``number``: how many changes led to
    this state. Who reads it now and then knows by it how many it has missed.
    """

    plan: Plan
    membership: Membership
    policy: ResetPolicy
    balancer: Balancer
    history: tuple[Arrangement, ...] = ()
    healing: bool = False
    number: int = 0
    ended: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """A history without times gets some, in its order."""
        if len(self.ended) != len(self.history):
            object.__setattr__(self, "ended", ranks(len(self.history)))

    @property
    def arrangement(self) -> Arrangement:
        """Plan and membership, which determine this state's bucket tables."""
        return Arrangement(self.plan, self.membership)

    def becoming(self, new: Arrangement) -> ClusterState:
        """The next state, with that arrangement and this one in its history."""
        versions = (new, self.arrangement, *self.history)
        times = next_times(self.ended)
        earlier = needed(versions, self.balancer)[1:]
        return replace(
            self,
            plan=new.plan,
            membership=new.membership,
            history=tuple(versions[position] for position in earlier),
            ended=tuple(times[position - 1] for position in earlier),
            number=self.number + 1,
        )

    def after(self, new: Arrangement) -> ClusterState:
        """The state after one instant of events: this one, if they have left the
        arrangement as it was (changes of links)."""
        return self if new == self.arrangement else self.becoming(new)

    def tables(self) -> dict[str, tuple[FlowEntry, ...]]:
        """The desired flow entries of every switch, by the switch's name."""
        return pipeline(
            *(self.plan, self.membership, self.policy, self.balancer),
            history=self.history,
            ended=self.ended,
            healing=self.healing,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: ``{"plan", "membership", "policy", "balancer", "weights",
        "buckets", "history", "ended", "healing", "number"}``, the policy and the balancer by name."""
        return {
            "plan": self.plan.to_json(),
            "membership": self.membership.to_json(),
            "policy": self.policy.name,
            "balancer": self.balancer.name,
            "weights": dict(self.balancer.weights),
            "buckets": self.balancer.buckets,
            "history": [version.to_json() for version in self.history],
            "ended": list(self.ended),
            "healing": self.healing,
            "number": self.number,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClusterState:
        """The state that :meth:`to_json` described.

        Raises :class:`LookupError` or :class:`ValueError` for invalid data.
        """
        return cls(
            Plan.from_json(data["plan"]),
            Membership.from_json(data["membership"]),
            _choose("policy", POLICIES, data["policy"]),
            get_balancer(
                data["balancer"], data.get("weights", {}), data.get("buckets")
            ),
            tuple(map(Arrangement.from_json, data.get("history", ()))),
            bool(data.get("healing", False)),
            int(data.get("number", 0)),
            tuple(data.get("ended", ())),
        )

    def write(self, path: Path) -> None:
        """Replace the file at ``path`` atomically: a reader sees the old or the new."""
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        scratch.write_text(json.dumps(self.to_json()) + "\n")
        scratch.replace(path)

    @classmethod
    def read(cls, path: Path) -> ClusterState:
        """The state that :meth:`write` left at ``path``."""
        return cls.from_json(json.loads(path.read_text()))


def _choose(what: str, registry: Mapping[str, T], name: str) -> T:
    """The registry's entry of that name, or an error that lists all names."""
    if name not in registry:
        raise LookupError(f"no {what} {name!r}; there are {', '.join(registry)}")
    return registry[name]
