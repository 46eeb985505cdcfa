#!/usr/bin/env python3
"""An HTTP client that PUTs and GETs blocks, and reconnects after a reset."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.block_client import TEXT, run_block_client
from nodes.clients.block_options import Layout, parse_block_arguments
from nodes.clients.client_options import ClientOptions
from nodes.clients.http_session import FILES_PER_SESSION, HttpSession
from nodes.servers.http_server import HTTP_PORT, HTTP_UNSUPPORTED

PROG = "http_client.py"

HTTP_TEXT = f"""\
N connections to one object store, kept alive; a block is an object. {TEXT}
In the summary a write is one PUT: a 2xx acknowledges it.
"""


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, Layout]:
    """The checked command line. Exits with status 2 if it is wrong."""
    return parse_block_arguments(
        argv, PROG, HTTP_TEXT, HTTP_PORT, FILES_PER_SESSION, HTTP_UNSUPPORTED
    )


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""
    options, layout = parse_arguments(argv)
    return run_block_client(
        PROG, options, layout, lambda sock, _: HttpSession(sock, options.target)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
