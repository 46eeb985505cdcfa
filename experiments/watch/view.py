"""The model of one view: what a page, a terminal and ``--json`` show; pure.

A view is plain JSON; ``docs/looking.md`` says what each key means. What is not known is
None, never 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from experiments.watch.connection_tally import ConnectionTally
from experiments.watch.possible_events import possible_events
from experiments.watch.rates import Rates
from experiments.watch.seen_resets import SeenReset
from topologies.domain.plan import FABRIC, Chassis, Client

ABSENT, STARTING, UP, RUN = "absent", "starting", "up", "run"
#: So many events and lines of the log a view has.
MAX_EVENTS, MAX_LOG = 20, 100

#: Totals with a rate, of each node: key of the view -> key of a guard's counters.
NODE_TOTALS = {"strays": "strays", "resets": "resets", "copies": "copies"}


@dataclass
class Seen:
    """Everything that one view is made of.

    ``reading``: the cluster's own (:class:`experiments.cluster.live_view.LiveView`).
    ``hosts``: those whose sockets are known. ``resets``: client -> connections that were
    reset. ``pins``: its switches remember connections, so tables do not tell owners.
    """

    state: ClusterState
    reading: Mapping[str, Any]
    tally: ConnectionTally
    rates: Rates
    hosts: Collection[str]
    resets: Mapping[str, int]
    latest_reset: SeenReset | None = None
    events: Sequence[Mapping[str, Any]] = ()
    log: Sequence[Mapping[str, Any]] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        """Whether it is a run, which nobody may change."""
        return self.reading["message"] is not None


def without_cluster(phase: str, message: str) -> dict[str, Any]:
    """The view while there is none."""
    return {"phase": phase, "message": message}


def view_of(seen: Seen) -> dict[str, Any]:
    """The view, without its serial and its time."""
    nodes = [
        node for chassis in seen.state.plan.chassis for node in _nodes(seen, chassis)
    ]
    chassis = [_chassis(seen, one) for one in seen.state.plan.chassis]
    possible = () if seen.is_run else possible_events(seen.state.arrangement)
    return {
        "phase": RUN if seen.is_run else UP,
        "message": seen.reading["message"] or f"{seen.reading['name']} runs",
        "cluster": _cluster(seen),
        "read_only": seen.is_run,
        "fabric": _switch(seen, FABRIC),
        "chassis": chassis,
        "nodes": nodes,
        "clients": [_client(seen, one) for one in seen.state.plan.clients],
        "totals": _totals(seen, chassis, nodes),
        "events": list(seen.events)[-MAX_EVENTS:],
        "log": list(seen.log)[-MAX_LOG:],
        "possible": list(possible),
        "latest_reset": _reset(seen.latest_reset),
        "cost": dict(seen.cost),
    }


def add_totals(seen: Seen, now_s: float) -> None:
    """Gives every total to the rates, with the time at which it was read."""
    rates, reading = seen.rates, seen.reading
    guards, guards_s = reading["guards"], reading["guards_s"]
    for node in seen.state.plan.nodes:
        counters = guards.get(node.name, {})
        for key in NODE_TOTALS.values():
            rates.add((node.name, key), guards_s, counters.get(key, 0))
    for key in NODE_TOTALS.values():
        total = sum(one[key] for one in guards.values())
        rates.add(("all", key), guards_s, total)
    for chassis, copies in reading["tier1"].items():
        rates.add((chassis, "tier1"), reading["tier1_s"], copies)
    rates.add(("all", "tier1"), reading["tier1_s"], _tier1(reading["tier1"]))
    for client in seen.state.plan.clients:
        rates.add((client.name, "resets"), now_s, seen.resets.get(client.name, 0))


def _cluster(seen: Seen) -> dict[str, Any]:
    reading, state = seen.reading, seen.state
    return {
        "name": reading["name"],
        "policy": state.policy.name,
        "balancer": state.balancer.name,
        "workload": reading["workload"],
        "guard": reading["guard"],
        "datapath": reading["datapath"],
        "healing": state.healing,
    }


def _switch(seen: Seen, name: str) -> dict[str, Any]:
    known = seen.reading["switches"].get(name, {})
    return {"connected": known.get("connected"), "in_sync": known.get("in_sync")}


def _chassis(seen: Seen, chassis: Chassis) -> dict[str, Any]:
    name, membership = chassis.name, seen.state.membership
    return {
        "name": name,
        "in_service": bool(membership.serving_nodes(chassis)),
        "alive": name not in membership.failed_chassis,
        "uplink": name not in membership.cut_off_chassis,
        "in_sync": _switch(seen, name)["in_sync"],
        "copies": seen.reading["tier1"].get(name),
        "copies_per_s": seen.rates.per_s((name, "tier1")),
    }


def _nodes(seen: Seen, chassis: Chassis) -> Iterator[dict[str, Any]]:
    membership = seen.state.membership
    powered = membership.powered_nodes(chassis)
    serving = membership.serving_nodes(chassis)
    for node in chassis.nodes:
        yield {
            "name": node.name,
            "chassis": chassis.name,
            "state": membership.state(node).value,
            "in_service": node in serving,
            **_counts(seen, node.name, alive=node in powered),
        }


def _counts(seen: Seen, name: str, alive: bool) -> dict[str, Any]:
    """What a node holds, and what its guard has counted."""
    tally = seen.tally
    known = name in seen.hosts or not alive
    counters = seen.reading["guards"].get(name, {})
    moved = known and not seen.state.policy.pins
    return {
        "alive": alive,
        "established": tally.established[name] if known else None,
        "moved": tally.moved[name] if moved else None,
        "half_open": tally.half_open[name] if known else None,
        **{key: counters.get(theirs, 0) for key, theirs in NODE_TOTALS.items()},
        "strays_per_s": seen.rates.per_s((name, "strays")),
        "copies_per_s": seen.rates.per_s((name, "copies")),
    }


def _client(seen: Seen, client: Client) -> dict[str, Any]:
    name = client.name
    return {
        "name": name,
        "established": seen.tally.established[name] if name in seen.hosts else None,
        "resets": seen.resets.get(name, 0),
        "resets_per_s": seen.rates.per_s((name, "resets")),
    }


def _totals(
    seen: Seen, chassis: Sequence[dict[str, Any]], nodes: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Sums; unknown if a part of one is."""

    def total(key: str) -> int | None:
        found = [node[key] for node in nodes]
        return None if None in found else sum(found)

    rates = seen.rates
    held = ("established", "moved", "half_open", "strays", "resets")
    return {
        **{key: total(key) for key in held},
        "tier1_copies": _tier1(
            {one["name"]: one["copies"] for one in chassis if one["alive"]}
        ),
        "tier2_copies": total("copies"),
        "strays_per_s": rates.per_s(("all", "strays")),
        "resets_per_s": rates.per_s(("all", "resets")),
        "tier1_copies_per_s": rates.per_s(("all", "tier1")),
        "tier2_copies_per_s": rates.per_s(("all", "copies")),
    }


def _tier1(chassis: Mapping[str, int | None]) -> int | None:
    counts = [count for count in chassis.values() if count is not None]
    return sum(counts) if chassis and len(counts) == len(chassis) else None


def _reset(reset: SeenReset | None) -> dict[str, Any] | None:
    """Milliseconds count from ``t``, the first instant that was seen of it."""
    if reset is None:
        return None
    start = reset.start_ns
    freed = reset.freed_ns
    return {
        "serial": reset.serial,
        "t": start / 1e9,
        "client": f"{reset.client}:{reset.connection.sport}",
        "owner": reset.owner,
        "new_node": reset.new_node,
        "client_reset_ms": round((reset.client_ns - start) / 1e6, 3),
        "owner_freed_ms": None if freed is None else round((freed - start) / 1e6, 3),
    }
