"""The network of this testbed: two tiers of load balancers, guards, echo servers."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from experiments.bench.basis.load import available_mib
from experiments.cluster.live_cluster import Cluster, ClusterOptions
from topologies import sandbox
from topologies.domain.connection import FourTuple
from topologies.domain.forecast import owner
from topologies.domain.plan import VIP4, Plan, client_address
from topologies.runs import RUN_VARIABLE


class OurNetwork:
    """A cluster as ``./resetbed up`` brings it up."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        datapath: str,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Bring it up. ``options``: cluster options that differ from the defaults."""
        runtime = sandbox.run_directory(os.environ[RUN_VARIABLE])
        chosen: dict[str, Any] = {
            "name": runtime.name,
            "policy": "flood",
            "balancer": "modulo",
            "guard": "ebpf",
            "workload": "echo",
            "datapath": datapath,
            **(options or {}),
        }
        #: Available memory before the bring-up.
        self.available_before_mib = available_mib()
        steps = _Steps()
        self.cluster = Cluster(plan, ClusterOptions(**chosen), folder, runtime)
        try:
            self.cluster.start(steps.begin)
        except BaseException:
            self.cluster.stop()
            raise
        self.steps = steps.end()
        self.clients: Sequence[str] = [client.name for client in plan.clients]

    @property
    def state(self) -> ClusterState:
        """The current plan and membership."""
        return self.cluster.state

    @property
    def servers(self) -> Sequence[str]:
        """Nodes that are powered on."""
        return [node.name for node in self.cluster.live_nodes()]

    def pid(self, host: str) -> int:
        """A process in that host's network namespace."""
        return self.cluster.pid(host)

    def targets(self) -> Sequence[str]:
        """The virtual address only."""
        return [VIP4]

    def connection(self, client: str, port: int, source_port: int) -> FourTuple:
        """The four-tuple of that client's connection."""
        plan = self.state.plan
        (element,) = (each for each in plan.clients if each.name == client)
        return FourTuple(client_address(element, 4), source_port, VIP4, port)

    def server_of(self, client: str, port: int, target: str, source_port: int) -> str:
        """The node to which the two tiers send that connection."""
        connection = self.connection(client, port, source_port)
        name = self.owner(self.state, connection)
        assert name is not None, "some node is in service"
        return name

    def owner(self, state: ClusterState, connection: FourTuple) -> str | None:
        """The owner of a connection in that state of the cluster."""
        return owner(state.plan, state.membership, state.balancer, connection)

    def dropped(self) -> int:
        """Frames lost at ports of switches so far."""
        return self.cluster.dropped_frames()

    def close(self) -> None:
        """Stop it."""
        self.cluster.stop()


def open_ours(plan: Plan, folder: Path, datapath: str) -> OurNetwork:
    """A cluster with the default options."""
    return OurNetwork(plan, folder, datapath)


class _Steps:
    """Durations between lines of progress."""

    def __init__(self) -> None:
        self._marks: list[tuple[str, float]] = []
        self.begin("preparing")

    def begin(self, name: str) -> None:
        """Start a step, and end the one before."""
        self._marks.append((name, time.monotonic()))

    def end(self) -> dict[str, float]:
        """Duration of each step, in seconds."""
        self.begin("")
        return {
            name: following - begun
            for (name, begun), (_, following) in pairwise(self._marks)
        }
