"""A running cluster: network, controller, guards and storage servers, kept alive.

It lives inside a sandbox (:mod:`topologies.sandbox`). Everything that touches machines
goes through one lock, so that a user's event, the supervisor and a status request never
drive Mininet at the same time.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.balancers import balancer_of
from controller.client import Applied, ControllerClient, ControllerError, SwitchStatus
from controller.membership import Membership, NodeState
from controller.policies import POLICIES, ResetPolicy
from controller.state import ClusterState
from experiments.cluster.children import Children, Program
from experiments.cluster.event_log import EventLog
from experiments.cluster.messenger import CableEnd, Messenger
from experiments.cluster.proactive import reset_moved
from experiments.events import EVENTS
from experiments.events.event import node_state
from experiments.instruments.capture_points import (
    CapturePoint,
    chassis_points,
    node_point,
)
from experiments.workloads import WORKLOADS, ClientJob
from nodes.forked import ForkServer
from nodes.guards import GuardCounters, GuardSite, open_guard
from nodes.server_ready import is_listening
from nodes.verdict import Mode
from topologies.network import ClusterNetwork
from topologies.plan import Chassis, Client, Node, Plan, vip
from topologies.shaping import UNSHAPED, LinkOptions
from topologies.switches import OVS_DIRECTORY, IsolatedSwitch, datapath_kind

#: How often the supervisor looks for programs that died unasked, in seconds.
SUPERVISION_PERIOD_S = 0.2
#: What of a core may go into looking whether guards are still in place.
GUARD_CHECK_SHARE = 0.02
READY_DEADLINE_S = 60.0
APPLY_DEADLINE_S = 20.0

#: What ``datapath_type`` means, for people.
DATAPATHS = {
    "system": "the kernel's datapath",
    "netdev": "Open vSwitch's userspace datapath (the kernel has no openvswitch module)",
}

Progress = Callable[[str], None]


class ClusterError(RuntimeError):
    """A cluster did not come up; the text ends with the log that tells why."""


@dataclass(frozen=True)
class ClusterOptions:
    """What a cluster is made of, besides its plan."""

    name: str
    policy: str
    balancer: str
    guard: str
    workload: str
    #: The module that is the controller's program, for ``python -m``.
    controller: str = "controller"
    #: How much nodes and chassis count, by name; see Balancer.with_weights.
    weights: Mapping[str, float] = field(default_factory=dict)
    links: LinkOptions = UNSHAPED


@dataclass(frozen=True)
class EventRecord:
    """One event as it happened; times are CLOCK_REALTIME seconds.

    ``applied_s``: every switch confirmed its tables by a barrier. ``settled_s``: and no
    cached datapath flow forwards by the old ones any more.
    """

    kind: str
    target: str
    requested_s: float
    applied_s: float
    settled_s: float | None
    before: ClusterState
    after: ClusterState

    def to_json(self) -> dict[str, Any]:
        """Kind, target and times, as in a run's summary."""
        return {
            "kind": self.kind,
            "target": self.target,
            "requested_s": self.requested_s,
            "applied_s": self.applied_s,
            "settled_s": self.settled_s,
        }


