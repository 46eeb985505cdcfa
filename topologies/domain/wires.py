"""Every link of a cluster as data; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from topologies.domain.plan import (
    FABRIC,
    LOOP_IN_INTERFACE,
    LOOP_OUT_INTERFACE,
    Plan,
)


class Wire(NamedTuple):
    """A link: two elements by name, and the interface of each. The second is the lower."""

    upper: str
    upper_interface: str
    lower: str
    lower_interface: str


#: The cable from the fabric switch to itself, which copies of resets go through.
LOOP = Wire(FABRIC, LOOP_OUT_INTERFACE, FABRIC, LOOP_IN_INTERFACE)


def wires(plan: Plan) -> Iterator[Wire]:
    """Clients to the fabric, the fabric to chassis, each chassis to its nodes."""
    for client in plan.clients:
        yield Wire(FABRIC, client.fabric_interface, client.name, client.interface)
    for chassis in plan.chassis:
        up = chassis.uplink_interface
        yield Wire(FABRIC, chassis.fabric_interface, chassis.name, up)
        for node in chassis.nodes:
            yield Wire(chassis.name, node.switch_interface, node.name, node.interface)
