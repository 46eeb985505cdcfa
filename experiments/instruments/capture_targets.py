"""What ``./resetbed capture`` may be told to capture: names of hosts and links; pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from topologies.domain.plan import FABRIC


class TargetError(ValueError):
    """A name of nothing in the cluster; the text says what there is."""


class Site(NamedTuple):
    """Where to capture: an element of the cluster, and its interface; None: each one."""

    element: str
    interface: str | None = None


def sites(targets: str, elements: Collection[str]) -> tuple[Site, ...]:
    """The sites of comma-separated ``targets``, each once, in their order.

    A target is an element of the cluster (``c1n2``; ``c1`` and ``fabric`` are switches), an
    element and its interface (``c1:c1-n2``), or a link by its two ends, in any order
    (``fabric-c1``). Raises :class:`TargetError`.
    """
    found = [_site(target, elements) for target in targets.split(",")]
    return tuple(dict.fromkeys(found))


def _site(target: str, elements: Collection[str]) -> Site:
    element, colon, interface = target.partition(":")
    if colon and element in elements and interface:
        return Site(element, interface)
    if target in elements:
        return Site(target)
    one, _, other = target.partition("-")
    for lower, upper in ((one, other), (other, one)):
        if {one, other} <= set(elements) and _above(lower) == upper:
            return Site(lower, _uplink(lower))
    raise TargetError(
        f"{target!r}: no such host or link; there are {', '.join(elements)}, their "
        "interfaces as HOST:INTERFACE, and links as c1-fabric or h1-fabric"
    )


def _above(element: str) -> str | None:
    """The switch that an element is attached to; None for the fabric."""
    if element == FABRIC:
        return None
    chassis, is_node, _ = element.partition("n")
    return chassis if is_node else FABRIC


def _uplink(element: str) -> str:
    """The interface by which an element is attached to the switch above it."""
    is_switch = element.startswith("c") and "n" not in element
    return f"{element}-up" if is_switch else f"{element}-eth0"
