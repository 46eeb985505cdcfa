"""What a switch was told: as the controller counts it, and as whoever asked hears it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SwitchChange:
    """Entries that one switch was told to add and delete; ``applied_s``: when it confirmed
    that (CLOCK_REALTIME)."""

    added: int
    deleted: int
    applied_s: float
