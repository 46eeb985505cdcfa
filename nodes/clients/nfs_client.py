#!/usr/bin/env python3
"""An NFSv4.0 client whose sessions lock files, and reconnect after a reset."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.client_options import ClientOptions, make_parser, shared_options
from nodes.clients.client_runtime import connect_from
from nodes.clients.library_session import FILES_PER_SESSION, PlaceholderListener
from nodes.clients.lock_client import TEXT, run_lock_client
from nodes.clients.lock_session import Account
from nodes.clients.nfs_session import NfsSession
from nodes.servers.nfs_files import NFS_CONNECTIONS, NFS_UNSUPPORTED
from nodes.servers.nfs_server import NFS_PORT

PROG = "nfs_client.py"

NFS_TEXT = f"""\
N NFSv4.0 clients of one connection each, with a file of its own each (libnfs). {TEXT}
A lock is LOCK of the file, a change is two numbers, and giving the lock back is LOCKU.
"""


def parse_arguments(argv: list[str]) -> ClientOptions:
    """The checked command line. Exits with status 2 if it is wrong."""
    parser = make_parser(
        *(PROG, NFS_TEXT, NFS_PORT, NFS_CONNECTIONS),
        unsupported=NFS_UNSUPPORTED,
    )
    args = parser.parse_args(argv)
    return shared_options(parser, args, FILES_PER_SESSION)


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""
    options = parse_arguments(argv)
    placeholder = PlaceholderListener()

    async def open_session(slot: int, port: int) -> NfsSession:
        # The slot after the last is for the final look: a client of its own.
        sock = await connect_from(options, port)
        session = NfsSession(sock, f"{options.stream}-{slot}", port, placeholder)
        try:
            await session.mount()
        except BaseException:
            session.close()
            raise
        return session

    return run_lock_client(options, lambda conn: Account(conn, 0), open_session)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
