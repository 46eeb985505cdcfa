"""The status of a running cluster: members, connections, counters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from experiments.cluster.errors import ClusterError
from experiments.cluster.flow_count import count_packets
from experiments.cluster.flow_dump import DUMP_TIMEOUT_S, PAUSE_S
from experiments.cluster.live_cluster import Cluster
from experiments.instruments.socket_table import sockets_of
from topologies.domain import plan as addresses
from topologies.domain.connection import FourTuple
from topologies.domain.plan import Chassis, Client, Node

#: So long the status waits for a switch that does not answer, in seconds.
STATUS_TIMEOUT_S = 2.0
#: Counters of guards that are given as they are.
_OF_HEALING = (
    "resets_repeated",
    "resets_limited",
    "relays_sent",
    "relays_limited",
    "relays_accepted",
    "probes",
    "unreadable",
)


def status(cluster: Cluster) -> dict[str, Any]:
    """One JSON object, as the command ``status --json`` prints it.

    ``established``: TCP connections in state ESTABLISHED that the node's kernel holds
    on the VIP. ``uplink``: whether the chassis' cable to the fabric has a carrier.
    ``counters`` are packets since the cluster started; ``tier1_copies`` is None while a
    switch does not answer. ``faults`` are errors in the cluster's own threads.
    """
    with cluster.lock:
        state = cluster.state
        switches = {
            name: asdict(switch) for name, switch in cluster.switch_status().items()
        }
        found = {
            **cluster.describe(),
            "vip": {"ipv4": addresses.VIP4, "ipv6": addresses.VIP6},
            "fabric": switches[addresses.FABRIC],
            "chassis": {
                chassis.name: {
                    "in_service": chassis
                    in state.membership.serving_chassis(state.plan),
                    "alive": chassis.name not in state.membership.failed_chassis,
                    "uplink": chassis.name not in state.membership.cut_off_chassis,
                    "nodes": [node.name for node in chassis.nodes],
                    **switches.get(chassis.name, {}),
                }
                for chassis in state.plan.chassis
            },
            "nodes": {
                node.name: _node_status(cluster, chassis, node)
                for chassis in state.plan.chassis
                for node in chassis.nodes
            },
            "clients": [
                {"name": client.name, **_host_status(cluster, client)}
                for client in state.plan.clients
            ],
            "events": len(cluster.records),
            "faults": cluster.faults,
        }
    # Without the lock: a switch may not answer before its daemons have been started again,
    # and who does that needs the lock.
    try:
        tier1_copies = count_tier1_copies(cluster, STATUS_TIMEOUT_S)
    except ClusterError:
        tier1_copies = None
    return {
        **found,
        "counters": {**guard_counters(cluster), "tier1_copies": tier1_copies},
    }


def counters(cluster: Cluster) -> dict[str, int]:
    """Packets that the claim counts, from the counters of guards and switches.

    Raises :class:`ClusterError` if a switch does not answer.
    """
    return {**guard_counters(cluster), "tier1_copies": count_tier1_copies(cluster)}


def guard_counters(cluster: Cluster) -> dict[str, int]:
    """The sums of the guards' counters.

    ``tier2_copies`` arrived at nodes (E5). ``proactive_resets`` are connections that nodes
    reset at an event, without a packet. The others are those of
    :class:`~nodes.guard.guard.GuardCounters`.
    """
    with cluster.lock:
        guards = cluster.guard_counters()
    return {
        "stray": sum(guard.strays for guard in guards),
        "node_resets": sum(guard.resets for guard in guards),
        "tier2_copies": sum(guard.copies_received for guard in guards),
        "copies_accepted": sum(guard.copies_accepted for guard in guards),
        "copies_rejected": sum(guard.copies_rejected for guard in guards),
        "passed_on": sum(guard.passed_on for guard in guards),
        **{name: sum(getattr(g, name) for g in guards) for name in _OF_HEALING},
        "proactive_resets": cluster.proactive_resets,
    }


def count_tier1_copies(cluster: Cluster, timeout_s: float = DUMP_TIMEOUT_S) -> int:
    """Copies that arrived at the chassis switches (E4), by their flows' counters.

    Raises :class:`ClusterError` if one of them does not answer within ``timeout_s``.
    """
    with cluster.lock:
        state = cluster.state
    return sum(
        _fan_out_packets(chassis, timeout_s)
        for chassis in state.plan.chassis
        if chassis.name not in state.membership.failed_chassis
    )


def established(cluster: Cluster, host: str) -> set[FourTuple]:
    """Connections to the VIP in state ESTABLISHED in that host's kernel."""
    pid = cluster.pid(host)
    return {held.connection for held in sockets_of(pid, ("ESTABLISHED",))}


def half_open(cluster: Cluster) -> dict[str, int]:
    """Node name -> number of its established connections that no client has a socket of."""
    plan = cluster.state.plan
    of_clients = {
        connection
        for client in plan.clients
        for connection in established(cluster, client.name)
    }
    return {
        node.name: len(established(cluster, node.name) - of_clients)
        for node in plan.nodes
    }


def _node_status(cluster: Cluster, chassis: Chassis, node: Node) -> Mapping[str, Any]:
    membership = cluster.state.membership
    return {
        "chassis": chassis.name,
        "in_service": node in membership.serving_nodes(chassis),
        "alive": node in membership.powered_nodes(chassis),
        "state": membership.state(node).value,
        "established": len(established(cluster, node.name)),
        **_host_status(cluster, node),
    }


def _host_status(cluster: Cluster, host: Node | Client) -> Mapping[str, Any]:
    """Its own addresses, and the shaping of what it sends."""
    link = cluster.network.host(host.name).link
    return {"ipv4": host.ipv4, "ipv6": host.ipv6, "link": link.to_json()}


def _fan_out_packets(chassis: Chassis, timeout_s: float) -> int:
    """Fan-out copies that arrived at this chassis switch, from its flow counters.

    Asks again while the switch cannot be reached. The counters are lost with the switch:
    they begin at 0 when it is started again.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = max(PAUSE_S, deadline - time.monotonic())
        try:
            return count_packets(chassis.name, addresses.FANOUT_MAC, left_s)
        except ClusterError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)
