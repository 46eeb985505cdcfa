"""The files that NFS clients lock: one for each connection of a client host.

A file has a **head**, the number of the last change that was made whole, and a **ledger**,
a number for each change. A lock begins at the first byte and is as long as its holder's
source port is high: so every two locks exclude each other, and the kernel's own list of
locks (proc_locks(5)) tells who holds which.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from nodes.servers.nbd_server import create_backing_file

#: Connections of one client, and clients.
NFS_CONNECTIONS = 64
NFS_CLIENTS = 8

#: The number of a change: of the last one at HEAD, of change n at LEDGER + 8 n.
NUMBER = struct.Struct("!Q")
HEAD, LEDGER = 0, 4096
MAX_CHANGES = 2**16
#: From here on, and far beyond the file's end, each source port has a byte of its own.
OWNER_BYTES = 2**32
FILE_SIZE = LEDGER + MAX_CHANGES * NUMBER.size

#: Traffic patterns that these clients do not support, with the reason.
NFS_UNSUPPORTED: Mapping[str, str] = {
    "idle": "a lock is held by a client that works: a lease that is not renewed ends",
    "bursts": "a client keeps its connection from lock to lock",
    "pipelined": "a lock owner has one request at a time (RFC 7530, 9.1.7)",
    "large": "a change is two numbers",
    "port-reuse": "a new client instance is told from the old one by its source port",
    "half-closed": "an NFS server closes a connection when the client shuts down its side",
}


def exported(store: Path) -> Path:
    """The folder that every node exports."""
    return store / "export"


def file_name(host: str, conn: int) -> str:
    """The file of a connection."""
    return f"{host}-{conn}"


def create_files(store: Path) -> None:
    """Creates every file, empty and sparse. Raises ``FileExistsError``."""
    folder = exported(store)
    folder.mkdir()
    for client in range(1, NFS_CLIENTS + 1):
        for conn in range(NFS_CONNECTIONS):
            create_backing_file(folder / file_name(f"h{client}", conn), FILE_SIZE)


def holders_in(locks: str, hosts: Mapping[int, str]) -> list[str]:
    """``HOST:PORT`` of each holder in the text of ``/proc/locks``.

    ``hosts``: inode of a file -> its client's host. Ganesha takes open file description
    locks (fcntl(2)), one for each lock of an owner.
    """
    found = []
    for line in locks.splitlines():
        fields = line.split()
        if "OFDLCK" not in fields or "->" in fields:
            continue
        inode, first, last = fields[-3].rpartition(":")[2], fields[-2], fields[-1]
        host = hosts.get(int(inode))
        if host is not None and first == "0" and last.isdigit():
            found.append(f"{host}:{int(last) + 1}")
    return sorted(found)
