"""The plan of a cluster: every name, address, MAC, port and datapath id, as pure data.

Nothing here touches a machine. Only the standard library is imported, so Debian's own
``mn`` (system Python, no virtual environment) can load it too.

An element's numbers depend on its own position only, not on the number of others. So a
cluster can grow by a chassis, a node or a client, and nothing else is renumbered.

======== ======================== ============================= ====================
element  IPv4                     IPv6                          MAC
======== ======================== ============================= ====================
VIP      10.0.0.1                 fd00:10::1                    02:00:00:00:00:01
client   10.1.0.i                 fd00:10:1::i                  02:01:00:00:00:0i
node     10.2.c.n                 fd00:10:2:c::n                02:02:00:00:0c:0n
======== ======================== ============================= ====================

All of it is on-link in 10.0.0.0/8 and fd00:10::/32; every node also holds the VIP.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FABRIC = "fabric"
FABRIC_DPID = 0xFAB
CHASSIS_DPID_BASE = 0xC00

VIP4 = "10.0.0.1"
VIP6 = "fd00:10::1"
PREFIX4 = 8
PREFIX6 = 32

#: MAC of the VIP, which clients resolve it to.
VIP_MAC = "02:00:00:00:00:01"
#: MAC of the nodes' gateway to clients: the chassis switch, which answers all ARP.
GATEWAY_MAC = "02:00:00:00:00:02"
#: Addresses of that gateway; no interface has them. With a gateway each node needs only
#: one neighbour entry, a permanent one, for any number of clients. The kernel has one
#: neighbour table for all namespaces, with at most 1024 entries that are not permanent
#: (``neigh_alloc``, arp(7)).
GATEWAY4 = "10.3.0.1"
GATEWAY6 = "fd00:10:3::1"
CLIENTS4 = "10.1.0.0/16"
CLIENTS6 = "fd00:10:1::/48"
#: Ethernet *source* of a fan-out copy (claim E3). Only switches write it. From a client's
#: port the fabric admits only that client's source MAC, so no packet of a client can
#: carry the mark past the first tier.
FANOUT_MAC = "02:00:00:00:00:0f"

#: Ethernet destination of a stray that a node redirects to its connection's earlier
#: owner, and source of one at the last node that is asked; only switches write the source.
#: With a time other than 0 in its bytes 2 and 3: source of a stray at a node that is not
#: the last, and destination of the same stray when this node redirects it too.
SECOND_CHANCE_MAC = "02:00:00:00:00:0e"
#: The bits of it that are the same for every time.
SECOND_CHANCE_MASK = "ff:ff:00:00:ff:ff"
#: Ethernet source, but for its last byte, of a stray from the fabric to a chassis.
SEARCH_MAC = "02:0e:00:00:00:00"
SEARCH_MASK = "ff:ff:ff:ff:ff:00"
#: Ethernet destination with which a chassis hashes it, as the client's own segment.
SEARCH_HASH_MAC = "02:0f:00:00:00:00"

#: Ethernet destination of a client's own reset that a node sends back to the switches,
#: for the connection's owner; and source of each copy of it. Only switches write the
#: source, and only nodes may send to the destination.
RELAY_MAC = "02:00:00:00:00:0d"

#: Ethernet destination of a request for a keepalive: the frame leaves a node's healer and
#: never its interface, because the node's guard turns it into the keepalive.
PROBE_MAC = "02:00:00:00:00:0c"

#: Port of a chassis switch that leads to the fabric; node ``n`` is on port ``n``.
UPLINK_PORT = 1000
#: Client ``i`` is on the fabric's port ``CLIENT_PORT_BASE + i``; chassis ``c`` on ``c``.
CLIENT_PORT_BASE = 1000

#: The loop cable connects two ports of the fabric switch. A frame that goes through it is
#: processed after all outputs of the first pass. So a client's reset precedes every further
#: one on the wire. (Open vSwitch's userspace datapath sends the outputs of one packet port
#: by port, in no guaranteed order.)
LOOP_OUT_PORT = 901
LOOP_IN_PORT = 902
LOOP_OUT_INTERFACE = f"{FABRIC}-loop-out"
LOOP_IN_INTERFACE = f"{FABRIC}-loop-in"

MAX_CHASSIS = 250
MAX_NODES = 250
MAX_CLIENTS = 250

_NODE_NAME = re.compile(r"c([1-9][0-9]*)n([1-9][0-9]*)")
_CHASSIS_NAME = re.compile(r"c([1-9][0-9]*)")


class PlanError(ValueError):
    """A cluster that cannot be planned: a size out of range or an unknown name."""


@dataclass(frozen=True, order=True)
class Node:
    """One storage node: ``number`` counts from 1 inside chassis number ``chassis``."""

    chassis: int
    number: int

    @property
    def name(self) -> str:
        """Host name, e.g. ``c1n2``."""
        return f"c{self.chassis}n{self.number}"

    @property
    def ipv4(self) -> str:
        """The node's own IPv4 address (it holds the VIP too)."""
        return f"10.2.{self.chassis}.{self.number}"

    @property
    def ipv6(self) -> str:
        """The node's own IPv6 address."""
        return str(
            ipaddress.IPv6Address(f"fd00:10:2:{self.chassis:x}::{self.number:x}")
        )

    @property
    def mac(self) -> str:
        """MAC of the node's one interface."""
        return f"02:02:00:00:{self.chassis:02x}:{self.number:02x}"

    @property
    def interface(self) -> str:
        """Name of the node's one interface, inside the node."""
        return f"{self.name}-eth0"

    @property
    def port(self) -> int:
        """OpenFlow port of its chassis switch that leads to this node."""
        return self.number

    @property
    def switch_interface(self) -> str:
        """Name of the chassis switch's interface that leads to this node."""
        return f"c{self.chassis}-n{self.number}"


