"""The workload of chaos: each node serves NBD and echo; the program that counts is nbdkit.

The echo server ends with it (prctl(2), PR_SET_PDEATHSIG), so one kill ends the node's
service, and one start brings both back.
"""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.workloads.blocks import prepare_disk
from experiments.workloads.echo import ECHO_PORT
from experiments.workloads.workload import ClientJob, Workload, program
from nodes.servers.nbd_server import NBD_PORT, nbdkit_argv

#: Ports on which the kernel's sockets are watched.
PORTS = (NBD_PORT, ECHO_PORT)

_BOTH = 'setpriv --pdeathsig KILL "$0" "$1" "$2" & shift 2; exec "$@"'


def server(store: Path) -> list[str]:
    """A shell that starts the echo server and becomes nbdkit."""
    echo = [sys.executable, program("servers/echo_server"), f"--port={ECHO_PORT}"]
    return ["sh", "-c", _BOTH, *echo, *nbdkit_argv(store / "disk")]


def client(_job: ClientJob) -> list[str]:
    """None: chaos starts its clients itself."""
    raise NotImplementedError


MIXED = Workload(
    name="nbd and echo",
    summary="both services on every node",
    port=NBD_PORT,
    prepare=prepare_disk,
    server=server,
    client=client,
    max_connections=lambda _pattern: 0,
)
