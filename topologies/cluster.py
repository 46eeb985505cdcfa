#!/usr/bin/python3
r"""The cluster as a Mininet topology.

::

    h1  h2   clients
      \  /
     fabric  balances connections over chassis
      /  \
    c1    c2   balance them over their nodes
    /|\  /|\
    c1n1 ...   storage nodes

``sudo ./topologies/cluster.py --chassis 2 --nodes 3 --clients 2`` builds a live cluster
and starts Mininet's command line. ``mn --custom topologies/cluster.py --topo
cluster,2,3,2`` builds the same links with Mininet's own hosts and switches. For that, this
file imports only the standard library and Mininet.
"""

from __future__ import annotations

import argparse
import os
import sys
from inspect import currentframe
from pathlib import Path
from types import FrameType
from typing import Any, cast

from mininet.topo import Topo

# ``mn --custom`` exec()s this file without __file__, but the code has its path.
ROOT = Path(cast(FrameType, currentframe()).f_code.co_filename).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from topologies.domain.plan import (
    FABRIC,
    LOOP_IN_INTERFACE,
    LOOP_IN_PORT,
    LOOP_OUT_INTERFACE,
    LOOP_OUT_PORT,
    PREFIX4,
    UPLINK_PORT,
    Chassis,
    Client,
    Node,
    Plan,
)


class ClusterTopo(Topo):
    """A fabric switch with clients, chassis switches below it, storage nodes below those.

    Built from the numbers of chassis, nodes per chassis and clients, or from a ``plan``.
    Raises :class:`topologies.domain.plan.PlanError` for a size out of range.
    """

    def build(
        self,
        chassis: int = 2,
        nodes: int = 3,
        clients: int = 2,
        plan: Plan | None = None,
    ) -> None:
        """Build the topology. Mininet calls this with the constructor's arguments."""
        self.plan = plan or Plan.build(chassis, nodes, clients)
        self.addSwitch(FABRIC, dpid=f"{self.plan.switches[FABRIC]:x}")
        for client in self.plan.clients:
            add_client(self, client)
        for each in self.plan.chassis:
            add_chassis(self, each)


# Mininet and Topo have the same methods, so these functions work on both: on the topology
# before the start, and on the live network when a node or a chassis is added.


def add_client(network: Any, client: Client) -> None:
    """Add a client and its link to the fabric."""
    network.addHost(client.name, ip=f"{client.ipv4}/{PREFIX4}", mac=client.mac)
    network.addLink(
        client.name,
        FABRIC,
        port1=0,
        port2=client.fabric_port,
        intfName1=client.interface,
        intfName2=client.fabric_interface,
        addr1=client.mac,
    )


def add_chassis(network: Any, chassis: Chassis) -> None:
    """Add a chassis: its switch, the link to the fabric, its nodes."""
    network.addSwitch(chassis.name, dpid=f"{chassis.dpid:x}")
    network.addLink(
        chassis.name,
        FABRIC,
        port1=UPLINK_PORT,
        port2=chassis.fabric_port,
        intfName1=chassis.uplink_interface,
        intfName2=chassis.fabric_interface,
    )
    for node in chassis.nodes:
        add_node(network, node)


def add_loop(network: Any) -> None:
    """Add the loop cable at the fabric; only for switches with our pipeline.

    A learning switch would loop broadcasts, so Mininet's own switches get no cable.
    """
    network.addLink(
        FABRIC,
        FABRIC,
        port1=LOOP_OUT_PORT,
        port2=LOOP_IN_PORT,
        intfName1=LOOP_OUT_INTERFACE,
        intfName2=LOOP_IN_INTERFACE,
    )


def add_node(network: Any, node: Node) -> None:
    """Add a storage node and its link to its chassis."""
    network.addHost(node.name, ip=f"{node.ipv4}/{PREFIX4}", mac=node.mac)
    network.addLink(
        node.name,
        f"c{node.chassis}",
        port1=0,
        port2=node.port,
        intfName1=node.interface,
        intfName2=node.switch_interface,
        addr1=node.mac,
    )


topos = {"cluster": ClusterTopo}


def main(arguments: list[str]) -> None:
    """Execute ``resetbed console`` with these sizes and the other options."""
    parser = argparse.ArgumentParser(
        description="Starts a live cluster with Mininet's command line.",
        epilog="Other options are those of `resetbed console`.",
    )
    sizes = {"chassis": 2, "nodes": 3, "clients": 2}
    for size, default in sizes.items():
        parser.add_argument(f"--{size}", type=int, default=default, metavar="N")
    parsed, others = parser.parse_known_args(arguments)
    options = [f"--{size}={getattr(parsed, size)}" for size in sizes]
    launcher = str(ROOT / "resetbed")
    os.execv(launcher, [launcher, "console", *options, *others])


if __name__ == "__main__":
    main(sys.argv[1:])
