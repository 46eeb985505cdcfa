"""A node's location on this machine, as a guard needs it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """One node that is up. ``pid``: a process or thread in its network namespace."""

    name: str
    pid: int
    interface: str
    mac: str
