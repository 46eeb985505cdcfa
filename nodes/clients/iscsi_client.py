#!/usr/bin/env python3
"""An iSCSI client that writes and verifies blocks, and reconnects after a reset."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.block_client import TEXT, run_block_client
from nodes.clients.block_options import Layout, parse_block_arguments
from nodes.clients.client_options import ClientOptions
from nodes.clients.iscsi_session import IscsiSession
from nodes.clients.library_session import FILES_PER_SESSION, PlaceholderListener
from nodes.servers.iscsi_server import ISCSI_PORT, ISCSI_UNSUPPORTED

PROG = "iscsi_client.py"
INITIATOR = "iqn.2024-01.resetbed"

ISCSI_TEXT = f"""\
N iSCSI sessions, of one connection each, with one target (libiscsi). {TEXT}
In the summary a write is one WRITE(16) with FUA: acknowledged means stored.
"""


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, Layout]:
    """The checked command line. Exits with status 2 if it is wrong."""
    return parse_block_arguments(
        argv, PROG, ISCSI_TEXT, ISCSI_PORT, FILES_PER_SESSION, ISCSI_UNSUPPORTED
    )


def main(argv: list[str]) -> int:
    """Run the client. Returns the exit status that ``--help`` describes."""
    options, layout = parse_arguments(argv)
    placeholder = PlaceholderListener()
    return run_block_client(
        PROG,
        options,
        layout,
        lambda sock, slot: IscsiSession(
            sock, f"{INITIATOR}:{options.stream}-{slot}", placeholder
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
