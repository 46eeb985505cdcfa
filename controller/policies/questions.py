"""The questions that a reset policy answers, and the choices that there are for each."""

from __future__ import annotations

from enum import Enum


class OnStray(Enum):
    """What does a node's guard do with a stray segment?"""

    #: Nothing: the client waits.
    STAY_SILENT = "stay silent"
    #: It resets the client (claim E2).
    RESET = "reset the client"
    #: It sends the stray to the connection's earlier owner, and resets the client only
    #: where that one does not know it either.
    REDIRECT = "redirect to the earlier owner"


class Travel(Enum):
    """How does a guard's reset travel, on its way to the client?"""

    #: To the client alone.
    TO_CLIENT = "to the client"
    #: And as a copy to every node, tier by tier (claim E3 to E5).
    TO_ALL = "to every node"
    #: The same, without the node that sent it (US 11,190,580 B2, C3).
    TO_OTHERS = "to every other node"
    #: And as a copy to those that owned the connection's bucket lately.
    TO_EARLIER_OWNERS = "to the bucket's earlier owners"
    #: And to the controller, which tells every guard (US 11,190,580 B2, C5).
    OUT_OF_BAND = "to the controller, which tells every node"


class Memory(Enum):
    """What do the switches remember, and for how long?"""

    #: Their bucket tables, and nothing else.
    CURRENT_TABLES = "the current bucket tables"
    #: Some earlier bucket tables too, until as many newer ones have come.
    EARLIER_TABLES = "earlier bucket tables"
    #: The member of each connection, until it ends.
    CONNECTIONS = "every connection's member"
    #: The same, for those connections that a joining member would take.
    MOVABLE = "the member of each connection that may move"


class AtEvent(Enum):
    """Who is told when an event has changed the bucket tables?"""

    #: Nobody: a moved connection is found out by its next segment.
    NOBODY = "nobody"
    #: Every node, which resets both ends of what is no longer its own.
    NODES = "every node"
    #: Every node, where CTDB's program frees the node's end of what is no longer its own.
    KILLTCP = "every node, by CTDB's program"
