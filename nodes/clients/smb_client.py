#!/usr/bin/env python3
"""An SMB3 client whose sessions hold byte-range locks, and reconnect after a reset."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.client_options import (
    ClientOptions,
    make_parser,
    number,
    shared_options,
)
from nodes.clients.lock_client import TEXT, run_lock_client
from nodes.clients.lock_session import Account
from nodes.clients.smb_session import Memory, open_session
from nodes.servers.smb_server import SMB_CONNECTIONS, SMB_PORT, SMB_UNSUPPORTED
from topologies.domain.plan import MAX_CLIENTS

PROG = "smb_client.py"

SMB_TEXT = f"""\
N sessions of SMB 3. {TEXT}
A lock is an exclusive lock of one byte of the account's file, a change is one record of
that file, and giving the lock back is SMB2 LOCK with the flag UNLOCK. A record is stored
when the server has answered the WRITE.
"""


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, int, bool]:
    """The checked command line, the number of the client's first account, and whether it
    asks for durable handles.

    Exits with status 2 if it is wrong.
    """
    parser = make_parser(
        *(PROG, SMB_TEXT, SMB_PORT, SMB_CONNECTIONS), unsupported=SMB_UNSUPPORTED
    )
    parser.add_argument(
        "--client-index",
        type=number(int, 0, MAX_CLIENTS - 1),
        default=0,
        help="which accounts are this client's (default: %(default)s)",
    )
    parser.add_argument(
        "--durable",
        action="store_true",
        help="ask for durable handles, claim them back",
    )
    args = parser.parse_args(argv)
    first = args.client_index * SMB_CONNECTIONS
    return shared_options(parser, args), first, args.durable


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""
    options, first, durable = parse_arguments(argv)
    memories = [Memory(durable) for _ in range(options.connections)]
    memories.append(Memory())  # of the final look, which opens every file
    return run_lock_client(
        options,
        lambda conn: Account(first + conn, first + conn),
        lambda conn, port: open_session(
            *(options.target, options.port, port, options.keepalive_s), memories[conn]
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
