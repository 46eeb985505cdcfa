"""Which servers do what they are told by :class:`~nodes.servers.server_settings.ServerSettings`."""

from __future__ import annotations

from experiments.workloads import WORKLOADS
from nodes.servers.server_settings import ServerSettings


def require_heeded(kind: str, settings: ServerSettings) -> None:
    """Checks that the servers of a workload heed each setting that is given.

    Raises :class:`ValueError` with the setting, and the workloads that do.
    """
    for key in settings.given():
        if key not in WORKLOADS[kind].heeds:
            able = [name for name, one in WORKLOADS.items() if key in one.heeds]
            raise ValueError(
                f"{key}: the servers of {kind} do not heed it (docs/harm.md); the "
                f"workloads that do: {', '.join(able)}"
            )
