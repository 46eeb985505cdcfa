"""Where a cluster is captured, and how much of it, so that the claim can be proven.

=========== ====================== ======== ==========================================
kind        interface              filter   what it alone proves
=========== ====================== ======== ==========================================
node        each node's eth0       strays   E1 the stray segment in, E2 the reset out,
                                            E5 the tier-2 copy in
fabric-port fabric's port to each  resets   E2 the reset in, E4 the tier-1 copies out, in
            chassis                         their order
fabric-port fabric's port to each  data     E2 the client's copy out; and how long each
            client                          request waited for its answer
uplink      each chassis's uplink  resets   E4 the tier-1 copy in; nothing goes back up
=========== ====================== ======== ==========================================

A client's own interface is the far end of a fabric port's veth: it shows nothing more,
so it is not captured. Only nodes and clients need more than segments with SYN, FIN or
RST: nodes only inwards, clients only what carries data, which is what keeps a run with
10,000 connections cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from topologies.domain.plan import FABRIC, Chassis, Node, Plan

#: Every TCP segment.
FULL = "full"
#: Segments that open or end a connection: SYN, FIN or RST set.
RESETS = "resets"
#: Segments that carry data, and what ``resets`` keeps.
DATA = "data"
#: Every segment that comes in; of those that go out, what ``resets`` keeps.
STRAYS = "strays"

NODE = "node"
UPLINK = "uplink"
FABRIC_PORT = "fabric-port"
CLIENT = "client"


@dataclass(frozen=True)
class CapturePoint:
    """One interface to capture: ``owner`` names whose network namespace it is in.

    ``label`` is the interface's name in the capture file: a node's or client's name,
    or the interface's own name where it belongs to a switch.
    """

    owner: str
    interface: str
    label: str
    kind: str
    filter: str

    def to_json(self, pid: int) -> dict[str, Any]:
        """What :mod:`experiments.instruments.capture` reads; ``pid`` is a process of the owner."""
        return {
            "pid": pid,
            "interface": self.interface,
            "label": self.label,
            "kind": self.kind,
            "filter": self.filter,
        }


def capture_points(plan: Plan) -> tuple[CapturePoint, ...]:
    """Every interface of the cluster that the claim's proof needs."""
    points = [
        CapturePoint(FABRIC, c.fabric_interface, c.fabric_interface, FABRIC_PORT, DATA)
        for c in plan.clients
    ]
    for chassis in plan.chassis:
        points += chassis_points(chassis)
    return tuple(points)


def chassis_points(chassis: Chassis) -> tuple[CapturePoint, ...]:
    """What a chassis adds: its port on the fabric, its uplink and its nodes."""
    fabric, uplink = chassis.fabric_interface, chassis.uplink_interface
    return (
        CapturePoint(FABRIC, fabric, fabric, FABRIC_PORT, RESETS),
        CapturePoint(chassis.name, uplink, uplink, UPLINK, RESETS),
        *(node_point(node) for node in chassis.nodes),
    )


def node_point(node: Node) -> CapturePoint:
    """What a node adds: its one interface."""
    return CapturePoint(node.name, node.interface, node.name, NODE, STRAYS)
