#!/usr/bin/env python3
"""A PostgreSQL client whose transactions hold locks, and reconnect after a reset."""

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
from nodes.clients.postgres_session import open_session
from nodes.servers.postgres_server import (
    DATABASE,
    OTHER_HALF,
    PGBOUNCER_PORT,
    POSTGRES_CONNECTIONS,
    POSTGRES_UNSUPPORTED,
    USER,
)
from topologies.domain.plan import MAX_CLIENTS

PROG = "postgres_client.py"

POSTGRES_TEXT = f"""\
N sessions of PostgreSQL through a node's PgBouncer. {TEXT}
A lock is a row lock and an advisory lock of one transaction, a change is two rows, and
giving the lock back is COMMIT.
"""
#: Open files of a session: libpq's socket, and a duplicate of it.
FILES_PER_SESSION = 2


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, int]:
    """The checked command line, and the number of the client's first account.

    Exits with status 2 if it is wrong.
    """
    parser = make_parser(
        *(PROG, POSTGRES_TEXT, PGBOUNCER_PORT, POSTGRES_CONNECTIONS),
        unsupported=POSTGRES_UNSUPPORTED,
    )
    parser.add_argument(
        "--client-index",
        type=number(int, 0, MAX_CLIENTS - 1),
        default=0,
        help="which accounts are this client's (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    options = shared_options(parser, args, FILES_PER_SESSION)
    return options, args.client_index * POSTGRES_CONNECTIONS


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""
    options, first = parse_arguments(argv)
    return run_lock_client(
        options,
        lambda conn: Account(first + conn, first + conn + OTHER_HALF),
        lambda _conn, port: open_session(
            *(options.target, options.port, port, f"{options.stream}:{port}"),
            database=DATABASE,
            user=USER,
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
