"""The network namespace of a node under test: its interface, its sockets, its table."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.nodes.wire import CLIENT_MAC, DEADLINE_S, Deadline
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4, VIP6
from topologies.domain.site import Site

T = TypeVar("T")

#: The address of this namespace's own TCP, a real client.
REAL_CLIENT = {4: "10.1.0.1", 6: "fd00:10:1::1"}
#: The addresses of crafted clients: on-link, resolved by hand.
CLIENTS = {4: "10.1.0.7", 6: "fd00:10:1::7"}
#: One more client address of each version, whose segments only mark a point in time.
MARKERS = {4: "10.1.0.9", 6: "fd00:10:1::9"}
VIPS = {4: VIP4, 6: VIP6}
#: The node's own addresses, which no guard minds.
OWN = {4: "10.2.1.3", 6: "fd00:10:2:1::3"}

_CLONE_NEWNET = 0x40000000
_STATES = ["", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2"]
_STATES += ["TIME-WAIT", "CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"]


class Node:
    """A namespace that holds the virtual addresses, on a wire to this one."""

    def __init__(self, number: int) -> None:
        self.name = f"c1n{number}"
        self.client_end = f"client{number}"
        self.node_end = f"{self.name}-eth0"
        self.mac = f"02:02:00:00:01:{number:02x}"
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        wait_for(self._has_own_namespace, "the node's namespace")
        ends = f"{self.client_end} address {CLIENT_MAC} type veth peer {self.node_end}"
        run(f"ip link add {ends} address {self.mac} netns {self.pid}")
        run(f"ip link set {self.client_end} up")
        for command in _node_setup(self.node_end):
            self.run(command)

    def run(self, command: str) -> str:
        """What a command prints that runs in the namespace."""
        return run(f"nsenter --net=/proc/{self.pid}/ns/net {command}")

    def close(self) -> None:
        """Remove the namespace and the wire to it."""
        run(f"ip link del {self.client_end}")
        self._holder.kill()
        self._holder.wait()

    def open_to_real_clients(self) -> None:
        """Let this namespace's own TCP reach the virtual addresses on this node."""
        for ip, length in ((4, 8), (6, 32)):
            address, nodad = REAL_CLIENT[ip], " nodad" if ip == 6 else ""
            run(f"ip address add {address}/{length} dev {self.client_end}{nodad}")
            run(_neighbour(VIPS[ip], self.mac, self.client_end))

    @property
    def pid(self) -> int:
        """A process in the namespace."""
        return self._holder.pid

    @property
    def site(self) -> Site:
        """Where a guard is to stand."""
        return Site(self.name, self.pid, self.node_end, self.mac)

    def inside(self, act: Callable[[], T]) -> T:
        """What ``act`` returns in the namespace: sockets made there stay there."""
        results: list[T] = []

        def enter_and_act() -> None:
            with open(f"/proc/{self.pid}/ns/net") as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            results.append(act())

        thread = threading.Thread(target=enter_and_act)
        thread.start()
        thread.join()
        return results[0]

    def listen(self, ip: int, backlog: int = 16) -> socket.socket:
        """A listening socket on the virtual address, on any free port."""
        family = socket.AF_INET if ip == 4 else socket.AF_INET6

        def make() -> socket.socket:
            server = socket.socket(family, socket.SOCK_STREAM)
            server.bind((VIPS[ip], 0))
            server.listen(backlog)
            server.settimeout(DEADLINE_S)
            return server

        return self.inside(make)

    def state_of(self, connection: FourTuple) -> str | None:
        """The state of a connection in the node's kernel, None if it has none."""
        is_ip4 = ":" not in connection.dst
        table = Path(f"/proc/{self.pid}/net/tcp{'' if is_ip4 else '6'}")
        local = _as_in_proc(connection.dst, connection.dport)
        remote = _as_in_proc(connection.src, connection.sport)
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1:3] == [local, remote]:
                return _STATES[int(fields[3], 16)]
        return None

    def _has_own_namespace(self) -> bool:
        own = os.readlink("/proc/self/ns/net")
        return os.readlink(f"/proc/{self._holder.pid}/ns/net") != own


def wait_for(predicate: Callable[[], bool], what: str) -> None:
    """Wait until the predicate holds. Raises :class:`Deadline` with ``what``."""
    deadline = time.monotonic() + DEADLINE_S
    while not predicate():
        if time.monotonic() > deadline:
            raise Deadline(f"waited in vain for {what}")
        time.sleep(0.002)


def run(command: str) -> str:
    """What a command prints. Raises :class:`subprocess.CalledProcessError`."""
    done = subprocess.run(
        command.split(), check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def _neighbour(address: str, mac: str, interface: str) -> str:
    return f"ip neigh add {address} lladdr {mac} dev {interface} nud permanent"


def _node_setup(interface: str) -> list[str]:
    clients = [*REAL_CLIENT.values(), *CLIENTS.values(), *MARKERS.values()]
    return [
        "ip link set lo up",
        f"ip link set {interface} up",
        f"ip address add {VIP4}/32 dev lo",
        f"ip address add {VIP6}/128 dev lo nodad",
        f"ip address add {OWN[4]}/8 dev {interface}",
        f"ip address add {OWN[6]}/32 dev {interface} nodad",
        *[_neighbour(client, CLIENT_MAC, interface) for client in clients],
    ]


def _as_in_proc(address: str, port: int) -> str:
    packed = ipaddress.ip_address(address).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
