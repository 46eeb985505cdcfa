"""A running cluster: network, controller, guards and storage servers, supervised.

It runs inside a sandbox (:mod:`topologies.sandbox`). One lock protects all machines, so
that a user's event, the supervisor and a status request never use Mininet at the same
time.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

from controller.balancers import get_balancer
from controller.flows.flow_tables import Table
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from controller.policies.questions import OnStray, Travel
from controller.service.controller_client import (
    ControllerClient,
    ControllerError,
    SwitchStatus,
)
from experiments.cluster.backend import start_backend
from experiments.cluster.cluster_machines import READY_DEADLINE_S, ClusterMachines
from experiments.cluster.copy_injector import CopyInjector, SwitchPort
from experiments.cluster.errors import ClusterError, log_tail
from experiments.cluster.event_executor import EventExecutor
from experiments.cluster.event_log import EventLog
from experiments.cluster.fan_out_budget import budget_of
from experiments.cluster.faults import Faults
from experiments.cluster.flow_dump import dump_flows
from experiments.cluster.supervised_processes import SupervisedProcesses
from experiments.cluster.supervisor import Supervisor
from experiments.healing.acts import count_destroyed
from experiments.healing.sites import write_sites
from experiments.record.event_record import EventRecord
from experiments.workloads import WORKLOADS, ClientJob, Workload
from nodes.guard.guards import GuardCounters, GuardSettings, open_guard
from nodes.guard.verdict import Mode
from nodes.kernel.network_namespace import netns_inode
from nodes.servers.server_settings import AS_SHIPPED, ServerSettings
from topologies.datapaths import AUTO, find_datapath
from topologies.domain.events import EVENTS, Event
from topologies.domain.link_options import UNSHAPED, LinkOptions
from topologies.domain.membership import Membership
from topologies.domain.plan import Client, Node, Plan, vip
from topologies.network import ClusterNetwork
from topologies.switches import OVS_DIRECTORY

Progress = Callable[[str], None]

#: The bound within which half-open connections are healed, by default, in seconds.
HEAL_WITHIN_S = 2.0
#: The healer's acts, in the cluster's folder.
HEALING_FILE = "healing.jsonl"


@dataclass(frozen=True)
class ClusterOptions:
    """The options of a cluster, besides its plan."""

    name: str
    policy: str
    balancer: str
    guard: str
    workload: str
    #: The controller's module, for ``python -m``.
    controller: str = "controller"
    #: Weights of nodes and chassis, by name; see Balancer.with_weights.
    weights: Mapping[str, float] = field(default_factory=dict)
    #: Buckets of each switch's table; None: the balancer's own number.
    buckets: int | None = None
    #: Connections that each switch can pin; None: any number.
    pins: int | None = None
    links: LinkOptions = UNSHAPED
    #: One of ``topologies.datapaths.CHOICES``.
    datapath: str = AUTO
    #: Whether half-open connections are healed; None: as the policy does by default.
    heal: bool | None = None
    #: Within that time, in seconds (:mod:`experiments.healing`).
    heal_within_s: float = HEAL_WITHIN_S
    #: How the nodes and their servers are tuned.
    servers: ServerSettings = AS_SHIPPED


class Cluster:
    """The cluster of one plan. Logs go to ``folder``, sockets to ``runtime``."""

    def __init__(
        self,
        plan: Plan,
        options: ClusterOptions,
        folder: Path,
        runtime: Path,
        workload: Workload | None = None,
    ) -> None:
        """``workload``: in place of the one that ``options`` name."""
        policy = POLICIES[options.policy]
        healing = policy.sends_copies if options.heal is None else options.heal
        self.options = options
        self.folder = folder
        self.runtime = runtime
        self.initial = ClusterState(
            plan,
            Membership.all_in_service(plan),
            policy,
            get_balancer(options.balancer, options.weights, options.buckets),
            healing=healing,
        )
        self.workload = workload or WORKLOADS[options.workload].tuned(options.servers)
        self.datapath = find_datapath(options.datapath)
        self.network = _network(plan, self.datapath.type, options)
        self.clients = SupervisedProcesses()
        nodes = sum(1 for _ in plan.nodes)
        self.guard = open_guard(options.guard, folder / "hosts", nodes)
        self.lock = threading.RLock()
        self.log = EventLog(folder / "events.jsonl")
        #: On tmpfs, where an acknowledged write needs no flush of a disk.
        self._store = runtime / "store"
        self._machines = ClusterMachines(
            self.network,
            self.workload,
            self.guard,
            GuardSettings(_MODES[policy.on_stray], healing, budget_of(plan, policy)),
            folder / "hosts",
            self._store,
        )
        self.processes = self._machines.processes
        #: Called with the capture points of each node or chassis that is added while the
        #: cluster runs, before it serves.
        self.port_listeners = self._machines.port_listeners
        self._faults = Faults(self.log)
        self._supervisor = self._make_supervisor()
        self._controller = ControllerClient(runtime / "controller.sock")
        self._executor = self._make_executor()
        self._injector: CopyInjector | None = None

    # ---------------------------------------------------------------- life cycle

    def start(self, progress: Progress = lambda text: None) -> None:
        """Starts everything; returns when every node serves the VIP."""
        plan = self.state.plan
        (self.folder / "hosts").mkdir(exist_ok=True)
        self._store.mkdir(exist_ok=True)
        self.workload.prepare(self._store)
        start_backend(self.workload, self._store, self.folder / "hosts", self.processes)
        self._write_controller_files()
        if self.state.policy.travel is Travel.OUT_OF_BAND:
            self._injector = CopyInjector(
                self.runtime / "guards.sock", self._switch_ports, self._faults
            )
        self.processes.start("controller", self._start_controller)
        if self.state.healing:
            self._machines.site_listeners.append(
                lambda sites: write_sites(self.runtime / "sites.json", sites)
            )
            self.processes.start("healer", self._start_healer)
        nodes = sum(1 for _ in plan.nodes)
        progress(
            f"connecting {len(plan.chassis)} chassis, {nodes} nodes; "
            f"switches on {self.datapath}"
        )
        self.network.start(controller=f"unix:{self.runtime / 'ofp.sock'}")
        progress(f"starting {self.workload.name} servers and {self.guard.name} guards")
        self._machines.serve(tuple(plan.nodes))
        progress("waiting for the switches' tables")
        self._await_in_sync()
        self._machines.limit_reconnect_backoff(self.live_switches())
        self._machines.await_listening(tuple(plan.nodes))
        self._supervisor.start()
        # A collection of all that was made until here stops every thread for up to a second
        # on a busy machine: with out-of-band, the one that sends the copies.
        gc.freeze()
        self.log.write("up", **self.describe())

    def stop(self) -> None:
        """Stops everything, by process id."""
        self._supervisor.stop()
        with self.lock:
            self.clients.stop_all()
            if self._injector:
                self._injector.close()
            self._machines.close()
            self.log.write("down")
            self.log.close()

    def describe(self) -> dict[str, Any]:
        """The description of this cluster, for logs and results."""
        return {
            "name": self.options.name,
            "policy": self.options.policy,
            "balancer": self.options.balancer,
            "weights": dict(self.options.weights),
            "buckets": self.options.buckets,
            "pins": self.options.pins,
            "links": self.options.links.to_json(),
            "guard": self.guard.name,
            "datapath": self.datapath.type,
            "datapath_why": self.datapath.why,
            "healing": self.state.healing,
            "heal_within_s": self.options.heal_within_s,
            "workload": self.workload.name,
            "servers": dict(self.options.servers.given()),
            **self.state.plan.to_json(),
        }

    # -------------------------------------------------------------------- events

    @property
    def state(self) -> ClusterState:
        """The state that the switches must have now."""
        return self._executor.state

    @property
    def records(self) -> Sequence[EventRecord]:
        """Every event so far. Events of one instant have the same times."""
        return self._executor.records

    @property
    def proactive_resets(self) -> int:
        """Connections that nodes reset at events (policies ``proactive``, ``ctdb``)."""
        return self._executor.proactive_resets

    def event(self, kind: str, target: str) -> EventRecord:
        """Executes one membership event; see :meth:`events`."""
        return self.events([(kind, target)])[0]

    def events(self, events: Sequence[tuple[str, str]]) -> list[EventRecord]:
        """Executes membership events, each a kind and a target; see :meth:`execute`."""
        return self.execute([(EVENTS[kind], target) for kind, target in events])

    def execute(self, events: Sequence[tuple[Event, str]]) -> list[EventRecord]:
        """Executes events, each with its target, together, as one change.

        Returns when the switches have it. Raises
        :class:`~topologies.domain.events.EventError` or ``PlanError`` for an event that is
        not possible, before anything is changed.
        """
        with self.lock:
            return self._executor.execute(events)

    def shape(self, hosts: Sequence[str], link: LinkOptions) -> None:
        """Shapes what those hosts send, from now on.

        Raises ``PlanError`` for a name of no host, before anything is changed, and
        :class:`~topologies.scripts.ScriptError` if tc(8) fails.
        """
        with self.lock:
            for host in hosts:
                self.network.host(host)
            for host in hosts:
                self.network.shape(host, link)
                self.log.write("link", host=host, **link.to_json())

    # -------------------------------------------------------------------- status

    @property
    def faults(self) -> list[str]:
        """Errors in the cluster's own threads, each once: where it occurred, and the error."""
        return self._faults.texts

    def switch_status(self) -> dict[str, SwitchStatus]:
        """Switch name -> its status by the controller; unknown while that is down."""
        try:
            return self._controller.status()
        except ControllerError:
            unknown = SwitchStatus(connected=False, in_sync=False, entries=0)
            return dict.fromkeys(self.state.plan.switches, unknown)

    def guard_counters(self) -> list[GuardCounters]:
        """Counters of every guard, including those of nodes that have lost power."""
        return self._machines.counters()

    def counters_of_nodes(self) -> list[tuple[str, GuardCounters]]:
        """As :meth:`guard_counters`, each with its node."""
        return self._machines.counters_of_nodes()

    def destroyed(self) -> int | None:
        """Connections that the healer destroyed at the deadline; None without healing."""
        if not self.state.healing:
            return None
        return count_destroyed(self.folder / HEALING_FILE)

    def pid(self, name: str) -> int:
        """The id of a thread in the network namespace of that host or switch."""
        return self._machines.pid(name)

    def namespaces(self) -> dict[str, int]:
        """Host -> inode number of its network namespace, for all nodes and clients."""
        plan = self.state.plan
        nodes, clients = (n.name for n in plan.nodes), (c.name for c in plan.clients)
        names = (*nodes, *clients)
        return {name: netns_inode(self.pid(name)) for name in names}

    def dropped_frames(self) -> int:
        """Frames lost so far because switches did not read them in time."""
        switches = map(self.network.switch, self.live_switches())
        return sum(switch.dropped_frames() for switch in switches)

    def live_nodes(self) -> list[Node]:
        """Nodes with power: in service, drained or cut off."""
        state = self.state
        return [
            node
            for chassis in state.plan.chassis
            for node in state.membership.powered_nodes(chassis)
        ]

    def live_switches(self) -> list[str]:
        """Switches with power, the fabric first, including those of cut-off chassis."""
        failed = self.state.membership.failed_chassis
        return [name for name in self.state.plan.switches if name not in failed]

    def save_flow_tables(self) -> None:
        """Writes the flow table of every live switch into ``flows/``."""
        (self.folder / "flows").mkdir(exist_ok=True)
        for switch in self.live_switches():
            (self.folder / "flows" / f"{switch}.txt").write_text(dump_flows(switch))

    # ------------------------------------------------------------------- clients

    def client_job(
        self,
        client: Client,
        connections: int,
        seed: int,
        ip: int,
        interval_ms: float,
        pattern: str,
    ) -> ClientJob:
        """The job of one client host against this cluster's VIP."""
        return ClientJob(
            *(vip(ip), connections, seed, client.name, client.number, interval_ms),
            pattern=pattern,
            folder=self.report_path(client.name).parent,
        )

    def start_client(self, job: ClientJob) -> None:
        """Starts a storage client. Its report goes to ``hosts/NAME.jsonl``."""
        argv = self.workload.client(job)
        with self.lock:
            self.clients.start(
                job.host,
                lambda: self.network.popen(
                    job.host,
                    argv,
                    stdout=self.report_path(job.host),
                    stderr=self.folder / "hosts" / f"{job.host}.log",
                ),
            )

    def client_ended(self, host: str) -> str | None:
        """How the storage client on that host has ended; None while it runs."""
        status = self.clients.running[host].process.poll()
        if status is None:
            return None
        return f"by {Signals(-status).name}" if status < 0 else f"with status {status}"

    def report_path(self, host: str) -> Path:
        """The report file of the storage client on that host."""
        return self.folder / "hosts" / f"{host}.jsonl"

    # ------------------------------------------------------------------ internals

    def _make_executor(self) -> EventExecutor:
        return EventExecutor(
            self.initial,
            self._machines,
            self._controller,
            self.runtime / "state.json",
            self.log,
            self._supervisor.restart_dead,
        )

    def _make_supervisor(self) -> Supervisor:
        return Supervisor(
            self.processes,
            self.guard,
            lambda: len(self.live_nodes()),
            lambda: [
                (name, self.network.switch(name)) for name in self.live_switches()
            ],
            self.lock,
            self.log,
            self._faults,
        )

    def _switch_ports(self) -> list[SwitchPort]:
        """The port, in its chassis switch, of each reachable node."""
        plan, membership = self.state.plan, self.state.membership
        return [
            SwitchPort(self.pid(chassis.name), node.switch_interface, node.mac)
            for chassis in plan.chassis
            for node in membership.reachable_nodes(chassis)
        ]

    def _start_controller(self) -> subprocess.Popen[bytes]:
        log = (self.folder / "hosts" / "controller.log").open("ab")
        with log:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    self.options.controller,
                    "--listen",
                    str(self.runtime / "ofp.sock"),
                ],
                env=_environment(self.runtime / "controller.json"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _start_healer(self) -> subprocess.Popen[bytes]:
        with (self.folder / "hosts" / "healer.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "experiments.healing.healer"),
                    *("--state", str(self.runtime / "state.json")),
                    *("--sites", str(self.runtime / "sites.json")),
                    *("--output", str(self.folder / HEALING_FILE)),
                    *("--bound-s", str(self.options.heal_within_s)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _await_in_sync(self) -> None:
        """Waits for the first tables. What is killed meanwhile is started again.

        Raises :class:`ClusterError` at the deadline, or if the controller ends by itself.
        """
        deadline = time.monotonic() + READY_DEADLINE_S
        controller = self.processes.running["controller"]
        while True:
            try:
                self._controller.wait_in_sync(timeout_s=1.0)
                return
            except ControllerError as error:
                ended = (controller.process.poll() or 0) > 0
                if ended or time.monotonic() > deadline:
                    log = self.folder / "hosts" / "controller.log"
                    text = "\n".join([str(error), *self._warnings(), log_tail(log)])
                    raise ClusterError(text) from error
                self._supervisor.restart_dead()

    def _warnings(self) -> Iterator[str]:
        """Recent warnings of the switches' daemons."""
        for name in self.live_switches():
            for line in self.network.switch(name).recent_warnings():
                yield f"switch {name}: {line}"

    def _write_controller_files(self) -> None:
        self._executor.write()
        config = {
            "state": str(self.runtime / "state.json"),
            "socket": str(self.runtime / "controller.sock"),
            "unixctl": f"{OVS_DIRECTORY}/{{switch}}/vswitchd.ctl",
            "guards": str(self.runtime / "guards.sock"),
        }
        (self.runtime / "controller.json").write_text(json.dumps(config))


#: The guards' mode for each choice of a policy.
_MODES = {
    OnStray.STAY_SILENT: Mode.SILENT,
    OnStray.RESET: Mode.ANSWER,
    OnStray.REDIRECT: Mode.PASS_ON,
}


def _network(plan: Plan, datapath: str, options: ClusterOptions) -> ClusterNetwork:
    limits = {} if options.pins is None else {int(Table.LEARNED): options.pins}
    return ClusterNetwork(
        *(plan, datapath, options.links),
        node_sysctls=options.servers.sysctls(),
        table_limits=limits,
    )


def _environment(controller_config: Path) -> dict[str, str]:
    return {**os.environ, "RESETBED_CONTROLLER": str(controller_config)}
