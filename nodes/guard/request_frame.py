"""The frame by which a healer asks a node's guard for a keepalive.

It has the ends of the connection, and zero for both numbers: the guard knows them. The
checksums are right, because the guard in the kernel corrects them by the difference.
"""

from __future__ import annotations

from nodes.guard.bare_frame import bare_frame
from nodes.guard.segment import Flags, Segment
from topologies.domain.connection import FourTuple
from topologies.domain.plan import PROBE_MAC


def request_frame(connection: FourTuple, mac: str) -> bytes:
    """The request of the node with that MAC for a keepalive of ``connection``."""
    request = Segment(
        src=connection.dst,
        dst=connection.src,
        sport=connection.dport,
        dport=connection.sport,
        seq=0,
        ack=0,
        flags=Flags.ACK,
    )
    return bare_frame(request, mac, PROBE_MAC)
