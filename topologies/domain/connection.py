"""The 4-tuple of a TCP connection to the virtual address, the same from either end."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from topologies.domain.plan import VIP4, VIP6

VIPS = frozenset((VIP4, VIP6))


class FourTuple(NamedTuple):
    """One TCP connection from its client's side: text addresses, integer ports."""

    src: str
    sport: int
    dst: str
    dport: int


@lru_cache(1 << 17)  # called for every segment of a capture, which has few connections
def connection_of(src: str, sport: int, dst: str, dport: int) -> FourTuple | None:
    """The connection, from the client's side, of a segment ``src:sport > dst:dport``.

    ``None`` if neither end is the VIP. A fan-out copy has the client as its source, so
    it belongs to the same connection as the original reset.
    """
    if dst in VIPS:
        return FourTuple(src, sport, dst, dport)
    if src in VIPS:
        return FourTuple(dst, dport, src, sport)
    return None


def format_connection(connection: FourTuple) -> str:
    """The connection as text: ``10.1.0.1:20001 > 10.0.0.1:10809``."""
    src, sport, dst, dport = connection
    return f"{_joined(src, sport)} > {_joined(dst, dport)}"


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
