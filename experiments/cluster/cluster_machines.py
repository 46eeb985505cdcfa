"""Actions on the machines of a cluster: power, cables, guards, storage servers."""

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
from nodes.guard.guard import Guard, GuardSettings
from nodes.guard.guards import GuardCounters
from nodes.servers.forked_process import ForkServer
from nodes.servers.server_ready import is_listening
from topologies.domain.link_options import LinkOptions
from topologies.domain.plan import Chassis, Node, Plan
from topologies.domain.site import Site
from topologies.network import ClusterNetwork
from topologies.switches import IsolatedSwitch

READY_DEADLINE_S = 60.0
#: How often a server that dies before it listens is started again, in seconds.
RESTART_PERIOD_S = 0.5


class ClusterMachines:
    """The :class:`~topologies.domain.events.MachineActions` of one cluster.

    Callers hold the cluster's lock. The servers' logs go to ``folder``. ``store`` is the
    directory that the storage servers share.
    """

    def __init__(
        self,
        network: ClusterNetwork,
        workload: Workload,
        guard: Guard,
        settings: GuardSettings,
        folder: Path,
        store: Path,
    ) -> None:
        """Changes nothing yet. ``settings``: what the guards do."""
        self.network = network
        self.workload = workload
        self.guard = guard
        #: Programs that must keep running: the storage servers, and what the cluster adds.
        self.processes = SupervisedProcesses()
        #: Called with the capture points of each node or chassis that is added while the
        #: cluster runs, before it serves.
        self.port_listeners: list[Callable[[Sequence[CapturePoint]], None]] = []
        #: Called with the sites of all nodes with power, when they have changed.
        self.site_listeners: list[Callable[[Sequence[Site]], None]] = []
        self._settings = settings
        self._sites: dict[str, Site] = {}
        self._folder = folder
        self._store = store
        self._final_counters: list[tuple[str, GuardCounters]] = []
        self._forks: ForkServer | None = None
        self._rollback = Rollback()

    def transaction(self) -> AbstractContextManager[None]:
        """Undoes everything if one step fails; see :meth:`Rollback.transaction`."""
        return self._rollback.transaction()

    # --------------------------------------------------------- actions of events

    def power_off_node(self, node: Node) -> None:
        """A power failure: link down, programs killed, TCP state lost."""
        self._rollback.step(
            f"restoring the power of {node.name}",
            lambda: self._bring_up((node,), lambda: self.network.power_on(node)),
            "it has lost its TCP state",
        )
        self._release((node,))
        self.network.power_off(node)

    def power_on_node(self, node: Node) -> None:
        """The node starts without TCP state and serves."""
        self._rollback.step(
            f"powering {node.name} off",
            lambda: self._take_down((node,), lambda: self.network.power_off(node)),
        )
        self.network.power_on(node)
        self.serve((node,))
        self.await_listening((node,))

    def power_off_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """Powers off the chassis' port, then ``nodes``, then the switch.

        ``nodes``: all nodes of the chassis that have power.
        """
        self._rollback.step(
            f"restoring the power of {chassis.name}",
            lambda: self._bring_up(
                nodes, lambda: self.network.power_on_chassis(chassis)
            ),
            "its nodes have lost their TCP state",
        )
        self._release(nodes)
        self.network.power_off_chassis(chassis)

    def power_on_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """Powers on the switch, then those nodes. They start without TCP state."""
        self._rollback.step(
            f"powering {chassis.name} off",
            lambda: self._take_down(
                nodes, lambda: self.network.power_off_chassis(chassis)
            ),
        )
        self.network.power_on_chassis(chassis)
        self.serve(nodes)
        self.await_listening(nodes)

    def set_uplink_down(self, chassis: Chassis) -> None:
        """Takes the uplink down. Programs and sockets behind it keep running."""
        self._rollback.step(
            f"reconnecting the uplink of {chassis.name}",
            lambda: self.network.set_uplink_up(chassis),
        )
        self.network.set_uplink_down(chassis)

    def set_uplink_up(self, chassis: Chassis) -> None:
        """Takes the uplink up again."""
        self._rollback.step(
            f"disconnecting the uplink of {chassis.name}",
            lambda: self.network.set_uplink_down(chassis),
        )
        self.network.set_uplink_up(chassis)

    def build_node(self, plan: Plan, node: Node) -> None:
        """Connects a new node to its chassis and starts its programs."""
        self._rollback.step(
            f"removing {node.name}",
            lambda: self._take_down((node,), lambda: self.network.remove_node(node)),
        )
        self.network.add_node(node)
        self._notify_listeners((node_point(node),))
        self.serve((node,))
        self.await_listening((node,))

    def build_chassis(self, plan: Plan, chassis: Chassis) -> None:
        """Connects a new chassis with all its nodes to the fabric; starts their programs."""
        self._rollback.step(
            f"removing {chassis.name}",
            lambda: self._take_down(
                chassis.nodes, lambda: self.network.remove_chassis(chassis)
            ),
        )
        self.network.add_chassis(chassis)
        self._notify_listeners(chassis_points(chassis))
        self.serve(chassis.nodes)
        self.await_listening(chassis.nodes)

    def shape_link(self, host: str, link: LinkOptions) -> None:
        """Shapes what that host sends, from now on."""
        before = self.network.host(host).link
        self._rollback.step(
            f"shaping the link of {host} as before",
            lambda: self.network.shape(host, before),
        )
        self.network.shape(host, link)

    # ------------------------------------------------------- actions of a cluster

    def serve(self, nodes: tuple[Node, ...]) -> None:
        """Starts guards and storage servers on those nodes."""
        sites = {node.name: self.site(node) for node in nodes}
        self.guard.attach(list(sites.values()), self._settings)
        self._change_sites({**self._sites, **sites})
        for node in nodes:
            self.processes.start(
                _server(node), functools.partial(self._start_server, node)
            )

    def await_listening(self, nodes: tuple[Node, ...]) -> None:
        """Waits until every node's server listens, and restarts those that die meanwhile:
        the supervisor waits for the lock that the caller holds.

        Raises :class:`ClusterError`, with the end of a server's log, after
        :data:`READY_DEADLINE_S`.
        """
        deadline = time.monotonic() + READY_DEADLINE_S
        next_restart = time.monotonic() + RESTART_PERIOD_S
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
            if waiting and time.monotonic() > next_restart:
                next_restart = time.monotonic() + RESTART_PERIOD_S
                self._restart_servers(waiting)
            if waiting:
                time.sleep(0.01)

    def _restart_servers(self, nodes: Iterable[Node]) -> None:
        names = {_server(node) for node in nodes}
        for supervised in self.processes.dead():
            if supervised.name in names:
                self.processes.restart(supervised)

    def limit_reconnect_backoff(self, switches: Iterable[str]) -> None:
        """Lets connected switches find a restarted controller without delay."""
        IsolatedSwitch.limit_reconnect_backoff(
            [self.network.switch(name) for name in switches]
        )

    def site(self, node: Node) -> Site:
        """The site of that node's guard."""
        return self.network.site(node)

    def pid(self, name: str) -> int:
        """The id of a thread in the network namespace of that host or switch."""
        pid: int = self.network.net[name].pid
        return pid

    def counters(self) -> list[GuardCounters]:
        """Counters of every guard, including those of nodes that have lost power."""
        return [counters for _, counters in self.counters_of_nodes()]

    def counters_of_nodes(self) -> list[tuple[str, GuardCounters]]:
        """The same with each guard's node. A node that came back has several."""
        return [*self._final_counters, *self.guard.counters().items()]

    def close(self) -> None:
        """Stops programs, guards and the network."""
        self.processes.stop_all()
        if self._forks:
            self._forks.close()
        self.guard.close()
        self.network.stop()

    def _take_down(
        self, nodes: tuple[Node, ...], on_network: Callable[[], None]
    ) -> None:
        """Takes nodes down again, also those that were only half up."""
        self._release(nodes)
        on_network()

    def _bring_up(
        self, nodes: tuple[Node, ...], on_network: Callable[[], None]
    ) -> None:
        """Brings nodes up again, also those that were only half down. TCP state is lost."""
        self._take_down(nodes, on_network)
        self.serve(nodes)
        self.await_listening(nodes)

    def _release(self, nodes: tuple[Node, ...]) -> None:
        """Stops supervising nodes that are about to lose power.

        Skips what a failed attempt has released before.
        """
        counters = self.guard.counters()
        for node in nodes:
            if _server(node) in self.processes.running:
                self.processes.release(_server(node))
            if node.name in counters:
                self._final_counters.append((node.name, counters[node.name]))
                self.guard.detach(node.name)
        gone = {node.name for node in nodes}
        kept = {name: site for name, site in self._sites.items() if name not in gone}
        self._change_sites(kept)

    def _change_sites(self, sites: dict[str, Site]) -> None:
        self._sites = sites
        for listener in self.site_listeners:
            listener(list(sites.values()))

    def _notify_listeners(self, points: Sequence[CapturePoint]) -> None:
        for listener in self.port_listeners:
            listener(points)

    def _start_server(self, node: Node) -> Program:
        """Forks a Python program for the node; starts any other as a process."""
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
