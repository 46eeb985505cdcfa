"""Where on this machine a node is: what a guard needs to be attached to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """One node that is up; ``pid`` is a process in its network namespace."""

    name: str
    pid: int
    interface: str
    mac: str
