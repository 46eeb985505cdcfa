"""A program that keeps a small cluster running until it is ended; for tests to kill."""

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
