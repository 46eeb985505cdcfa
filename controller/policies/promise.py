"""What reset policies promise: the words in which each says it; what they mean in figures
of a run is :mod:`experiments.verdict.promises`."""

from __future__ import annotations

from enum import Enum


class Promise(Enum):
    """One promise. A connection that *spoke* has moved, and sent a stray since then."""

    #: No node answers a stray, and no client is reset.
    STAYS_SILENT = "stays silent"
    #: Every client that spoke is reset, and no other.
    RESETS_WHO_SPOKE = "resets who spoke"
    #: These resets go by way of the load balancer: E1 and E2 of the claim.
    ANSWERS_STRAYS = "answers strays"
    #: Several nodes are told of each reset, and the owner frees its end by it: E3.
    TELLS_NODES = "tells nodes"
    #: The load balancers fan each reset out, to all: E4, E5.
    FANS_OUT = "fans out"
    #: Stray, reset, client's copy, tier-1 and tier-2 copies follow one another.
    IN_ORDER = "in order"
    #: No client that spoke waits in vain.
    NOBODY_HANGS = "nobody hangs"
    #: No owner in reach keeps its end of a connection that spoke.
    FREES_OWNERS = "frees owners"
    #: Nor of one that did not.
    FREES_THE_SILENT = "frees the silent"
    #: Switches make no copies.
    NO_COPIES = "no copies"
    #: Nodes are told of resets neither by copies nor in another way.
    TELLS_NO_NODE = "tells no node"
    #: Planned events, as many as it can remember, reset nobody.
    KEEPS_CONNECTIONS = "keeps connections"
