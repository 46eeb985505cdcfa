"""Foretells which storage node the two tiers send a connection to, from plain data.

Nothing is asked of a switch: the hash is computable outside it, so an experiment knows
before a membership event which connections will move.
"""

from __future__ import annotations

from controller.balancers import Balancer
from controller.membership import Membership
from controller.ovs_hash import FourTuple, symmetric_l4
from topologies.plan import VIP_MAC, Chassis, Client, Plan, client_address

#: Each tier hashes with a basis of its own: with one for both, the connections that
#: tier 1 sends to a chassis would share hash bits and gather on a few of its nodes.
FABRIC_BASIS = 1
CHASSIS_BASIS = 2


def owner(
    plan: Plan, membership: Membership, balancer: Balancer, connection: FourTuple
) -> str | None:
    """Name of the node that segments of ``connection`` (client to VIP) are sent to.

    None when no node is in service. Raises :class:`LookupError` when the source
    address is no client's.
    """
    mac = client_of(plan, connection.src).mac
    by_name = {c.name: c for c in membership.serving_chassis(plan)}
    chassis_name = _select(balancer, list(by_name), connection, mac, FABRIC_BASIS)
    if chassis_name is None:
        return None
    return _select(
        balancer,
        _names(membership, by_name[chassis_name]),
        connection,
        mac,
        CHASSIS_BASIS,
    )


def client_of(plan: Plan, address: str) -> Client:
    """The client that has that address, of either IP version.

    Raises :class:`LookupError` when none has.
    """
    for client in plan.clients:
        if address in (client_address(client, 4), client_address(client, 6)):
            return client
    raise LookupError(f"no client has the address {address}")


def _names(membership: Membership, chassis: Chassis) -> list[str]:
    return [node.name for node in membership.serving_nodes(chassis)]


def _select(
    balancer: Balancer, members: list[str], connection: FourTuple, mac: str, basis: int
) -> str | None:
    """The member whose bucket the connection is in; None when there is no member."""
    table = balancer.table(members)
    if not table:
        return None
    return table[symmetric_l4(connection, mac, VIP_MAC, basis) % len(table)]
