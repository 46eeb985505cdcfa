"""NBD server of a storage node: nbdkit on the backing file that all nodes share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NBD_PORT = 10809

#: Traffic patterns that the protocol does not support, with the reason.
NBD_UNSUPPORTED: Mapping[str, str] = {
    "half-closed": "an NBD server closes a connection when the client shuts down its side",
}

#: The same for fio, which uses the same servers.
FIO_UNSUPPORTED: Mapping[str, str] = {
    "idle": "fio sleeps between requests: it notices neither a reset nor a signal",
    "large": "fio's connection cannot be paced: each transfer takes only a millisecond",
    "bursts": "fio keeps its connection until its job ends",
    "pipelined": "with requests outstanding, fio 3.33 loops without end on a dead connection",
    "port-reuse": "a new fio connects twice, so its earlier port is not free",
    **NBD_UNSUPPORTED,
}


def nbdkit_argv(
    file: Path, port: int = NBD_PORT, slots: int | None = None
) -> list[str]:
    """The command that serves ``file`` in the foreground until it is killed.

    All nodes run it on the same file. The file plugin writes with pwrite(2) before it
    answers, and all nodes share one page cache. So a write that one node has acknowledged
    is visible to all (as NBD_FLAG_CAN_MULTI_CONN, which it offers, promises). FUA adds
    fdatasync(2), which costs nothing on tmpfs.

    Without an address, nbdkit listens on IPv4 and IPv6, with a socket for each. It has one
    thread per connection (``--threads 1``) instead of 17, since a cluster has many nodes.
    A client here has one outstanding request, or a few that are served in turn.

    ``slots``: how many clients are served at one time; nbdkit closes the connections of
    others (nbdkit-limit-filter(1)).
    """
    limited = [] if slots is None else ["--filter=limit"]
    limit = [] if slots is None else [f"limit={slots}"]
    return [
        "nbdkit",
        "--foreground",
        "--newstyle",
        "--threads=1",
        "--log=stderr",
        f"--port={port}",
        *limited,
        "file",
        f"file={file}",
        *limit,
    ]


def create_backing_file(path: Path, size: int) -> None:
    """Create the shared file: ``size`` bytes of zeros, sparse. It should be on tmpfs.

    Raises ``FileExistsError`` if it exists, since servers may have it open.
    """
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(fd, size)
    finally:
        os.close(fd)


def backing_size(clients: int, region_size: int) -> int:
    """Size in bytes of the file, for clients with a region of that size each."""
    return clients * region_size
