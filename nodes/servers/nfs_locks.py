#!/usr/bin/env python3
"""Writes who holds locks on the shared files, several times a second, until SIGTERM.

The locks of every node's server are the kernel's (proc_locks(5)): a cluster file system
would show the same to all nodes. Which connections a server keeps says the kernel of its
node. No server knows who waits: its clients ask again and again.
"""

from __future__ import annotations

import argparse
import ipaddress
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.servers.lock_log import LockSample
from nodes.servers.nfs_files import NFS_CLIENTS, exported, holders_in
from nodes.servers.nfs_server import NFS_PORT
from topologies.domain.plan import Client, client_address

LOCKS = Path("/proc/locks")
#: Pause between two looks, in seconds: each reads the list of sockets of every node.
LOOK_INTERVAL_S = 0.1
#: Connections that a server has (include/net/tcp_states.h): ESTABLISHED, CLOSE_WAIT.
_KEPT = frozenset({"01", "08"})


def peers_in(table: str, port: int) -> Iterator[tuple[str, int]]:
    """Address and port of each client of ``port``, in the text of ``/proc/net/tcp6``.

    Ganesha's socket serves both IP versions: IPv4 addresses are mapped (RFC 4291, 2.5.5.2).
    """
    for line in table.splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state in _KEPT and int(local.rpartition(":")[2], 16) == port:
            address, _, peer = remote.rpartition(":")
            yield _text(address), int(peer, 16)


def client_names() -> dict[str, str]:
    """The host of each client's address."""
    clients = [Client(number) for number in range(1, NFS_CLIENTS + 1)]
    return {client_address(one, ip): one.name for one in clients for ip in (4, 6)}


def sample(store: Path, hosts: Mapping[int, str]) -> LockSample:
    """One look, at the time of its beginning. ``hosts``: inode of a file -> its host."""
    began, names = time.time(), client_names()
    sessions = [
        f"{names[address]}:{port}"
        for table in _tables(store)
        for address, port in peers_in(table, NFS_PORT)
        if address in names
    ]
    holders = holders_in(LOCKS.read_text(), hosts)
    return LockSample(began, tuple(sorted(sessions)), tuple(holders), 0)


def _tables(store: Path) -> Iterable[str]:
    """The sockets of every node whose server runs: its folder is ``nfs-PID``."""
    for folder in store.glob("nfs-*"):
        pid = folder.name.rpartition("-")[2]
        try:
            yield Path(f"/proc/{pid}/net/tcp6").read_text()
        except OSError:  # the node has failed
            continue


def _text(address: str) -> str:
    """Four words in the byte order of the machine, as hexadecimal digits."""
    words = [int(address[at : at + 8], 16) for at in range(0, 32, 8)]
    raw = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    found = ipaddress.IPv6Address(raw)
    return str(found.ipv4_mapped or found)


def main(argv: list[str]) -> int:
    """Looks until SIGTERM."""
    parser = argparse.ArgumentParser(prog="nfs_locks.py", description=__doc__)
    parser.add_argument(
        "--store", type=Path, required=True, help="what the nodes share"
    )
    store = parser.parse_args(argv).store
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    hosts = {
        file.stat().st_ino: file.name.rpartition("-")[0]
        for file in exported(store).iterdir()
    }
    while True:
        sys.stdout.write(sample(store, hosts).to_json())
        sys.stdout.flush()
        time.sleep(LOOK_INTERVAL_S)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
