"""How a storage node serves NBD: nbdkit over the backing file that all nodes share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NBD_PORT = 10809

#: Patterns that the protocol cannot follow, and why.
NBD_REFUSES: Mapping[str, str] = {
    "half-closed": "an NBD server ends a connection whose client shut its side down",
}

#: The same for fio, which is a client of the same servers.
FIO_REFUSES: Mapping[str, str] = {
    "idle": "fio sleeps between requests: it sees no reset, nor a request to end",
    "large": "fio's connection cannot be paced: each transfer is over in a millisecond",
    "bursts": "fio keeps its connection for as long as its job lasts",
    "pipelined": "with requests outstanding fio 3.33 loops for ever on a dead connection",
    "port-reuse": "a new fio connects twice, so the port it had is not free for it",
    **NBD_REFUSES,
}


def nbdkit_argv(file: Path, port: int = NBD_PORT) -> list[str]:
    """The command that serves ``file`` until it is killed, in the foreground.

    Every node runs it over the same file. The file plugin writes with pwrite(2) before
    it answers, and one page cache is behind all of them: a write that one node has
    acknowledged is what every other node reads next (NBD_FLAG_CAN_MULTI_CONN, which
    it offers, promises the same). FUA adds fdatasync(2), free where the file is on
    tmpfs.

    No address is given: nbdkit then listens on IPv4 and IPv6, with a socket for each.
    One thread a connection (``--threads 1``) instead of 17: a client here has one
    request outstanding, or a few on the wire that are served in turn, and a cluster has
    many nodes.
    """
    return [
        "nbdkit",
        "--foreground",
        "--newstyle",
        "--threads=1",
        "--log=stderr",
        f"--port={port}",
        "file",
        f"file={file}",
    ]


def create_backing_file(path: Path, size: int) -> None:
    """Make the shared file: ``size`` bytes of zeros, sparse. Put it on tmpfs.

    Raises ``FileExistsError`` rather than empty a file that servers may have open.
    """
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(fd, size)
    finally:
        os.close(fd)


def backing_size(clients: int, region_size: int) -> int:
    """Bytes for that many ``nbd_client.py``, each with a region of ``region_size``."""
    return clients * region_size
