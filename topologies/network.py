"""A live cluster: a Mininet network built from a plan, with changes at run time."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mininet.net import Mininet

from topologies import cluster
from topologies.domain.link_options import UNSHAPED, LinkOptions
from topologies.domain.plan import FABRIC, Chassis, Node, Plan, PlanError
from topologies.domain.site import Site
from topologies.hosts import StorageClient, StorageHost, StorageNode
from topologies.links import Links
from topologies.removal import remove, unplug
from topologies.runs import RUN_VARIABLE
from topologies.sandbox import publish_hosts
from topologies.scripts import WORKERS, run_script, run_scripts
from topologies.socket_tables import give_hosts_their_own
from topologies.switches import IsolatedSwitch

#: How long the start of switches waits for a controller, in seconds. Before the first
#: connection ovs-vswitchd retries after 1, 2, 4, 8 s and ignores max_backoff, which applies
#: to established connections only (ofconn_reconfigure in OVS's connmgr.c).
CONTROLLER_WAIT_S = 3.0


class ClusterNetwork:
    """The network of one cluster, in the sandbox of the calling process.

    After :meth:`start`, ``net`` is an ordinary Mininet network: Mininet's command line and
    ``net.get("c1n2").cmd(...)`` work on it.
    """

    def __init__(
        self,
        plan: Plan,
        datapath: str | None = None,
        link: LinkOptions = UNSHAPED,
        node_sysctls: Mapping[str, int] | None = None,
        table_limits: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """Prepare a network. Nothing is created before :meth:`start`.

        ``datapath``: ``system`` or ``netdev``; None: the faster one of this machine.
        ``link``: the shaping of what every host sends. ``node_sysctls``: settings of every
        node's network namespace, by their path below /proc/sys. ``table_limits``: the most
        entries of flow tables, by number; a full table evicts the least recently used.
        """
        #: The plan of the present network; it grows with the network.
        self.plan = plan
        self.net: Any = None
        self._datapath = datapath
        self._link = link
        self._table_limits = table_limits
        self._node_sysctls = node_sysctls
        self._controller: str | None = None
        self._links = Links()
        # One thread, as long as the network: the kernel takes the end of the *thread* that
        # started a program for the end of its parent (PR_SET_PDEATHSIG in prctl(2)), and
        # nbdkit asks to be ended then. Each command to a cluster has a thread of its own.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="starter")
        self._created: dict[str, Any] = {}
        self._powered_off: set[str] = set()
        self._powered_off_with_chassis: dict[str, list[Node]] = {}

    def start(self, controller: str | None = None) -> None:
        """Create and start hosts, links and switches.

        ``controller``: the target of every switch's connection, e.g.
        ``unix:/run/resetbed/demo/ofp.sock``; None: no controller. It may still be
        starting: a UNIX socket is waited for, up to :data:`CONTROLLER_WAIT_S`.
        """
        self._controller = controller
        # Otherwise Mininet raises limits of the whole machine, and of TCP.
        Mininet.inited = True
        give_hosts_their_own()
        self._create_all()
        self.net = Mininet(
            topo=cluster.ClusterTopo(plan=self.plan),
            host=self._created_element,
            switch=self._created_element,
            link=self._links,
            controller=None,
        )
        cluster.add_loop(self.net)
        self._links.make()
        run_scripts({host: host.script() for host in self.net.hosts})
        _await_socket(controller)
        self.net.start()
        self._publish()

    def stop(self) -> None:
        """End switches and hosts, with their namespaces and interfaces."""
        if self.net:
            self.net.stop()
        self._starter.shutdown()

    def host(self, name: str) -> StorageHost:
        """The Mininet host of that node or client. Raises :class:`PlanError`."""
        if name not in self.net or name in self.plan.switches:
            raise PlanError(f"no host {name!r}")
        host: StorageHost = self.net[name]
        return host

    def switch(self, name: str) -> IsolatedSwitch:
        """The Mininet switch of that name. Raises :class:`PlanError`."""
        if name not in self.plan.switches:
            raise PlanError(f"no switch {name!r}")
        switch: IsolatedSwitch = self.net[name]
        return switch

    def site(self, node: Node) -> Site:
        """The node's location, for attaching its guard."""
        return Site(node.name, self.host(node.name).pid, node.interface, node.mac)

    def popen(
        self,
        host: str,
        argv: Sequence[str],
        stdout: Path | None = None,
        stderr: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program on a host, in its own session, without standard input.

        Its output is appended to the files, or discarded. ``env`` is added to our
        environment. It may run on when the calling thread ends, whatever it asks for.
        Raises :class:`OSError` if it cannot be started, :class:`RuntimeError` after
        :meth:`stop`.
        """
        command = ["mnexec", "-a", str(self.host(host).pid), *argv]
        with ExitStack() as files:
            out, err = (
                files.enter_context(open(path, "ab")) if path else subprocess.DEVNULL
                for path in (stdout, stderr)
            )
            started = self._starter.submit(
                subprocess.Popen,
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
            return started.result()

    def add_node(self, node: Node) -> None:
        """Add a node to a running chassis: the plan's next.

        Raises :class:`PlanError` if it is not the next. If anything else fails,
        :meth:`remove_node` removes the part that was created.
        """
        self.plan = _grown(self.plan.with_node(f"c{node.chassis}"), node)
        cluster.add_node(self.net, node)
        self._links.make()
        host = self.host(node.name)
        run_script(host, host.script())
        self._attach(f"c{node.chassis}", node.switch_interface)
        self._publish()

    def add_chassis(self, chassis: Chassis) -> None:
        """Add a chassis and its nodes to the fabric: the plan's next.

        Raises :class:`PlanError` if it is not the next. If anything else fails,
        :meth:`remove_chassis` removes the part that was created.
        """
        self.plan = _grown(self.plan.with_chassis(len(chassis.nodes)), chassis)
        cluster.add_chassis(self.net, chassis)
        self._links.make()
        hosts = [self.host(node.name) for node in chassis.nodes]
        run_scripts({host: host.script() for host in hosts})
        IsolatedSwitch.batchStartup([self.switch(chassis.name)])
        self._attach(FABRIC, chassis.fabric_interface)
        self._publish()

    def remove_node(self, node: Node) -> None:
        """Remove the last node of a chassis, even if only partly created.

        Afterwards it is the plan's next one. Raises :class:`ScriptError`.
        """
        shape = [len(chassis.nodes) for chassis in self.plan.chassis]
        shape[node.chassis - 1] = min(shape[node.chassis - 1], node.number - 1)
        self._remove([node], f"c{node.chassis}", node.switch_interface, [node.name])
        self.plan = Plan.of_shape(shape, len(self.plan.clients))

    def remove_chassis(self, chassis: Chassis) -> None:
        """Remove the last chassis and its nodes, even if only partly created.

        Afterwards it is the plan's next one. Raises :class:`ScriptError`.
        """
        nodes = chassis.nodes
        names = [chassis.name, *(node.name for node in nodes)]
        self._remove(nodes, FABRIC, chassis.fabric_interface, names)
        shape = [len(each.nodes) for each in self.plan.chassis]
        kept = shape[: chassis.number - 1]
        self.plan = Plan.of_shape(kept, len(self.plan.clients))

    def power_off(self, node: Node) -> None:
        """Power off a node: link down, programs killed, connections destroyed."""
        self._power_off([node])

    def power_on(self, node: Node) -> None:
        """Power on a node: addresses are configured, no programs run."""
        self._power_on([node])

    def power_off_chassis(self, chassis: Chassis) -> None:
        """Power off a chassis: uplink, nodes and switch."""
        self._set_link(chassis.name, chassis.uplink_interface, "down")
        before = self._powered_off_with_chassis.get(chassis.name, [])
        nodes = [
            n for n in chassis.nodes if n.name not in self._powered_off or n in before
        ]
        self._powered_off_with_chassis[chassis.name] = nodes
        self._power_off(nodes)
        self.switch(chassis.name).kill()

    def power_on_chassis(self, chassis: Chassis) -> None:
        """Power on the switch and the nodes that went down with it."""
        self.switch(chassis.name).restart()
        self._power_on(self._powered_off_with_chassis.get(chassis.name, []))
        self._set_link(chassis.name, chassis.uplink_interface, "up")
        self._powered_off_with_chassis.pop(chassis.name, None)

    def shape(self, host: str, link: LinkOptions) -> None:
        """Shape what a host sends, from now on, also after a loss of its power.

        Raises :class:`PlanError` if there is no such host, and
        :class:`~topologies.scripts.ScriptError` if tc(8) fails.
        """
        shaped = self.host(host)
        run_script(shaped, shaped.reshape_script(link))
        shaped.link = link

    def set_uplink_down(self, chassis: Chassis) -> None:
        """Set the link between the fabric and a chassis down.

        At the fabric's end: the chassis' end follows its power. A veth pair has a carrier
        only if both ends are up.
        """
        self._set_link(FABRIC, chassis.fabric_interface, "down")

    def set_uplink_up(self, chassis: Chassis) -> None:
        """Set that link up."""
        self._set_link(FABRIC, chassis.fabric_interface, "up")

    def _remove(
        self, nodes: Sequence[Node], switch: str, interface: str, names: Sequence[str]
    ) -> None:
        """Disconnect them from the switch that stays, end them, remove them."""
        self._links.forget()
        unplug(self.switch(switch), interface)
        remove(self.net, names)
        for name in names:
            self._created.pop(name, None)
        self._powered_off -= {node.name for node in nodes}
        self._publish()

    def _power_off(self, nodes: Sequence[Node]) -> None:
        """Links down first, so that no packet leaves during the rest."""
        for node in nodes:
            self._set_link(f"c{node.chassis}", node.switch_interface, "down")
            self.host(node.name).kill_programs()
            self._powered_off.add(node.name)
        hosts = [self.host(node.name) for node in nodes]
        run_scripts({host: host.power_off_script() for host in hosts})

    def _power_on(self, nodes: Sequence[Node]) -> None:
        hosts = [self.host(node.name) for node in nodes]
        run_scripts({host: host.script() for host in hosts})
        for node in nodes:
            self._set_link(f"c{node.chassis}", node.switch_interface, "up")
            self._powered_off.discard(node.name)

    def _set_link(self, switch: str, interface: str, state: str) -> None:
        run_script(self.switch(switch), f"ip link set dev {interface} {state}")

    def _attach(self, switch: str, interface: str) -> None:
        self.switch(switch).attach(self.switch(switch).nameToIntf[interface])

    def _create_all(self) -> None:
        """Start all shells in parallel; Mininet itself starts one at a time."""
        elements = [*self.plan.switches, *(each.name for each in self.plan.clients)]
        names = [*elements, *(node.name for node in self.plan.nodes)]
        with ThreadPoolExecutor(WORKERS) as pool:
            created = pool.map(self._create, names)
            self._created = dict(zip(names, created, strict=True))

    def _created_element(self, name: str, **_params: Any) -> Any:
        """Called by Mininet to create a host or a switch."""
        return self._created.pop(name, None) or self._create(name)

    def _create(self, name: str) -> Any:
        if name in self.plan.switches:
            dpid = f"{self.plan.switches[name]:x}"
            return IsolatedSwitch(
                name, dpid, self._controller, self._datapath, self._table_limits
            )
        for client in self.plan.clients:
            if client.name == name:
                return StorageClient(client, self._link)
        node = self.plan.find_node(name)
        return StorageNode(node, self._link, self._node_sysctls)

    def _publish(self) -> None:
        """Publish the hosts' pids for other processes, if the sandbox has a name."""
        if RUN_VARIABLE in os.environ:
            pids = {name: self.net[name].pid for name in self.net}
            publish_hosts(os.environ[RUN_VARIABLE], pids)


def _await_socket(controller: str | None) -> None:
    """Wait for the controller's UNIX socket, up to a limit."""
    if controller is None or not controller.startswith("unix:"):
        return
    deadline = time.monotonic() + CONTROLLER_WAIT_S
    while not Path(controller.removeprefix("unix:")).is_socket():
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _grown(growth: tuple[Plan, Node | Chassis], expected: Node | Chassis) -> Plan:
    """The grown plan, if its new element is the expected one."""
    plan, new = growth
    if new != expected:
        raise PlanError(f"{expected.name} is not the next one; {new.name} is")
    return plan
