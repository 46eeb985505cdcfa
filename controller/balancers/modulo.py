"""Plain ECMP: one bucket for each member, so a change of members moves most connections."""

from __future__ import annotations

from collections.abc import Sequence

from topologies.domain.balancer import Balancer


def table(members: Sequence[str]) -> tuple[str, ...]:
    """Bucket ``i`` belongs to member ``i``.

    >>> table(["c1n1", "c1n2", "c1n3"])
    ('c1n1', 'c1n2', 'c1n3')
    """
    return tuple(members)


MODULO = Balancer(
    name="modulo",
    summary="hash modulo the number of members; a change moves most connections",
    table=table,
)
