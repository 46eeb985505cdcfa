"""The name of one TCP connection to the virtual address, whoever looks at it."""

from __future__ import annotations

from typing import NamedTuple

from topologies.plan import VIP4, VIP6

VIPS = frozenset((VIP4, VIP6))


class Connection(NamedTuple):
    """A connection's 4-tuple, always written from the client's side.

    Addresses are text, ports are host-order integers. The same value names the
    connection on the client, on its owner, and on a node that never heard of it.
    """

    client: str
    client_port: int
    vip: str
    vip_port: int

    def __str__(self) -> str:
        """As a person writes it: ``10.1.0.1:20001 > 10.0.0.1:10809``."""
        return (
            f"{_joined(self.client, self.client_port)} > "
            f"{_joined(self.vip, self.vip_port)}"
        )


def connection_of(src: str, sport: int, dst: str, dport: int) -> Connection | None:
    """The connection that a segment ``src:sport > dst:dport`` belongs to.

    ``None`` where neither end is the VIP. A fan-out copy carries the client as its
    source, so it names the same connection as the reset it was made from.
    """
    if dst in VIPS:
        return Connection(src, sport, dst, dport)
    if src in VIPS:
        return Connection(dst, dport, src, sport)
    return None


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
