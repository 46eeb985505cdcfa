"""Client of the controller's control socket: plain sockets, quick to import."""

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

#: Time that the controller may need beyond the switches' timeout, in seconds.
_GRACE_S = 5.0
_POLL_S = 0.02


class ControllerError(RuntimeError):
    """The controller could not be reached, or refused a request; the text says why."""


@dataclass(frozen=True)
class ApplyResult:
    """A state that every switch has; times are CLOCK_REALTIME seconds.

    ``requested_s``: the controller received the state for the first time. ``applied_s``:
    the last switch confirmed it with a barrier reply, possibly for an earlier request for
    the same state. ``settled_s``: no cached flow (megaflow) of the old tables forwards any
    more; None if the controller cannot ask.
    """

    requested_s: float
    applied_s: float
    settled_s: float | None
    switches: Mapping[str, SwitchChange]


@dataclass(frozen=True)
class SwitchStatus:
    """One switch's status, as known to the controller."""

    connected: bool
    in_sync: bool
    entries: int


class ControllerClient:
    """Sends requests to the controller at the UNIX socket ``path``.

    Each request opens its own connection, so a restarted controller is found at once.
    """

    def __init__(self, path: str | Path) -> None:
        """Nothing is connected yet."""
        self._path = str(path)

    def apply(self, state: ClusterState, timeout_s: float = 10.0) -> ApplyResult:
        """Make every switch equal to ``state``; returns when all have it and have settled.

        Raises :class:`ControllerError` with the switch's name if one refuses, or is not
        connected within ``timeout_s`` (failed chassis are not waited for). The controller
        keeps ``state`` even then: a switch that reconnects gets it.
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
        """Return when every switch is connected and equal to the controller's state.

        Raises :class:`ControllerError` with the last status.
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
            raise ControllerError(f"controller at {self._path}: closed the connection")
        reply: dict[str, Any] = json.loads(line)
        if not reply.pop("ok"):
            raise ControllerError(reply["error"])
        return reply
