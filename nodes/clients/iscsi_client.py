#!/usr/bin/env python3
"""An iSCSI client that writes, reads back, gets reset, reconnects and loses nothing."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.clients.block_client import TEXT, run_block_client
from nodes.clients.block_options import Layout, parse_block_arguments
from nodes.clients.client_options import ClientOptions
from nodes.clients.iscsi_session import FILES_PER_SESSION, Decoy, IscsiSession
from nodes.servers.iscsi_server import ISCSI_PORT, ISCSI_REFUSES

PROG = "iscsi_client.py"
INITIATOR = "iqn.2024-01.resetbed"

ISCSI_TEXT = f"""\
N iSCSI sessions, of one connection each, with one target (libiscsi). {TEXT}
In the summary a write is one WRITE(16) with FUA: acknowledged means stored.
"""


def parse_arguments(argv: list[str]) -> tuple[ClientOptions, Layout]:
    """The command line, checked. Exits with status 2 if it is wrong."""
    return parse_block_arguments(
        argv, PROG, ISCSI_TEXT, ISCSI_PORT, FILES_PER_SESSION, ISCSI_REFUSES
    )


def main(argv: list[str]) -> int:
    """Run the client. The exit status, as ``--help`` tells."""
    options, layout = parse_arguments(argv)
    decoy = Decoy()
    return run_block_client(
        PROG,
        options,
        layout,
        lambda sock, lane: IscsiSession(
            sock, f"{INITIATOR}:{options.stream}-{lane}", decoy
        ),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