@dataclass(frozen=True, order=True)
class Chassis:
    """One chassis: a tier-2 load balancer and the storage nodes behind it."""

    number: int
    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Name of the chassis and of its switch, e.g. ``c1``."""
        return f"c{self.number}"

    @property
    def dpid(self) -> int:
        """OpenFlow datapath id of the chassis switch."""
        return CHASSIS_DPID_BASE + self.number

    @property
    def fabric_port(self) -> int:
        """OpenFlow port of the fabric switch that leads to this chassis."""
        return self.number

    @property
    def fabric_interface(self) -> str:
        """Name of the fabric switch's interface that leads to this chassis."""
        return f"{FABRIC}-{self.name}"

    @property
    def uplink_interface(self) -> str:
        """Name of the chassis switch's interface that leads to the fabric."""
        return f"{self.name}-up"


@dataclass(frozen=True, order=True)
class Client:
    """One storage client, attached to the fabric switch."""

    number: int

    @property
    def name(self) -> str:
        """Host name, e.g. ``h1``."""
        return f"h{self.number}"

    @property
    def ipv4(self) -> str:
        """The client's IPv4 address."""
        return f"10.1.0.{self.number}"

    @property
    def ipv6(self) -> str:
        """The client's IPv6 address."""
        return str(ipaddress.IPv6Address(f"fd00:10:1::{self.number:x}"))

    @property
    def mac(self) -> str:
        """MAC of the client's one interface."""
        return f"02:01:00:00:00:{self.number:02x}"

    @property
    def interface(self) -> str:
        """Name of the client's one interface, inside the client."""
        return f"{self.name}-eth0"

    @property
    def fabric_port(self) -> int:
        """OpenFlow port of the fabric switch that leads to this client."""
        return CLIENT_PORT_BASE + self.number

    @property
    def fabric_interface(self) -> str:
        """Name of the fabric switch's interface that leads to this client."""
        return f"{FABRIC}-{self.name}"


