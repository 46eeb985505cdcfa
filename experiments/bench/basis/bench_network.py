"""What a figure needs of a network, be it ours or a reference."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from topologies.domain.plan import Plan

ECHO_PORT = 7777
PROGRAMS = Path(__file__).resolve().parents[1] / "measure" / "programs"


class Network(Protocol):
    """Clients and servers that are up, in the sandbox of this process."""

    @property
    def clients(self) -> Sequence[str]:
        """Names of the hosts that clients run on."""

    @property
    def servers(self) -> Sequence[str]:
        """Names of the hosts that serve echo, at :data:`ECHO_PORT`."""

    @property
    def steps(self) -> Mapping[str, float]:
        """What bringing it up took, step by step, in seconds."""

    def pid(self, host: str) -> int:
        """A process in that host's network namespace."""

    def targets(self) -> Sequence[str]:
        """Addresses that a client connects to, in turn."""

    def server_of(self, client: str, port: int, target: str, source_port: int) -> str:
        """The host that gets a client's connection to ``port`` from ``source_port``."""

    def dropped(self) -> int:
        """Frames lost so far because a switch did not read them in time."""

    def close(self) -> None:
        """Take it down."""


class Opener(Protocol):
    """Brings a network up; what goes wrong is raised."""

    def __call__(self, plan: Plan, folder: Path, datapath: str) -> Network:
        """As many clients and servers as the plan has; ``folder`` is for logs.

        ``datapath``: of all its switches, ``kernel`` or ``userspace``.
        """


def start_on_host(
    network: Network, host: str, program: str, *arguments: str
) -> subprocess.Popen[str]:
    """One of our programs on a host, to be talked to through its standard streams."""
    enter = ["nsenter", f"--net=/proc/{network.pid(host)}/ns/net"]
    return start_local(program, *arguments, enter=enter)


def start_local(
    program: str, *arguments: str, enter: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """One of our programs, where this process stands."""
    command = [*enter, sys.executable, "-I", "-S", str(PROGRAMS / f"{program}.py")]
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
