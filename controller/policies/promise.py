"""The promises that reset policies make.

:mod:`experiments.verdict.promises` translates them into conditions on a run's figures.
"""

from __future__ import annotations

from enum import Enum


class Promise(Enum):
    """One promise. A connection that *spoke* has moved, and has sent a stray since."""

    #: No node answers a stray, and no client is reset.
    STAYS_SILENT = "stays silent"
    #: Every client that spoke is reset, and no other.
    RESETS_WHO_SPOKE = "resets who spoke"
    #: These resets go through the load balancer: E1 and E2 of the claim.
    ANSWERS_STRAYS = "answers strays"
    #: Several nodes are notified of each reset, and it frees the owner's end: E3.
    TELLS_NODES = "tells nodes"
    #: The load balancers fan each reset out to all nodes: E4, E5.
    FANS_OUT = "fans out"
    #: The order is: stray, reset, client's copy, tier-1 copies, tier-2 copies.
    IN_ORDER = "in order"
    #: No client that spoke hangs.
    NOBODY_HANGS = "nobody hangs"
    #: No reachable owner keeps its end of a connection that spoke.
    FREES_OWNERS = "frees owners"
    #: No reachable owner keeps its end of a connection that did not speak.
    FREES_THE_SILENT = "frees the silent"
    #: Switches make no copies.
    NO_COPIES = "no copies"
    #: Nodes are not notified of resets, neither by copies nor otherwise.
    TELLS_NO_NODE = "tells no node"
    #: Planned events reset no connection, up to the number of tables it keeps.
    KEEPS_CONNECTIONS = "keeps connections"
    #: A single node or chassis that is added resets no connection.
    KEEPS_FROM_NEW = "keeps connections from a new member"


#: The whole claim, elements E1 to E5 in their order, and what it is for: no client hangs,
#: and no owner keeps a half-open connection.
CLAIM = frozenset(
    (
        Promise.RESETS_WHO_SPOKE,
        Promise.ANSWERS_STRAYS,
        Promise.TELLS_NODES,
        Promise.FANS_OUT,
        Promise.IN_ORDER,
        Promise.NOBODY_HANGS,
        Promise.FREES_OWNERS,
    )
)