@dataclass(frozen=True)
class Plan:
    """A whole cluster: one fabric switch, its chassis in order, its clients in order."""

    chassis: tuple[Chassis, ...]
    clients: tuple[Client, ...]

    @classmethod
    def build(cls, chassis: int = 2, nodes: int = 3, clients: int = 2) -> Plan:
        """A cluster of ``chassis`` chassis of ``nodes`` nodes each.

        Raises :class:`PlanError` for a size out of range.
        """
        _check_range("chassis", chassis, MAX_CHASSIS)
        return cls.of_shape([nodes] * chassis, clients)

    @classmethod
    def of_shape(cls, nodes_per_chassis: list[int], clients: int) -> Plan:
        """A cluster whose chassis ``i + 1`` has ``nodes_per_chassis[i]`` nodes."""
        _check_range("chassis", len(nodes_per_chassis), MAX_CHASSIS)
        _check_range("clients", clients, MAX_CLIENTS)
        for count in nodes_per_chassis:
            _check_range("nodes", count, MAX_NODES)
        return cls(
            tuple(
                Chassis(c, tuple(Node(c, n) for n in range(1, count + 1)))
                for c, count in enumerate(nodes_per_chassis, start=1)
            ),
            tuple(Client(i) for i in range(1, clients + 1)),
        )

    @property
    def nodes(self) -> Iterator[Node]:
        """Every storage node, chassis by chassis."""
        for chassis in self.chassis:
            yield from chassis.nodes

    @property
    def switches(self) -> dict[str, int]:
        """Name -> datapath id of every switch, the fabric first."""
        return {FABRIC: FABRIC_DPID} | {c.name: c.dpid for c in self.chassis}

    def with_node(self, chassis: str) -> tuple[Plan, Node]:
        """This plan with one more node at the end of ``chassis``, and that node."""
        shape = [len(c.nodes) for c in self.chassis]
        index = self.find_chassis(chassis).number - 1
        shape[index] += 1
        grown = Plan.of_shape(shape, len(self.clients))
        return grown, grown.chassis[index].nodes[-1]

    def with_chassis(self, nodes: int) -> tuple[Plan, Chassis]:
        """This plan with one more chassis of ``nodes`` nodes, and that chassis."""
        shape = [len(c.nodes) for c in self.chassis] + [nodes]
        grown = Plan.of_shape(shape, len(self.clients))
        return grown, grown.chassis[-1]

    def find_chassis(self, name: str) -> Chassis:
        """The chassis of that name. Raises :class:`PlanError`, which lists all chassis."""
        match = _CHASSIS_NAME.fullmatch(name)
        if match and int(match[1]) <= len(self.chassis):
            return self.chassis[int(match[1]) - 1]
        raise PlanError(f"no chassis {name!r}; there are c1 to c{len(self.chassis)}")

    def find_node(self, name: str) -> Node:
        """The node of that name. Raises :class:`PlanError`, which lists all nodes."""
        match = _NODE_NAME.fullmatch(name)
        if match and int(match[1]) <= len(self.chassis):
            nodes = self.chassis[int(match[1]) - 1].nodes
            if int(match[2]) <= len(nodes):
                return nodes[int(match[2]) - 1]
            raise PlanError(f"no node {name!r}; c{match[1]} has n1 to n{len(nodes)}")
        raise PlanError(
            f"no node {name!r}; nodes are named c1n1 to {self.chassis[-1].nodes[-1].name}"
        )

    def to_json(self) -> dict[str, Any]:
        """The plan's shape, from which it can be rebuilt."""
        return {
            "nodes_per_chassis": [len(c.nodes) for c in self.chassis],
            "clients": len(self.clients),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Plan:
        """The plan that :meth:`to_json` described."""
        return cls.of_shape(list(data["nodes_per_chassis"]), int(data["clients"]))


def is_member_name(name: str) -> bool:
    """Whether a chassis or a node can have that name, now or after it is added.

    >>> [is_member_name(name) for name in ("c3", "c1n12", "h1", "c1n")]
    [True, True, False, False]
    """
    return any(form.fullmatch(name) for form in (_CHASSIS_NAME, _NODE_NAME))


def vip(ip_version: int) -> str:
    """The virtual address of that IP version (4 or 6)."""
    return {4: VIP4, 6: VIP6}[ip_version]


def client_address(client: Client, ip_version: int) -> str:
    """That client's address of that IP version (4 or 6)."""
    return {4: client.ipv4, 6: client.ipv6}[ip_version]


def _check_range(what: str, value: int, maximum: int) -> None:
    if not 1 <= value <= maximum:
        raise PlanError(f"{what}: {value} is out of range, 1 to {maximum}")
