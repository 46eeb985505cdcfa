"""A program that runs a small cluster until it is killed; for tests."""

from __future__ import annotations

import signal

from topologies.domain.plan import Plan
from topologies.network import ClusterNetwork

if __name__ == "__main__":
    network = ClusterNetwork(Plan.build(chassis=1, nodes=1, clients=1))
    network.start()
    network.popen("c1n1", ["sleep", "1000"])
    print("standing", flush=True)
    signal.pause()
