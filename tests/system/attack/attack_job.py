"""Forges segments against the connections of a live cluster; runs inside a sandbox.

``python -m tests.system.attack.attack_job JOB``, where ``JOB`` is a JSON object: ``count``
(frames for each IP version), ``seed``, ``guard``, ``copies`` (the budget: a second, and at
once), ``result`` (the file for what was seen).
One client has echo and NBD connections that keep talking. Frames leave its own host and
that of another client. Nothing is judged here.
"""

from __future__ import annotations

import itertools
import json
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from experiments.chaos.mixed_workload import MIXED
from experiments.cluster import fan_out_budget
from experiments.cluster.fan_out_budget import budget_of, copies_of_a_reset
from experiments.cluster.flow_dump import dump_flows
from experiments.cluster.live_cluster import Cluster, ClusterOptions
from experiments.cluster.status import counters
from experiments.instruments.socket_table import sockets_of
from experiments.running.sandbox_job import print_progress, runtime
from experiments.workloads.echo import ECHO_PORT
from experiments.workloads.workload import program
from nodes.clients.client_report import ClientReport, parse_report
from nodes.kernel.network_namespace import enter_netns
from nodes.kernel.socket_dump import SocketDump
from nodes.servers.nbd_server import NBD_PORT
from nodes.servers.server_ready import is_listening
from tests.nodes.fuzz.raw_frames import read_frame
from tests.system.attack.forged_segments import KINDS, Attack, Target, exact_reset
from topologies.domain.connection import FourTuple, format_connection
from topologies.domain.plan import (
    FABRIC,
    FANOUT_MAC,
    RELAY_MAC,
    VIP4,
    VIP6,
    Client,
    Plan,
)

PLAN = Plan.build(chassis=2, nodes=3, clients=2)
VICTIM, ATTACKER = PLAN.clients
#: Connections of each kind of client and each IP version: 48 in all.
CONNECTIONS = 12
READY_S = 30.0
#: Frames between two readings of the connections' numbers, and a second at most. More
#: than the switches can carry would be lost before it meets anything.
BATCH, RATE = 2000, 20_000
#: Longest time for one reading. Every connection speaks in that time.
READING_S = 1.0
#: The switches have dealt with all frames when nothing has left for that time.
QUIET_S = 0.25
ETH_P_ALL = 3  # linux/if_ether.h


class Victims:
    """The victim's programs, and their reports."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        """Start them all; return when every connection is open."""
        self.connections = 4 * CONNECTIONS
        self._cluster = cluster
        self._reports = [
            cluster.folder / "hosts" / f"{name}{version}.jsonl"
            for name, version in itertools.product(("echo", "nbd"), (4, 6))
        ]
        _await_echo(cluster)
        self._programs = [
            cluster.network.popen(
                VICTIM.name, argv, stdout=path, stderr=path.with_suffix(".log")
            )
            for path, argv in zip(self._reports, self._commands(seed), strict=True)
        ]
        deadline = time.monotonic() + READY_S
        while not all(report.ports for report in self.reports()):
            if time.monotonic() > deadline:
                raise TimeoutError("the victim's connections do not open")
            time.sleep(0.05)

    def reports(self) -> list[ClientReport]:
        """What the programs have reported so far."""
        return [parse_report(path) for path in self._reports if path.exists()]

    def stop(self) -> list[dict[str, Any]]:
        """End them; what each says at the end, and of its connections."""
        for one in self._programs:
            one.terminate()
        for one in self._programs:
            one.wait()
        return [
            {
                "summary": asdict(report.summary) if report.summary else None,
                "events": [
                    event.kind
                    for event in report.events
                    if event.kind not in ("ready", "summary")
                ],
            }
            for report in self.reports()
        ]

    def _commands(self, seed: int) -> Iterator[list[str]]:
        ports = {"echo": ECHO_PORT, "nbd": NBD_PORT}
        for (name, port), target in itertools.product(ports.items(), (VIP4, VIP6)):
            options = ["--blocks=8", f"--client-index={':' in target:d}"]
            yield [
                *(sys.executable, program(f"clients/{name}_client")),
                *(f"--target={target}", f"--port={port}", f"--seed={seed}"),
                *(f"--connections={CONNECTIONS}", f"--stream={name}{target}"),
                *(() if name == "echo" else options),
            ]


def _await_echo(cluster: Cluster) -> None:
    """Until every node's echo server listens; the cluster has waited for NBD only."""
    deadline = time.monotonic() + READY_S
    for node in PLAN.nodes:
        while not is_listening(cluster.pid(node.name), ECHO_PORT):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no echo server on {node.name}")
            time.sleep(0.05)