class Cluster:
    """The cluster of one plan. ``folder`` gets logs; ``runtime`` the sockets."""

    def __init__(
        self, plan: Plan, options: ClusterOptions, folder: Path, runtime: Path
    ) -> None:
        self.options = options
        self.folder = folder
        self.runtime = runtime
        self.state = ClusterState(
            plan,
            Membership.all_in_service(plan),
            POLICIES[options.policy],
            balancer_of(options.balancer, options.weights),
        )
        self.initial = self.state
        self.workload = WORKLOADS[options.workload]
        self.network = ClusterNetwork(plan, link=options.links)
        self.children = Children()
        self.clients = Children()
        self.guard = open_guard(options.guard, folder / "hosts")
        self.lock = threading.RLock()
        self.log = EventLog(folder / "events.jsonl")
        self.records: list[EventRecord] = []
        #: Connections that nodes have reset at events, by the policy's wish.
        self.proactive_resets = 0
        #: Told of each node and chassis that is wired in live, before it serves.
        self.watchers: list[Callable[[Sequence[CapturePoint]], None]] = []
        self._controller = ControllerClient(runtime / "controller.sock")
        self._retired: list[GuardCounters] = []
        #: On tmpfs, where a write that is acknowledged costs no disk a flush.
        self._store = runtime / "store"
        self._next_guard_check = 0.0
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._messenger: Messenger | None = None
        self._forks: ForkServer | None = None

    # ---------------------------------------------------------------- life cycle

    def start(self, progress: Progress = lambda text: None) -> None:
        """Brings everything up; returns when every node serves the VIP."""
        plan = self.state.plan
        (self.folder / "hosts").mkdir(exist_ok=True)
        self._store.mkdir(exist_ok=True)
        self.workload.prepare(self._store)
        self._write_controller_files()
        if self.state.policy.tells_guards:
            self._messenger = Messenger(self.runtime / "guards.sock", self._cable_ends)
        self.children.start("controller", self._start_controller)
        nodes = sum(1 for _ in plan.nodes)
        progress(
            f"wiring {len(plan.chassis)} chassis, {nodes} nodes; "
            f"switches on {DATAPATHS[datapath_kind()]}"
        )
        self.network.start(controller=f"unix:{self.runtime / 'ofp.sock'}")
        progress(f"starting {self.workload.name} servers and {self.guard.name} guards")
        self._serve(tuple(plan.nodes))
        progress("waiting for the switches' tables")
        self._await_in_sync()
        self._hasten(self.live_switches())
        self._await_listening(tuple(plan.nodes))
        self._supervisor.start()
        self.log.write("up", **self.describe())

    def stop(self) -> None:
        """Takes everything down, by process id."""
        self._stopping.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        with self.lock:
            self.clients.stop_all()
            self.children.stop_all()
            if self._forks:
                self._forks.close()
            if self._messenger:
                self._messenger.close()
            self.guard.close()
            self.network.stop()
            self.log.write("down")
            self.log.close()

    def describe(self) -> dict[str, Any]:
        """What this cluster is, for logs and results."""
        return {
            "name": self.options.name,
            "policy": self.options.policy,
            "balancer": self.options.balancer,
            "weights": dict(self.options.weights),
            "links": self.options.links.to_json(),
            "guard": self.guard.name,
            "datapath": datapath_kind(),
            "workload": self.workload.name,
            **self.state.plan.to_json(),
        }

    # -------------------------------------------------------------------- events

    def event(self, kind: str, target: str) -> EventRecord:
        """Makes one membership event happen; returns when the switches have it.

        Raises :class:`~experiments.events.EventError` or ``PlanError`` for an event
        that makes no sense, before anything is touched.
        """
        with self.lock:
            event, old = EVENTS[kind], self.state
            new = event.change(old, target).after(old)
            requested = time.time()
            self.log.write("event", kind=kind, target=target)
            event.before(self, old, new, target)
            self.state = new
            self.state.write(self.runtime / "state.json")
            done = self._apply()
            self._hasten(new.plan.switches.keys() - old.plan.switches.keys())
            record = EventRecord(
                kind, target, requested, done.applied_s, done.settled_s, old, new
            )
            self.records.append(record)
            self.log.write("switched", **record.to_json())
            if new.policy.resets_moved:
                self._reset_moved()
            return record

    def _reset_moved(self) -> None:
        """Every live node resets what the switches now send to another."""
        sites = [self.site(node) for node in self.live_nodes()]
        done = reset_moved(self.state, sites)
        self.proactive_resets += sum(done.values())
        self.log.write("reset moved connections", nodes=done)

    def _apply(self) -> Applied:
        """Tells the switches of the state, through a controller that may die meanwhile.

        Raises ``ControllerError`` when they do not have it within the deadline.
        """
        deadline = time.monotonic() + APPLY_DEADLINE_S
        while True:
            try:
                return self._controller.apply(self.state)
            except ControllerError as error:
                if time.monotonic() > deadline:
                    raise
                self.log.write("apply failed", error=str(error))
                self._revive()
                time.sleep(SUPERVISION_PERIOD_S)

    def power_off_node(self, node: Node) -> None:
        """Link down, programs killed, TCP state gone: a power failure."""
        self._forget((node,))
        self.network.power_off(node)

    def power_on_node(self, node: Node) -> None:
        """The node comes back empty and serves."""
        self.network.power_on(node)
        self._serve((node,))
        self._await_listening((node,))

    def power_off_chassis(self, chassis: Chassis) -> None:
        """The uplink first, then every node that was still up, and the switch."""
        self._forget(
            tuple(
                node
                for node in chassis.nodes
                if node_state(self.state, node.name) is not NodeState.FAILED
            )
        )
        self.network.power_off_chassis(chassis)

    def power_on_chassis(self, chassis: Chassis, nodes: tuple[Node, ...]) -> None:
        """The switch comes back, then those nodes, empty."""
        self.network.power_on_chassis(chassis)
        self._serve(nodes)
        self._await_listening(nodes)

    def build_node(self, plan: Plan, node: Node) -> None:
        """A new node is wired to its chassis and serves."""
        self.network.add_node(node)
        self._announce((node_point(node),))
        self._serve((node,))
        self._await_listening((node,))

    def build_chassis(self, plan: Plan, chassis: Chassis) -> None:
        """A new chassis is wired to the fabric with all its nodes, which serve."""
        self.network.add_chassis(chassis)
        self._announce(chassis_points(chassis))
        self._serve(chassis.nodes)
        self._await_listening(chassis.nodes)

    # -------------------------------------------------------------------- status

    def switch_status(self) -> dict[str, SwitchStatus]:
        """Switch name -> the controller's view of it; while it is away, it has none."""
        try:
            return self._controller.status()
        except ControllerError:
            unknown = SwitchStatus(connected=False, in_sync=False, entries=0)
            return dict.fromkeys(self.state.plan.switches, unknown)

    def guard_counters(self) -> list[GuardCounters]:
        """Counters of every guard, those of nodes that lost power included."""
        return [*self._retired, *self.guard.counters().values()]

    def pid(self, name: str) -> int:
        """A process in the network namespace of that host or switch."""
        pid: int = self.network.net[name].pid
        return pid

    def live_nodes(self) -> list[Node]:
        """Nodes that have power, in service or drained."""
        state = self.state
        return [
            node
            for chassis in state.plan.chassis
            for node in state.membership.reachable_nodes(chassis)
        ]

    def live_switches(self) -> list[str]:
        """Switches that have power, the fabric first."""
        failed = self.state.membership.failed_chassis
        return [name for name in self.state.plan.switches if name not in failed]

    def dump_flows(self, switch: str) -> str:
        """The flow table of a switch with its counters, as ovs-ofctl(8) prints it.

        Raises ``CalledProcessError`` where the switch does not answer.
        """
        target = f"unix:{OVS_DIRECTORY}/{switch}/{switch}.mgmt"
        done = subprocess.run(
            ["ovs-ofctl", "-OOpenFlow14", "--names", "dump-flows", target],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def save_flow_tables(self) -> None:
        """Writes the flow table of every live switch into ``flows/``."""
        (self.folder / "flows").mkdir(exist_ok=True)
        for switch in self.live_switches():
            (self.folder / "flows" / f"{switch}.txt").write_text(
                self.dump_flows(switch)
            )

    # ------------------------------------------------------------------- clients

    def client_job(
        self, client: Client, connections: int, seed: int, ip: int, interval_ms: float
    ) -> ClientJob:
        """What one client host is to do against this cluster's VIP."""
        return ClientJob(
            vip(ip), connections, seed, client.name, client.number, interval_ms
        )

    def start_client(self, job: ClientJob) -> None:
        """Starts a storage client; its report goes to ``hosts/NAME.jsonl``."""
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

    def report_path(self, host: str) -> Path:
        """Where the storage client on that host reports."""
        return self.folder / "hosts" / f"{host}.jsonl"

    # ------------------------------------------------------------------- innards

    def _forget(self, nodes: tuple[Node, ...]) -> None:
        """Nodes about to lose power: nothing of theirs is to be started again."""
        counters = self.guard.counters()
        for node in nodes:
            self.children.abandon(_server(node))
            self._retired.append(counters[node.name])
            self.guard.detach(node.name)

    def _announce(self, points: Sequence[CapturePoint]) -> None:
        for watcher in self.watchers:
            watcher(points)

    def _serve(self, nodes: tuple[Node, ...]) -> None:
        """Guards and storage servers for those nodes."""
        sites = [self.site(node) for node in nodes]
        self.guard.attach(sites, _mode(self.state.policy))
        for node in nodes:
            self.children.start(
                _server(node), functools.partial(self._start_server, node)
            )

    def site(self, node: Node) -> GuardSite:
        """Where that node's guard works."""
        pid = self.pid(node.name)
        return GuardSite(node.name, pid, node.interface, node.mac)

    def _cable_ends(self) -> list[CableEnd]:
        """The far end of each live node's cable, in its chassis switch."""
        return [
            CableEnd(self.pid(f"c{node.chassis}"), node.switch_interface, node.mac)
            for node in self.live_nodes()
        ]

    def _start_server(self, node: Node) -> Program:
        """A Python program is forked for each node; what is not, is just started."""
        log = self.folder / "hosts" / f"{node.name}.log"
        interpreter, program, *arguments = self.workload.server(self._store)
        if interpreter != sys.executable:
            argv = [interpreter, program, *arguments]
            return self.network.popen(node.name, argv, stdout=log, stderr=log)
        if self._forks is None:
            self._forks = ForkServer(Path(program))
        return self._forks.start(self.pid(node.name), arguments, log)

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

    def _hasten(self, switches: Iterable[str]) -> None:
        """Once connected: a controller that dies and returns is found at once."""
        IsolatedSwitch.hasten([self.network.switch(name) for name in switches])

    def _await_in_sync(self) -> None:
        """Waits for the first tables. Raises :class:`ClusterError` where none come."""
        deadline = time.monotonic() + READY_DEADLINE_S
        process = self.children.running["controller"].process
        while True:
            try:
                self._controller.wait_in_sync(timeout_s=1.0)
                return
            except ControllerError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    log = self.folder / "hosts" / "controller.log"
                    raise ClusterError(f"{error}\n{_end_of(log)}") from error

    def _await_listening(self, nodes: tuple[Node, ...]) -> None:
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
                log = self.folder / "hosts" / f"{waiting[0].name}.log"
                raise ClusterError(
                    f"no {self.workload.name} server listens on {names}\n{_end_of(log)}"
                )
            if waiting:
                time.sleep(0.01)

    def _write_controller_files(self) -> None:
        self.state.write(self.runtime / "state.json")
        config = {
            "state": str(self.runtime / "state.json"),
            "socket": str(self.runtime / "controller.sock"),
            "unixctl": f"{OVS_DIRECTORY}/{{switch}}/vswitchd.ctl",
            "guards": str(self.runtime / "guards.sock"),
        }
        (self.runtime / "controller.json").write_text(json.dumps(config))

    def _supervise(self) -> None:
        """Starts again whatever died unasked: programs, guards, switch daemons."""
        while not self._stopping.wait(SUPERVISION_PERIOD_S):
            with self.lock:
                self._revive()

    def _revive(self) -> None:
        for child in self.children.revive():
            self.log.write("restarted", program=child.name)
        if time.monotonic() >= self._next_guard_check:
            for name in self.guard.check():
                self.log.write("restarted", program=f"guard of {name}")
            cost = self.guard.check_cost_s * len(self.live_nodes())
            self._next_guard_check = time.monotonic() + cost / GUARD_CHECK_SHARE
        for name in self.live_switches():
            switch = self.network.switch(name)
            for daemon in switch.dead_daemons():
                self.log.write("restarted", program=f"{daemon} of {name}")
            if not switch.alive():
                switch.restart()


def _end_of(log: Path, lines: int = 8) -> str:
    """The last lines of a log, with its path."""
    text = log.read_text(errors="replace").strip() if log.exists() else ""
    return "\n".join([f"the end of {log}:", *text.splitlines()[-lines:]])


def _mode(policy: ResetPolicy) -> Mode:
    """What the policy wants of the nodes' guards."""
    if policy.passes_on:
        return Mode.PASS_ON
    return Mode.ANSWER if policy.guard_answers else Mode.SILENT


def _server(node: Node) -> str:
    return f"server {node.name}"


def _environment(controller_config: Path) -> dict[str, str]:
    return {**os.environ, "RESETBED_CONTROLLER": str(controller_config)}
