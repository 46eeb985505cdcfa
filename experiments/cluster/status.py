"""The status of a running cluster: members, connections, counters."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from experiments.cluster.live_cluster import Cluster
from experiments.instruments.socket_table import sockets_of
from topologies.domain import plan as addresses
from topologies.domain.connection import FourTuple
from topologies.domain.plan import Chassis, Node

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
    ``counters`` are packets since the cluster started. ``faults`` are errors in the
    cluster's own threads.
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
                {"name": client.name, "ipv4": client.ipv4, "ipv6": client.ipv6}
                for client in state.plan.clients
            ],
            "events": len(cluster.records),
            "faults": cluster.faults,
        }
    # Without the lock: a switch may not answer before its daemons have been started again,
    # and who does that needs the lock.
    return {**found, "counters": counters(cluster)}


def counters(cluster: Cluster) -> dict[str, int]:
    """Packets that the claim counts, from the counters of guards and switches.

    ``tier1_copies`` arrived at chassis switches (E4), ``tier2_copies`` at nodes (E5).
    ``proactive_resets`` are connections that nodes reset at an event, without a packet.
    The others are those of :class:`~nodes.guard.guard.GuardCounters`.
    """
    with cluster.lock:
        guards, state = cluster.guard_counters(), cluster.state
    return {
        "stray": sum(guard.strays for guard in guards),
        "node_resets": sum(guard.resets for guard in guards),
        "tier1_copies": sum(
            _fan_out_packets(cluster, chassis)
            for chassis in state.plan.chassis
            if chassis.name not in state.membership.failed_chassis
        ),
        "tier2_copies": sum(guard.copies_received for guard in guards),
        "copies_accepted": sum(guard.copies_accepted for guard in guards),
        "copies_rejected": sum(guard.copies_rejected for guard in guards),
        "passed_on": sum(guard.passed_on for guard in guards),
        **{name: sum(getattr(g, name) for g in guards) for name in _OF_HEALING},
        "proactive_resets": cluster.proactive_resets,
    }


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
        "ipv4": node.ipv4,
        "ipv6": node.ipv6,
    }


def _fan_out_packets(cluster: Cluster, chassis: Chassis) -> int:
    """Fan-out copies that arrived at this chassis switch, from its flow counters.

    The counters are lost with the switch: 0 if it is being restarted.
    """
    try:
        table = cluster.dump_flows(chassis.name)
    except subprocess.CalledProcessError:
        return 0
    return sum(
        int(match[1])
        for line in table.splitlines()
        if addresses.FANOUT_MAC in line.partition("actions=")[0]
        and (match := re.search(r"n_packets=(\d+)", line))
    )
