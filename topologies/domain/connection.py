"""The name of one TCP connection to the virtual address, whoever looks at it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from topologies.domain.plan import VIP4, VIP6

VIPS = frozenset((VIP4, VIP6))


class FourTuple(NamedTuple):
    """One TCP connection as its client sees it: text addresses, integer ports."""

    src: str
    sport: int
    dst: str
    dport: int


@lru_cache(1 << 17)  # asked for every segment of a capture, of few connections
def connection_of(src: str, sport: int, dst: str, dport: int) -> FourTuple | None:
    """The connection, from the client's side, of a segment ``src:sport > dst:dport``.

    ``None`` where neither end is the VIP. A fan-out copy carries the client as its
    source, so it names the same connection as the reset it was made from.
    """
    if dst in VIPS:
        return FourTuple(src, sport, dst, dport)
    if src in VIPS:
        return FourTuple(dst, dport, src, sport)
    return None


def format_connection(connection: FourTuple) -> str:
    """As a person writes it: ``10.1.0.1:20001 > 10.0.0.1:10809``."""
    src, sport, dst, dport = connection
    return f"{_joined(src, sport)} > {_joined(dst, dport)}"


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
