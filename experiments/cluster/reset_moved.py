"""Resets, node by node, the connections that the switches' new tables lead elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from controller.pipeline.cluster_state import ClusterState
from controller.policies.proactive import moved_away
from experiments.instruments.socket_table import HELD, sockets_of
from nodes.kernel.kernel_abort import KernelAborter
from nodes.kernel.network_namespace import inside_network_of
from topologies.domain.site import Site

#: One whose handshake has not ended yet has moved as much as any other.
_STATES = HELD | {"SYN_RECV"}


def reset_moved(state: ClusterState, sites: Iterable[Site]) -> dict[str, int]:
    """Reset both ends of every connection that is not where ``state`` leads.

    To be called when the switches have settled. Returns how many connections each
    node reset, nodes with none left out.
    """
    done = {site.name: _reset_moved_away(state, site) for site in sites}
    return {name: count for name, count in done.items() if count}


def _reset_moved_away(state: ClusterState, site: Site) -> int:
    held = [one.connection for one in sockets_of(site.pid, _STATES)]
    plan, membership, balancer = state.plan, state.membership, state.balancer
    gone = moved_away(plan, membership, balancer, site.name, held)
    if not gone:
        return 0
    with inside_network_of(site.pid):
        aborter = KernelAborter()
    with closing(aborter):
        return aborter.abort(list(gone))
