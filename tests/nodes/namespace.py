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

from nodes.guard import GuardSite
from nodes.segment import FourTuple
from tests.nodes.wire import CLIENT_MAC, DEADLINE_S, NODE_MAC, Deadline
from topologies.plan import VIP4, VIP6

T = TypeVar("T")

CLIENT_END = "client"
NODE_END = "node-eth0"
#: The addresses of crafted clients: on-link, resolved by hand.
CLIENTS = {4: "10.1.0.7", 6: "fd00:10:1::7"}
#: One more of each, whose segments only mark an instant.
MARKERS = {4: "10.1.0.9", 6: "fd00:10:1::9"}
VIPS = {4: VIP4, 6: VIP6}

_CLONE_NEWNET = 0x40000000
_STATES = ["", "ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2"]
_STATES += ["TIME-WAIT", "CLOSED", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"]


class Node:
    """A namespace that holds the virtual addresses, on a wire to this one."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        wait_for(self._has_own_namespace, "the node's namespace")
        _run(f"ip link add {CLIENT_END} type veth peer name {NODE_END}")
        _run(f"ip link set {NODE_END} netns {self.pid} address {NODE_MAC}")
        _run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
        _run(f"ip link set {CLIENT_END} address {CLIENT_MAC} up")
        for command in _NODE_SETUP:
            _run(f"nsenter --net=/proc/{self.pid}/ns/net {command}")

    @property
    def pid(self) -> int:
        """A process in the namespace."""
        return self._holder.pid

    @property
    def site(self) -> GuardSite:
        """Where a guard is to stand."""
        return GuardSite("c1n3", self.pid, NODE_END, NODE_MAC)

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
        is_ip4 = ":" not in connection.vip
        table = Path(f"/proc/{self.pid}/net/tcp{'' if is_ip4 else '6'}")
        local = _as_in_proc(connection.vip, connection.vip_port)
        remote = _as_in_proc(connection.client, connection.client_port)
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1:3] == [local, remote]:
                return _STATES[int(fields[3], 16)]
        return None

    def _has_own_namespace(self) -> bool:
        own = os.readlink("/proc/self/ns/net")
        return os.readlink(f"/proc/{self._holder.pid}/ns/net") != own


def wait_for(predicate: Callable[[], bool], what: str) -> None:
    """Return once the predicate holds. Raises :class:`Deadline` naming ``what``."""
    deadline = time.monotonic() + DEADLINE_S
    while not predicate():
        if time.monotonic() > deadline:
            raise Deadline(f"waited in vain for {what}")
        time.sleep(0.002)


_NODE_SETUP = [
    "ip link set lo up",
    f"ip link set {NODE_END} up",
    f"ip addr add {VIP4}/32 dev lo",
    f"ip addr add {VIP6}/128 dev lo nodad",
    f"ip addr add 10.2.1.3/8 dev {NODE_END}",
    f"ip addr add fd00:10:2:1::3/32 dev {NODE_END} nodad",
    *[
        f"ip neigh add {address} lladdr {CLIENT_MAC} dev {NODE_END} nud permanent"
        for address in (*CLIENTS.values(), *MARKERS.values())
    ],
]


def _as_in_proc(address: str, port: int) -> str:
    packed = ipaddress.ip_address(address).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)
