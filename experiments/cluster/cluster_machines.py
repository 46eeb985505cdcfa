"""What happens to the machines of a cluster: power, cables, guards, storage servers."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from experiments.cluster.errors import ClusterError, log_tail
from experiments.cluster.rollback import Rollback
from experiments.cluster.supervised_processes import Program, SupervisedProcesses
from experiments.record.capture_points import (
    CapturePoint,
    chassis_points,
    node_point,
)
from experiments.workloads.workload import Workload
from nodes.guard.guard import Guard
from nodes.guard.guards import GuardCounters
from nodes.guard.verdict import Mode
from nodes.servers.forked import ForkServer
from nodes.servers.server_ready import is_listening
from topologies.domain.plan import Chassis, Node, Plan
from topologies.domain.site import Site
from topologies.network import ClusterNetwork
from topologies.switches import IsolatedSwitch

READY_DEADLINE_S = 60.0


class ClusterMachines:
    """The :class:`~topologies.domain.events.MachineActions` of one cluster.

    Whoever calls them holds the cluster's lock. ``folder`` gets the servers' logs;
    ``store`` is what the storage servers share.
    """

    def __init__(
        self,
        network: ClusterNetwork,
        workload: Workload,
        guard: Guard,
        mode: Mode,
        folder: Path,
        store: Path,
    ) -> None:
        """Nothing is touched yet. ``mode``: what the guards do with strays."""
        self.network = network
        self.workload = workload
        self.guard = guard
        #: Programs that are to run: the storage servers, and what the cluster adds.
        self.processes = SupervisedProcesses()
        #: Told of each node and chassis that is wired in live, before it serves.
        self.port_listeners: list[Callable[[Sequence[CapturePoint]], None]] = []
        self._mode = mode
        self._folder = folder
        self._store = store
        self._final_counters: list[GuardCounters] = []
        self._forks: ForkServer | None = None
        self._rollback = Rollback()

    def transaction(self) -> AbstractContextManager[None]:
        """All that is done in it, or nothing; see :meth:`Rollback.transaction`."""
        return self._rollback.transaction()

    # ------------------------------------------------------------ what events do

    def power_off_node(self, node: Node) -> None:
        """Link down, programs killed, TCP state gone: a power failure."""
        self._rollback.step(
            f"giving {node.name} its power back",
            lambda: self._bring_up((node,), lambda: self.network.power_on(node)),
            "it has come back empty",
        )
        self._release((node,))
        self.network.power_off(node)

    def power_on_node(self, node: Node) -> None:
        """The node comes back empty and serves."""
        self._rollback.step(
            f"taking the power of {node.name} again",
            lambda: self._take_down((node,), lambda: self.network.power_off(node)),
        )
        self.network.power_on(node)
        self.serve((node,))
        self.await_listening((node,))

    def power_off_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """The chassis' own port first, then those nodes, all that had power, and the
        switch."""
        self._rollback.step(
            f"giving {chassis.name} its power back",
            lambda: self._bring_up(
                nodes, lambda: self.network.power_on_chassis(chassis)
            ),
            "its nodes have come back empty",
        )
        self._release(nodes)
        self.network.power_off_chassis(chassis)

    def power_on_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """The switch comes back, then those nodes, empty."""
        self._rollback.step(
            f"taking the power of {chassis.name} again",
            lambda: self._take_down(
                nodes, lambda: self.network.power_off_chassis(chassis)
            ),
        )
        self.network.power_on_chassis(chassis)
        self.serve(nodes)
        self.await_listening(nodes)

    def set_uplink_down(self, chassis: Chassis) -> None:
        """The cable to the fabric is dead; programs and sockets behind it live on."""
        self._rollback.step(
            f"mending the uplink of {chassis.name}",
            lambda: self.network.set_uplink_up(chassis),
        )
        self.network.set_uplink_down(chassis)

    def set_uplink_up(self, chassis: Chassis) -> None:
        """The cable to the fabric works again."""
        self._rollback.step(
            f"cutting the uplink of {chassis.name} again",
            lambda: self.network.set_uplink_down(chassis),
        )
        self.network.set_uplink_up(chassis)

    def build_node(self, plan: Plan, node: Node) -> None:
        """A new node is wired to its chassis and serves."""
        self._rollback.step(
            f"taking {node.name} out again",
            lambda: self._take_down((node,), lambda: self.network.remove_node(node)),
        )
        self.network.add_node(node)
        self._notify_listeners((node_point(node),))
        self.serve((node,))
        self.await_listening((node,))

    def build_chassis(self, plan: Plan, chassis: Chassis) -> None:
        """A new chassis is wired to the fabric with all its nodes, which serve."""
        self._rollback.step(
            f"taking {chassis.name} out again",
            lambda: self._take_down(
                chassis.nodes, lambda: self.network.remove_chassis(chassis)
            ),
        )
        self.network.add_chassis(chassis)
        self._notify_listeners(chassis_points(chassis))
        self.serve(chassis.nodes)
        self.await_listening(chassis.nodes)

    # ----------------------------------------------------------- what a cluster does

    def serve(self, nodes: tuple[Node, ...]) -> None:
        """Guards and storage servers for those nodes."""
        self.guard.attach([self.site(node) for node in nodes], self._mode)
        for node in nodes:
            self.processes.start(
                _server(node), functools.partial(self._start_server, node)
            )

    def await_listening(self, nodes: tuple[Node, ...]) -> None:
        """Waits until each has its server. Raises :class:`ClusterError`, with the end of
        a server's log, if one has none within :data:`READY_DEADLINE_S`."""
        deadline = time.monotonic() + READY_DEADLINE_S
        waiting = list(nodes)
        while waiting:
            waiting = [
                node
                for node in waiting
                if not is_listening(self.pid(node.name), self.workload.port)
            ]
            if waiting and time.monotonic() > deadline:
                names = ", ".join(node.name for node in waiting)
                log = self._folder / f"{waiting[0].name}.log"
                raise ClusterError(
                    f"no {self.workload.name} server listens on {names}\n{log_tail(log)}"
                )
            if waiting:
                time.sleep(0.01)

    def limit_reconnect_backoff(self, switches: Iterable[str]) -> None:
        """Once connected: a controller that dies and returns is found at once."""
        IsolatedSwitch.limit_reconnect_backoff(
            [self.network.switch(name) for name in switches]
        )

    def site(self, node: Node) -> Site:
        """Where that node's guard works."""
        return self.network.site(node)

    def pid(self, name: str) -> int:
        """A process in the network namespace of that host or switch."""
        pid: int = self.network.net[name].pid
        return pid

    def counters(self) -> list[GuardCounters]:
        """Counters of every guard, those of nodes that lost power included."""
        return [*self._final_counters, *self.guard.counters().values()]

    def close(self) -> None:
        """Ends programs, guards and the network."""
        self.processes.stop_all()
        if self._forks:
            self._forks.close()
        self.guard.close()
        self.network.stop()

    def _take_down(
        self, nodes: tuple[Node, ...], on_network: Callable[[], None]
    ) -> None:
        """Undoes what brought nodes up, or half of it."""
        self._release(nodes)
        on_network()

    def _bring_up(
        self, nodes: tuple[Node, ...], on_network: Callable[[], None]
    ) -> None:
        """Undoes what took nodes down, or half of it: they serve again, empty."""
        self._take_down(nodes, on_network)
        self.serve(nodes)
        self.await_listening(nodes)

    def _release(self, nodes: tuple[Node, ...]) -> None:
        """Nodes about to lose power: nothing of theirs is to be started again.

        What there is of it: an attempt that failed may have done it before.
        """
        counters = self.guard.counters()
        for node in nodes:
            if _server(node) in self.processes.running:
                self.processes.release(_server(node))
            if node.name in counters:
                self._final_counters.append(counters[node.name])
                self.guard.detach(node.name)

    def _notify_listeners(self, points: Sequence[CapturePoint]) -> None:
        for listener in self.port_listeners:
            listener(points)

    def _start_server(self, node: Node) -> Program:
        """A Python program is forked for each node; what is not, is just started."""
        log = self._folder / f"{node.name}.log"
        interpreter, program, *arguments = self.workload.server(self._store)
        if interpreter != sys.executable:
            argv = [interpreter, program, *arguments]
            return self.network.popen(node.name, argv, stdout=log, stderr=log)
        if self._forks is None:
            self._forks = ForkServer(Path(program))
        return self._forks.start(self.pid(node.name), arguments, log)


def _server(node: Node) -> str:
    return f"server {node.name}"
