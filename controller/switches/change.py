"""The update of one switch, as the controller reports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SwitchChange:
    """Numbers of entries added and deleted in one switch.

    ``applied_s``: when the switch confirmed that (CLOCK_REALTIME seconds).
    """

    added: int
    deleted: int
    applied_s: float
