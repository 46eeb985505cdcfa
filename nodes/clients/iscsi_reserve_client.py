#!/usr/bin/env python3
"""An iSCSI client whose sessions reserve logical units, and reconnect after a reset."""

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
from nodes.clients.client_runtime import connect_from
from nodes.clients.iscsi_reserve_session import ReserveSession
from nodes.clients.library_session import FILES_PER_SESSION, PlaceholderListener
from nodes.clients.lock_client import TEXT, run_lock_client
from nodes.clients.lock_session import Account
from nodes.servers.iscsi_server import ISCSI_PORT
from nodes.servers.iscsi_units import (
    RESERVE_CLIENTS,
    RESERVE_CONNECTIONS,
    RESERVE_UNSUPPORTED,
)

PROG = "iscsi_reserve_client.py"
INITIATOR = "iqn.2024-01.resetbed"

RESERVE_TEXT = f"""\
N iSCSI sessions with one target, each with a logical unit of its own (libiscsi). {TEXT}
A lock is RESERVE(6) of the unit, a change is two sectors, and giving the lock back is
RELEASE(6).
"""


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, int]:
    """The checked command line, and the number of the client's first unit.

    Exits with status 2 if it is wrong.
    """
    parser = make_parser(
        *(PROG, RESERVE_TEXT, ISCSI_PORT, RESERVE_CONNECTIONS),
        unsupported=RESERVE_UNSUPPORTED,
    )
    parser.add_argument(
        "--client-index",
        type=number(int, 0, RESERVE_CLIENTS - 1),
        default=0,
        help="which units are this client's (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    options = shared_options(parser, args, FILES_PER_SESSION)
    return options, 1 + args.client_index * RESERVE_CONNECTIONS


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""
    options, first = parse_arguments(argv)
    placeholder = PlaceholderListener()

    async def open_session(slot: int, port: int) -> ReserveSession:
        # The slot after the last is for the final look, which reads all units.
        unit = first + slot % options.connections
        sock = await connect_from(options, port)
        session = ReserveSession(sock, f"{INITIATOR}:unit-{unit}", placeholder, unit)
        try:
            session.identify(f"{options.stream}:{port}", port)
            await session.log_in()
        except BaseException:
            session.close()
            raise
        return session

    return run_lock_client(options, lambda conn: Account(first + conn, 0), open_session)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
