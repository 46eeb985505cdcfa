"""The controller as a process, under os-ken or under Ryu 4.34."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from controller.pipeline.cluster_state import ClusterState
from controller.service.config import CONFIG_VARIABLE
from controller.service.controller_client import ControllerClient
from tests.controller.switches import VSwitch, accepts, wait_until

_ROOT = Path(__file__).resolve().parents[2]
_BOUND = ("setpriv", "--pdeathsig", "KILL")


class ControllerProcess:
    """``python -m controller``, and the switch whose bridges it controls."""

    def __init__(self, switch: VSwitch, python: str = sys.executable) -> None:
        """``python``: the interpreter, and with it the framework, to run under."""
        directory = switch.directory
        self._switch = switch
        self._directory = directory
        self._python = python
        self.listen = directory / "ofp.sock"
        self.state = directory / "state.json"
        self.log = directory / "controller.log"
        #: Socket to which it sends trapped resets.
        self.guards = directory / "guards.sock"
        config = directory / "controller.json"
        socket = directory / "controller.sock"
        config.write_text(
            json.dumps(
                {
                    "state": str(self.state),
                    "socket": str(socket),
                    "unixctl": switch.control_socket,
                    "guards": str(directory / "guards.sock"),
                }
            )
        )
        self._environment = {**os.environ, CONFIG_VARIABLE: str(config)}
        self._process: subprocess.Popen[bytes] | None = None
        self.client = ControllerClient(socket)

    def serve(self, state: ClusterState) -> None:
        """Start it and connect the plan's bridges; returns when they are in sync."""
        self.start(state)
        self.connect(list(state.plan.switches))
        self.client.wait_in_sync()

    def connect(self, bridges: Sequence[str]) -> None:
        """Connect bridges that its state has; returns when they are."""
        self._switch.connect(bridges, self.listen)
        wait_until(lambda: self._has(bridges), f"{bridges} are connected")
        self._switch.retry_quickly(bridges)

    def _has(self, bridges: Sequence[str]) -> bool:
        status = self.client.status()
        return all(status[bridge].connected for bridge in bridges)

    def start(self, state: ClusterState | None = None) -> None:
        """Start it, with that state in its file; returns when it answers."""
        if state is not None:
            state.write(self.state)
        command = [self._python, "-m", "controller", "--listen", str(self.listen)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_BOUND, *command],
                cwd=_ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, f"controller: {self.log.read_text()}")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        return accepts(self._directory / "controller.sock") and accepts(self.listen)

    def kill(self) -> None:
        """Send SIGKILL and wait. Nothing if it does not run."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
