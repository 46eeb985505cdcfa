"""The interfaces of a cluster that are captured, and their filters.

=========== ====================== ======== ==========================================
kind        interface              filter   what only it proves
=========== ====================== ======== ==========================================
node        each node's eth0       strays   E1 the stray segment in, E2 the reset out,
                                            E5 the tier-2 copy in
fabric-port fabric's port to each  resets   E2 the reset in, E4 the tier-1 copies out, in
            chassis                         their order
fabric-port fabric's port to each  data     E2 the client's copy out, and how long each
            client                          request waited for its answer
uplink      each chassis's uplink  resets   E4 the tier-1 copy in; no copy goes back
=========== ====================== ======== ==========================================

A client's own interface is the other end of a fabric port's veth pair. It shows nothing
more, so it is not captured. Only nodes and clients need more than segments with SYN, FIN
or RST: nodes only inbound segments, clients only segments with data. This keeps a run
with 10,000 connections cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from topologies.domain.plan import FABRIC, Chassis, Node, Plan

#: Every TCP segment.
FULL = "full"
#: Segments that open or end a connection: SYN, FIN or RST set.
RESETS = "resets"
#: Segments with data, and those of ``resets``.
DATA = "data"
#: Every inbound segment; of the outbound ones, those of ``resets``.
STRAYS = "strays"

NODE = "node"
UPLINK = "uplink"
FABRIC_PORT = "fabric-port"
CLIENT = "client"


@dataclass(frozen=True)
class CapturePoint:
    """One interface to capture. ``owner``: the host in whose network namespace it is.

    ``label``: the interface's name in the capture file: a node's or client's name,
    or the interface's own name if it belongs to a switch.
    """

    owner: str
    interface: str
    label: str
    kind: str
    filter: str

    def to_json(self, pid: int) -> dict[str, Any]:
        """The input of :mod:`experiments.instruments.capture`. ``pid``: a process of the owner."""
        return {
            "pid": pid,
            "interface": self.interface,
            "label": self.label,
            "kind": self.kind,
            "filter": self.filter,
        }


def capture_points(plan: Plan) -> tuple[CapturePoint, ...]:
    """Every interface of the cluster that the claim chart needs."""
    points = [
        CapturePoint(FABRIC, c.fabric_interface, c.fabric_interface, FABRIC_PORT, DATA)
        for c in plan.clients
    ]
    for chassis in plan.chassis:
        points += chassis_points(chassis)
    return tuple(points)


def chassis_points(chassis: Chassis) -> tuple[CapturePoint, ...]:
    """The interfaces of a chassis: its port on the fabric, its uplink, its nodes."""
    fabric, uplink = chassis.fabric_interface, chassis.uplink_interface
    return (
        CapturePoint(FABRIC, fabric, fabric, FABRIC_PORT, RESETS),
        CapturePoint(chassis.name, uplink, uplink, UPLINK, RESETS),
        *(node_point(node) for node in chassis.nodes),
    )


def node_point(node: Node) -> CapturePoint:
    """The one interface of a node."""
    return CapturePoint(node.name, node.interface, node.name, NODE, STRAYS)
