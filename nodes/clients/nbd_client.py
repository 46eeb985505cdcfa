#!/usr/bin/env python3
"""An NBD client that writes and verifies blocks, and reconnects after a reset."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.block_client import TEXT, run_block_client
from nodes.clients.block_options import Layout, parse_block_arguments
from nodes.clients.client_options import ClientOptions
from nodes.clients.nbd_session import FILES_PER_SESSION, NbdSession
from nodes.servers.nbd_server import NBD_PORT, NBD_UNSUPPORTED

PROG = "nbd_client.py"

NBD_TEXT = f"""\
N connections to one NBD export. {TEXT}
In the summary a write is one NBD_CMD_WRITE with FUA: acknowledged means stored.
"""


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, Layout]:
    """The checked command line. Exits with status 2 if it is wrong."""
    return parse_block_arguments(
        argv, PROG, NBD_TEXT, NBD_PORT, FILES_PER_SESSION, NBD_UNSUPPORTED
    )


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""
    options, layout = parse_arguments(argv)
    return run_block_client(PROG, options, layout, lambda sock, _: NbdSession(sock))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
