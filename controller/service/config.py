"""The controller's configuration: paths of its state and sockets, from a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Environment variable with the file's path: ryu-manager passes no arguments on.
CONFIG_VARIABLE = "RESETBED_CONTROLLER"


@dataclass(frozen=True)
class Config:
    """Paths of the state file, of the control socket to open, of other sockets.

    ``unixctl``: path of each ovs-vswitchd's control socket by the switch's name, or one
    pattern with ``{switch}`` in it; None if the sockets are not reachable. ``guards``:
    datagram socket of the process that delivers resets to the nodes' guards; None if no
    policy uses it.
    """

    state: Path
    socket: Path
    unixctl: Mapping[str, str] | str | None = None
    guards: Path | None = None

    @property
    def control_socket(self) -> Callable[[str], str] | None:
        """A switch's name -> path of its ovs-vswitchd's control socket."""
        unixctl = self.unixctl
        if unixctl is None:
            return None
        if isinstance(unixctl, str):
            return lambda switch: unixctl.format(switch=switch)
        return unixctl.__getitem__

    @classmethod
    def from_environment(cls) -> Config:
        """Read the file that :data:`CONFIG_VARIABLE` names.

        Raises :class:`LookupError` if the variable is not set, :class:`TypeError` for an
        unknown key.
        """
        if CONFIG_VARIABLE not in os.environ:
            raise LookupError(
                f"{CONFIG_VARIABLE} must name the controller's configuration"
            )
        data = json.loads(Path(os.environ[CONFIG_VARIABLE]).read_text())
        guards = data.pop("guards", None)
        return cls(
            Path(data.pop("state")),
            Path(data.pop("socket")),
            guards=Path(guards) if guards else None,
            **data,
        )