class Readings:
    """The numbers of the victim's connections, read off what their servers send."""

    def __init__(self, pid: int) -> None:
        """``pid``: in the victim's network."""
        self._pid = pid
        #: Connections of which the server has received an odd number of octets. Of these
        #: nothing could be said.
        self.odd: set[FourTuple] = set()
        self._first: dict[FourTuple, int] = {}

    def read(self, wanted: set[FourTuple]) -> list[Target]:
        """The numbers of those connections that spoke in time, and all do."""
        found: dict[FourTuple, Target] = {}
        with enter_netns(self._pid):
            wire = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)
            )
        with wire:
            wire.bind((VICTIM.interface, ETH_P_ALL))
            wire.settimeout(READING_S)
            deadline = time.monotonic() + READING_S
            while wanted - found.keys() and time.monotonic() < deadline:
                frame, (_, _, kind, _, _) = wire.recvfrom(65536)
                if kind == socket.PACKET_HOST and (target := _target(frame)):
                    found[target.connection] = target
        for one in found.values():
            first = self._first.setdefault(one.connection, one.rcv_nxt)
            if (one.rcv_nxt - first) % 2:
                self.odd.add(one.connection)
        return [found[one] for one in sorted(found.keys() & wanted)]


def _target(frame: bytes) -> Target | None:
    """The connection's numbers, from a segment that its server sent."""
    segment = read_frame(frame)
    if segment is None or segment.src not in (VIP4, VIP6):
        return None
    return Target(segment.egress_connection, segment.ack, segment.end)


class Gun:
    """Sends frames of every kind, from both hosts, and counts them."""

    def __init__(self, cluster: Cluster, readings: Readings, seed: int) -> None:
        self.sent: Counter[str] = Counter()
        self._rng = Random(seed)
        self._readings = readings
        self._sockets = {
            client.name: _packet_socket(cluster, client) for client in PLAN.clients
        }

    def fire(self, connections: set[FourTuple], count: int) -> None:
        """Send ``count`` frames against these connections, not faster than RATE."""
        left, next_s = count, time.monotonic()
        while left:
            targets = self._readings.read(connections)
            if not targets:
                return  # all have ended, which is for others to judge
            for _ in range(min(left, BATCH)):
                self._send_one(self._rng.choice(targets))
            left -= min(left, BATCH)
            next_s = max(next_s + BATCH / RATE, time.monotonic())
            time.sleep(next_s - time.monotonic() if next_s > time.monotonic() else 0)

    def hit(self, connection: FourTuple) -> None:
        """Send the one reset that has to end the connection."""
        for target in self._readings.read({connection}):
            frame = exact_reset(Attack(self._rng, target, VICTIM, ATTACKER))
            self._sockets[VICTIM.name].send(frame)

    def close(self) -> None:
        """Close the sockets."""
        for one in self._sockets.values():
            one.close()

    def _send_one(self, target: Target) -> None:
        kind = self._rng.choice(KINDS)
        frame = kind.forge(Attack(self._rng, target, VICTIM, ATTACKER))
        host = VICTIM if kind.next_door else ATTACKER
        self._sockets[host.name].send(frame)
        self.sent[kind.name] += 1


def _packet_socket(cluster: Cluster, client: Client) -> socket.socket:
    with enter_netns(cluster.pid(client.name)):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind((client.interface, 0))
    return sender


class Nodes:
    """The nodes' sockets, by the kernels' word. A socket has one cookie for its life."""

    def __init__(self, cluster: Cluster) -> None:
        self._dumps = []
        for node in PLAN.nodes:
            with enter_netns(cluster.pid(node.name)):
                self._dumps.append(SocketDump())

    def held(self) -> dict[FourTuple, int]:
        """The victim's connections, and the cookie of each one's socket."""
        own = (VICTIM.ipv4, VICTIM.ipv6)
        return {
            one.connection: one.cookie
            for dump in self._dumps
            for one in dump.connections()
            if one.connection.src in own and one.silent_s is not None
        }


def copies(cluster: Cluster) -> int:
    """Copies of resets and relays that the switches made so far, by their flow tables:
    those that arrived at chassis, and those that went on to nodes."""
    arrived = to_nodes = 0
    for chassis in PLAN.chassis:
        for line in dump_flows(chassis.name).splitlines():
            match, _, _ = line.partition("actions=")
            if any(f"dl_src={mac}" in match for mac in (FANOUT_MAC, RELAY_MAC)):
                found = re.search(r"n_packets=(\d+)", line)
                if "actions=drop" not in line and found:
                    arrived += int(found[1])
                    to_nodes += int(found[1]) * len(chassis.nodes)
    return arrived + to_nodes


