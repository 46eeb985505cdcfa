"""Resets, at each node, the connections that the new tables send to another node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing

from controller.pipeline.cluster_state import ClusterState
from controller.policies.proactive import moved_away
from experiments.cluster.kill_tcp import kill_tcp
from experiments.instruments.socket_table import HELD, sockets_of
from nodes.kernel.network_namespace import enter_netns
from nodes.kernel.socket_destroy import SocketDestroyer
from topologies.domain.connection import FourTuple
from topologies.domain.site import Site

#: A connection whose handshake is not complete may have moved too.
_STATES = HELD | {"SYN_RECV"}


def reset_moved(state: ClusterState, sites: Iterable[Site]) -> dict[str, int]:
    """Resets both ends of every connection whose node is not its owner in ``state``.

    Call it when the switches have settled. Returns the number of resets for each node
    that has any.
    """
    done = {site.name: _abort(site, _moved_away(state, site)) for site in sites}
    return {name: count for name, count in done.items() if count}


def kill_moved(state: ClusterState, sites: Iterable[Site]) -> dict[str, int]:
    """The same, but of the node's end alone, and by CTDB's program.

    Returns how many of them have gone, for each node that has any. Raises
    :class:`~experiments.cluster.errors.ClusterError`.
    """
    moved = {site: _moved_away(state, site) for site in sites}
    moved = {site: connections for site, connections in moved.items() if connections}
    kill_tcp(moved)
    return {
        site.name: len(connections) - len(_moved_away(state, site))
        for site, connections in moved.items()
    }


def _moved_away(state: ClusterState, site: Site) -> list[FourTuple]:
    held = [one.connection for one in sockets_of(site.pid, _STATES)]
    plan, membership, balancer = state.plan, state.membership, state.balancer
    return moved_away(plan, membership, balancer, site.name, held)


def _abort(site: Site, moved: Sequence[FourTuple]) -> int:
    if not moved:
        return 0
    with enter_netns(site.pid):
        destroyer = SocketDestroyer()
    with closing(destroyer):
        return destroyer.abort(moved)
