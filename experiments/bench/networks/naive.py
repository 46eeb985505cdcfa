"""The naive reference for resets, on our own hosts and links.

The switches send every "not recognised" reset, and every copy of one, to the controller
(:mod:`experiments.bench.networks.naive_controller`). It sends all further copies as
packet-outs. The guard of each node is a scapy process. All else is as in our network.
"""

from __future__ import annotations

from pathlib import Path

from experiments.bench.networks.naive_policy import NAIVE, register
from experiments.bench.networks.ours import OurNetwork
from topologies.domain.plan import Plan


def open_naive(plan: Plan, folder: Path, datapath: str) -> OurNetwork:
    """A cluster with that policy, controller and guard."""
    register()
    options = {
        "policy": NAIVE.name,
        "guard": "scapy",
        "controller": "experiments.bench.networks.naive_controller",
    }
    return OurNetwork(plan, folder, datapath, options)