def frames_out(cluster: Cluster, client: Client) -> int:
    """Frames that the fabric has sent to a client."""
    path = f"/sys/class/net/{client.fabric_interface}/statistics/tx_packets"
    enter = ["mnexec", "-a", str(cluster.pid(FABRIC)), "cat", path]
    return int(subprocess.run(enter, capture_output=True, check=True).stdout)


def copies_allowed(cluster: Cluster, seconds: float) -> float:
    """Copies that the budget allows one client's address in that time."""
    policy = cluster.state.policy
    limit = budget_of(PLAN, policy).client
    fan_outs = limit.rate * seconds + limit.burst
    return fan_outs * copies_of_a_reset(PLAN, policy)


def client_sockets(cluster: Cluster) -> int:
    """The victim's own sockets that are established."""
    return sum(1 for _ in sockets_of(cluster.pid(VICTIM.name), ("ESTABLISHED",)))


def _salvo(
    cluster: Cluster, gun: Gun, connections: set[FourTuple], count: int
) -> dict[str, Any]:
    """Fire at these connections; what was sent, and what came of it in the switches."""
    gun.sent.clear()
    start_s, copies_before = time.monotonic(), copies(cluster)
    answered = frames_out(cluster, ATTACKER)
    gun.fire(connections, count)
    _await_quiet(cluster)
    copied = copies(cluster) - copies_before
    took_s = time.monotonic() - start_s
    return {
        "sent": dict(gun.sent),
        "seconds": round(took_s, 1),
        "answers": frames_out(cluster, ATTACKER) - answered,
        "copies": copied,
        "allowed": copies_allowed(cluster, took_s),
        "dropped": cluster.dropped_frames(),
    }


def _await_quiet(cluster: Cluster) -> None:
    """Until nothing more is sent to the attacker: it has no traffic of its own."""
    before = -1
    while (now := frames_out(cluster, ATTACKER)) != before:
        before = now
        time.sleep(QUIET_S)


def hit_one(gun: Gun, nodes: Nodes, victims: Victims, victim: FourTuple) -> list[str]:
    """End one connection by an exact reset; which ones the nodes no longer hold.

    Returns when its client has heard of it. It takes a few shots: the connection goes on,
    and the number must be right.
    """
    before = nodes.held()
    deadline = time.monotonic() + READY_S
    while nodes.held().get(victim) == before.get(victim):
        if time.monotonic() > deadline:
            return []
        gun.hit(victim)
    while not any(report.of_kind("reset") for report in victims.reports()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    after = nodes.held()
    return [format_connection(one) for one in before if after.get(one) != before[one]]


def attack(cluster: Cluster, count: int, seed: int) -> dict[str, Any]:
    """Attack IPv4 and IPv6 connections; returns what was seen."""
    victims, nodes = Victims(cluster, seed), Nodes(cluster)
    readings = Readings(cluster.pid(VICTIM.name))
    seen: dict[str, Any] = {"connections": victims.connections, "versions": {}}
    with closing(Gun(cluster, readings, seed)) as gun:
        before = nodes.held()
        for version, vip in ((4, VIP4), (6, VIP6)):
            wanted = {one for one in before if one.dst == vip}
            seen["versions"][version] = _salvo(cluster, gun, wanted, count)
            print_progress(f"IPv{version}: {seen['versions'][version]}")
        after = nodes.held()
        seen["held_before"] = len(before)
        seen["killed"] = [
            format_connection(one) for one in before if after.get(one) != before[one]
        ]
        seen["client_sockets"] = client_sockets(cluster)
        seen["odd"] = len(readings.odd)
        seen["counters"] = counters(cluster)
        seen["clients"] = [
            [event.kind for event in report.events] for report in victims.reports()
        ]
        victim = min(before)
        seen["hit"] = format_connection(victim)
        seen["killed_by_hit"] = hit_one(gun, nodes, victims, victim)
    seen["ended"] = victims.stop()
    seen["faults"] = cluster.faults
    return seen


def main(text: str) -> int:
    """Run the job in the JSON text; what was seen goes to its file ``result``."""
    job = json.loads(text)
    fan_out_budget.COPIES_PER_S, fan_out_budget.COPIES_AT_ONCE = job["copies"]
    options = ClusterOptions(
        name=runtime().name,
        policy="flood",
        balancer="modulo",
        guard=job["guard"],
        workload="nbd",
    )
    folder = runtime() / "cluster"
    folder.mkdir()
    cluster = Cluster(PLAN, options, folder, runtime(), MIXED)
    try:
        cluster.start(print_progress)
        seen = attack(cluster, job["count"], job["seed"])
    finally:
        cluster.stop()
    Path(job["result"]).write_text(json.dumps(seen, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
