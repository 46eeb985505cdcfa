"""Predicts the storage node that the two tiers send a connection to; pure.

The hash can be computed outside the switch. So an experiment knows before a membership
event which connections will move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from topologies.domain.balancer import Balancer
from topologies.domain.connection import FourTuple
from topologies.domain.hashing import symmetric_l4
from topologies.domain.membership import Membership
from topologies.domain.plan import FABRIC, VIP_MAC, Client, Plan, client_address

#: Each tier has its own hash basis. With one basis for both, the connections of a chassis
#: would share hash bits and load only some of its nodes.
FABRIC_BASIS = 1
CHASSIS_BASIS = 2
#: Step from one basis of a switch to its next: the tiers never get the same basis.
_NEXT_BASIS = 2
#: A basis has 16 bits in OpenFlow (``nx_action_multipath``).
_BASES = 1 << 16


def basis_of(membership: Membership, switch: str) -> int:
    """The current hash basis of that switch: ``fabric`` or a chassis' name.

    >>> basis_of(Membership(), "fabric"), basis_of(Membership(reseeds={"c1": 2}), "c1")
    (1, 6)
    """
    first = FABRIC_BASIS if switch == FABRIC else CHASSIS_BASIS
    return (first + _NEXT_BASIS * membership.reseeds.get(switch, 0)) % _BASES


class Route(NamedTuple):
    """The route of a connection: names of its chassis and its node."""

    chassis: str
    node: str


class Forecast:
    """The route of every connection for one plan, membership and balancer.

    Build once, query often. Hashes are cached: the same connections cost a twentieth in
    every further forecast. ``fabric``: the bucket table of tier 1, of chassis names.
    ``chassis``: the bucket tables of tier 2, by the name of each chassis that tier 1
    balances over. ``fabric_basis`` and ``chassis_bases``: the switches' hash bases. Use
    :func:`forecast`, which caches.
    """

    def __init__(self, plan: Plan, membership: Membership, balancer: Balancer) -> None:
        #: Chassis in service -> its nodes in service, in the plan's order.
        self.members: Mapping[str, Sequence[str]] = membership.serving_names(plan)
        self.balancer = balancer
        self.fabric: tuple[str, ...] = balancer.chassis_table(
            self.members, membership.departed(FABRIC)
        )
        self.fabric_basis = basis_of(membership, FABRIC)
        self.chassis: Mapping[str, tuple[str, ...]] = {
            chassis: balancer.node_table(nodes, membership.departed(chassis))
            for chassis, nodes in self.members.items()
        }
        self.chassis_bases: Mapping[str, int] = {
            chassis: basis_of(membership, chassis) for chassis in self.members
        }
        self._macs = {
            client_address(client, version): client.mac
            for client in plan.clients
            for version in (4, 6)
        }

    def route_of(self, connection: FourTuple) -> Route | None:
        """Chassis and node that segments of ``connection`` (client to VIP) are sent to.

        None if no node is in service. Raises :class:`LookupError` if the source address
        is not a client's.
        """
        first = self.hash_of(connection, self.fabric_basis)
        if not self.fabric:
            return None
        chassis = self.fabric[first % len(self.fabric)]
        nodes = self.chassis[chassis]
        second = self.hash_of(connection, self.chassis_bases[chassis])
        return Route(chassis, nodes[second % len(nodes)])

    def owner_of(self, connection: FourTuple) -> str | None:
        """The node's name only; see :meth:`route_of`."""
        route = self.route_of(connection)
        return route.node if route else None

    def hash_of(self, connection: FourTuple, basis: int) -> int:
        """The connection's hash with that basis; see :meth:`route_of` for errors."""
        mac = self._macs.get(connection.src)
        if mac is None:
            raise LookupError(f"no client has the address {connection.src}")
        return _hash(connection, mac, basis)


@lru_cache(maxsize=32)
def forecast(plan: Plan, membership: Membership, balancer: Balancer) -> Forecast:
    """The forecast for that state of a cluster; cached."""
    return Forecast(plan, membership, balancer)


def owner(
    plan: Plan, membership: Membership, balancer: Balancer, connection: FourTuple
) -> str | None:
    """Name of the node that segments of ``connection`` (client to VIP) are sent to.

    For many connections, keep the :func:`forecast`. None if no node is in service.
    Raises :class:`LookupError` if the source address is not a client's.
    """
    return forecast(plan, membership, balancer).owner_of(connection)


def client_of(plan: Plan, address: str) -> Client:
    """The client with that address, of either IP version.

    Raises :class:`LookupError` for an unknown address.
    """
    for client in plan.clients:
        if address in (client_address(client, 4), client_address(client, 6)):
            return client
    raise LookupError(f"no client has the address {address}")


@lru_cache(maxsize=1 << 17)
def _hash(connection: FourTuple, mac: str, basis: int) -> int:
    """Cached for as many connections as a run may have, in both tiers."""
    return symmetric_l4(connection, mac, VIP_MAC, basis)
