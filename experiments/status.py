"""What a running cluster looks like at this moment: members, connections, counters."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import Any

from controller.membership import NodeState
from experiments.cluster import Cluster
from topologies import plan as addresses
from topologies.plan import Chassis, Node


def status(cluster: Cluster) -> dict[str, Any]:
    """One JSON object, as the command ``status --json`` prints it.

    ``established``: TCP connections in state ESTABLISHED that the node's kernel holds
    on the VIP. ``counters`` are packets since the cluster came up.
    """
    with cluster.lock:
        state = cluster.state
        switches = cluster.switch_status()
        return {
            **cluster.describe(),
            "vip": {"ipv4": addresses.VIP4, "ipv6": addresses.VIP6},
            "fabric": switches.get(addresses.FABRIC, {}),
            "chassis": {
                chassis.name: {
                    "in_service": chassis in state.membership.serving_chassis(state.plan),
                    "alive": chassis.name not in state.membership.failed_chassis,
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
            "counters": counters(cluster),
            "events": len(cluster.records),
        }


def counters(cluster: Cluster) -> dict[str, int]:
    """Packets of the claim, from the guards' and the switches' own counters.

    ``tier1_copies`` are those that arrived at chassis switches (E4), ``tier2_copies``
    those that arrived at nodes (E5).
    """
    guards = cluster.guard_counters()
    return {
        "stray": sum(one.strays for one in guards.values()),
        "node_resets": sum(one.resets for one in guards.values()),
        "tier1_copies": sum(
            _fan_out_packets(cluster, chassis) for chassis in cluster.state.plan.chassis
        ),
        "tier2_copies": sum(one.copies_received for one in guards.values()),
        "copies_accepted": sum(one.copies_accepted for one in guards.values()),
        "copies_rejected": sum(one.copies_rejected for one in guards.values()),
    }


def established(pid: int) -> int:
    """Connections in state ESTABLISHED on the VIP in that process' namespace."""
    return sum(1 for _ in connections(pid, states=frozenset({"01"})))


def connections(pid: int, states: frozenset[str]) -> list[tuple[str, str]]:
    """(local, remote) as the kernel's tables write them, of sockets in those states."""
    found = []
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}") as lines:
            next(lines)
            for line in lines:
                fields = line.split(None, 4)
                if fields[3] in states:
                    found.append((fields[1], fields[2]))
    return found


def _node_status(cluster: Cluster, chassis: Chassis, node: Node) -> Mapping[str, Any]:
    membership = cluster.state.membership
    return {
        "chassis": chassis.name,
        "in_service": node in membership.serving_nodes(chassis),
        "alive": node in membership.reachable_nodes(chassis),
        "state": membership.state(node).value,
        "established": established(cluster.network.pid(node.name)),
        "ipv4": node.ipv4,
        "ipv6": node.ipv6,
    }


def _fan_out_packets(cluster: Cluster, chassis: Chassis) -> int:
    """Fan-out copies that this chassis' switch took in, by its own flow counters."""
    if chassis.name in cluster.state.membership.failed_chassis:
        return 0
    done = subprocess.run(
        cluster.network.ofctl(chassis.name, "dump-flows"),
        capture_output=True,
        text=True,
        check=False,
    )
    return sum(
        int(match[1])
        for line in done.stdout.splitlines()
        if addresses.FANOUT_MAC in line.partition("actions=")[0]
        and (match := re.search(r"n_packets=(\d+)", line))
    )
