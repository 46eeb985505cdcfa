"""CTDB's own program for connections of an address that has left (policy ``ctdb``).

``ctdb_killtcp INTERFACE`` reads pairs of ends, ``CLIENT SERVER`` a line, from standard
input. In at most 50 rounds of 100 ms it sends each server end an ACK with the numbers 0 that
seems to come from the client, takes the numbers of the kernel's answer from the wire, and
sends the RST that fits. It ends when it has reset all. (Samba: ``ctdb/tools/ctdb_killtcp.c``.)
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.cluster.errors import ClusterError
from nodes.kernel.network_namespace import enter_netns
from topologies.domain.connection import FourTuple
from topologies.domain.site import Site

#: Where Debian's package has it; it is not meant for PATH.
PROGRAM = Path("/usr/libexec/ctdb/ctdb_killtcp")
#: Its 50 rounds of 100 ms, and time to start on a busy machine, in seconds.
DEADLINE_S = 15.0


def kill_tcp(moved: Mapping[Site, Sequence[FourTuple]]) -> None:
    """Kills the nodes' ends of those connections, at all nodes side by side.

    Raises :class:`~experiments.cluster.errors.ClusterError` if the program fails or does not
    end in time. What it could not kill stays; it does not say so.
    """
    running = {site.name: _started(site, each) for site, each in moved.items() if each}
    failures = [text for name, one in running.items() if (text := _failure(name, one))]
    if failures:
        raise ClusterError("; ".join(failures))


def listed(connections: Sequence[FourTuple]) -> bytes:
    """The program's input: a connection a line, its client first."""
    lines = (
        f"{_end(one.src, one.sport)} {_end(one.dst, one.dport)}\n"
        for one in connections
    )
    return "".join(lines).encode()


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _started(site: Site, connections: Sequence[FourTuple]) -> subprocess.Popen[bytes]:
    with enter_netns(site.pid):
        process = subprocess.Popen(
            [PROGRAM, site.interface],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    assert process.stdin is not None, "it was asked for"
    process.stdin.write(listed(connections))
    process.stdin.close()
    process.stdin = None
    return process


def _failure(name: str, process: subprocess.Popen[bytes]) -> str | None:
    """Waits for its end; a sentence if that was not as it should be."""
    try:
        _, complaint = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"ctdb_killtcp of {name} did not end in {DEADLINE_S:g} s"
    if process.returncode:
        text = complaint.decode(errors="replace").strip()
        return f"ctdb_killtcp of {name} ended with status {process.returncode}: {text}"
    return None
