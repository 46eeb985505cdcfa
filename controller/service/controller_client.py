"""The experiments' side of the controller's socket: plain sockets, quick to import."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.pipeline.cluster_state import ClusterState
from controller.switches.change import SwitchChange

#: What the controller may need beyond the time it grants the switches.
_GRACE_S = 5.0
_POLL_S = 0.02


class ControllerError(RuntimeError):
    """The controller could not be reached, or says why it did not do as asked."""


@dataclass(frozen=True)
class ApplyResult:
    """A state that every switch has; instants are CLOCK_REALTIME seconds.

    ``requested_s``: the controller received it first. ``applied_s``: the last switch
    confirmed it with a barrier reply; where an earlier request for the same state had
    brought that about, it was then. ``settled_s``: no packet is forwarded by an older
    megaflow any more; None where the controller cannot ask.
    """

    requested_s: float
    applied_s: float
    settled_s: float | None
    switches: Mapping[str, SwitchChange]


@dataclass(frozen=True)
class SwitchStatus:
    """One switch as its controller knows it."""

    connected: bool
    in_sync: bool
    entries: int


class ControllerClient:
    """Asks the controller that listens on the UNIX socket at ``path``.

    Each request has a connection of its own, so that a controller that was started
    anew is found without ado.
    """

    def __init__(self, path: str | Path) -> None:
        """Nothing is connected yet."""
        self._path = str(path)

    def apply(self, state: ClusterState, timeout_s: float = 10.0) -> ApplyResult:
        """Make every switch equal to ``state``; returns when they are, and settled.

        Raises :class:`ControllerError` that names the switch when one refuses, or is
        not connected within ``timeout_s`` (failed chassis are not waited for). The
        controller holds on to ``state`` even then: a switch that comes back gets it.
        """
        reply = self._ask(
            {"op": "apply", "state": state.to_json(), "timeout_s": timeout_s},
            timeout_s + _GRACE_S,
        )
        return ApplyResult(
            reply["requested_s"],
            reply["applied_s"],
            reply["settled_s"],
            {name: SwitchChange(**c) for name, c in reply["switches"].items()},
        )

    def status(self, timeout_s: float = 5.0) -> dict[str, SwitchStatus]:
        """Every switch of the controller's state, by name."""
        reply = self._ask({"op": "status"}, timeout_s)
        return {name: SwitchStatus(**s) for name, s in reply["switches"].items()}

    def wait_in_sync(self, timeout_s: float = 10.0) -> dict[str, SwitchStatus]:
        """Return once every switch is connected and equal to the controller's state.

        Raises :class:`ControllerError` with what was seen last.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            seen: object
            try:
                seen = status = self.status()
                if status and all(s.in_sync for s in status.values()):
                    return status
            except ControllerError as error:
                seen = error
            if time.monotonic() > deadline:
                raise ControllerError(f"not in sync in {timeout_s} s: {seen}")
            time.sleep(_POLL_S)

    def _ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """One request, one reply, a line of JSON each."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
                stream.settimeout(timeout_s)
                stream.connect(self._path)
                stream.sendall(json.dumps(request).encode() + b"\n")
                line = stream.makefile().readline()
        except OSError as error:
            raise ControllerError(f"controller at {self._path}: {error}") from error
        if not line:
            raise ControllerError(f"controller at {self._path} hung up")
        reply: dict[str, Any] = json.loads(line)
        if not reply.pop("ok"):
            raise ControllerError(reply["error"])
        return reply
