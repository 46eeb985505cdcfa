"""The interface of a measured network, ours or a reference."""

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
    """A running network of clients and servers, in the sandbox of this process."""

    @property
    def clients(self) -> Sequence[str]:
        """Names of the client hosts."""

    @property
    def servers(self) -> Sequence[str]:
        """Names of the hosts with an echo server, on :data:`ECHO_PORT`."""

    @property
    def steps(self) -> Mapping[str, float]:
        """Steps of the bring-up -> seconds."""

    def pid(self, host: str) -> int:
        """A process in that host's network namespace."""

    def targets(self) -> Sequence[str]:
        """Addresses that a client connects to, in turn."""

    def server_of(self, client: str, port: int, target: str, source_port: int) -> str:
        """The server of a client's connection to ``port`` from ``source_port``."""

    def dropped(self) -> int:
        """Frames dropped so far because a switch did not read them in time."""

    def close(self) -> None:
        """Stop it."""


class Opener(Protocol):
    """Brings a network up, or raises."""

    def __call__(self, plan: Plan, folder: Path, datapath: str) -> Network:
        """As many clients and servers as the plan has; ``folder`` is for logs.

        ``datapath``: of all its switches, ``kernel`` or ``userspace``.
        """


def start_on_host(
    network: Network, host: str, program: str, *arguments: str
) -> subprocess.Popen[str]:
    """Start one of :data:`PROGRAMS` on a host, with pipes as standard streams."""
    enter = ["nsenter", f"--net=/proc/{network.pid(host)}/ns/net"]
    return start_local(program, *arguments, enter=enter)


def start_local(
    program: str, *arguments: str, enter: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """Start one of :data:`PROGRAMS` in this process's namespaces."""
    command = [*enter, sys.executable, "-I", "-S", str(PROGRAMS / f"{program}.py")]
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
