"""Resets, at each node, the connections that the new tables send to another node."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from controller.pipeline.cluster_state import ClusterState
from controller.policies.proactive import moved_away
from experiments.instruments.socket_table import HELD, sockets_of
from nodes.kernel.network_namespace import enter_netns
from nodes.kernel.socket_destroy import SocketDestroyer
from topologies.domain.site import Site

#: A connection whose handshake is not complete may have moved too.
_STATES = HELD | {"SYN_RECV"}


def reset_moved(state: ClusterState, sites: Iterable[Site]) -> dict[str, int]:
    """Resets both ends of every connection whose node is not its owner in ``state``.

    Call it when the switches have settled. Returns the number of resets for each node
    that has any.
    """
    done = {site.name: _reset_moved_away(state, site) for site in sites}
    return {name: count for name, count in done.items() if count}


def _reset_moved_away(state: ClusterState, site: Site) -> int:
    held = [one.connection for one in sockets_of(site.pid, _STATES)]
    plan, membership, balancer = state.plan, state.membership, state.balancer
    moved = moved_away(plan, membership, balancer, site.name, held)
    if not moved:
        return 0
    with enter_netns(site.pid):
        destroyer = SocketDestroyer()
    with closing(destroyer):
        return destroyer.abort(list(moved))
