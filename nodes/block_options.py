"""Options and layout of the clients that write blocks: what is whose, and where."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from nodes.client_options import ClientOptions, make_parser, number, shared_options
from nodes.nbd_blocks import SMALLEST_BLOCK

MOST_CONNECTIONS = 1000
DEFAULT_REGION = 16 * 2**20


@dataclass(frozen=True)
class Layout:
    """Where in the export this client writes: ``blocks`` of ``block_size`` bytes each.

    Connection k has the k-th run of ``blocks`` blocks from byte ``start``.
    """

    start: int
    blocks: int
    block_size: int

    def offset(self, conn: int, block: int) -> int:
        """Where in the export that block of that connection is, in bytes."""
        return self.start + (conn * self.blocks + block) * self.block_size

    def end(self, connections: int) -> int:
        """The first byte after the last connection's blocks."""
        return self.offset(connections, 0)


def parse_block_arguments(
    argv: list[str], prog: str, text: str, port: int, files_per_session: int
) -> tuple[ClientOptions, Layout]:
    """The command line of a block client, checked. Exits with status 2 if it is wrong.

    ``port`` is the protocol's own; ``files_per_session``: what one connection opens.
    """
    parser = make_parser(prog, text, port, MOST_CONNECTIONS)
    add = parser.add_argument
    size = number(int, SMALLEST_BLOCK, 2**40)
    add(
        "--block-size",
        type=size,
        default=4096,
        help="bytes in one write (default: %(default)s)",
    )
    add(
        "--blocks",
        type=number(int, 1, 2**20),
        default=16,
        help="each connection has (default: %(default)s)",
    )
    add(
        "--region-size",
        type=size,
        default=DEFAULT_REGION,
        help="bytes that one client may use (default: %(default)s)",
    )
    add(
        "--client-index",
        type=number(int, 0, 2**20),
        default=0,
        help="which region of the export is this client's, from 0",
    )
    args = parser.parse_args(argv)
    options = shared_options(parser, args, files_per_session)
    return options, _layout(parser, args)


def _layout(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Layout:
    start = args.client_index * args.region_size
    layout = Layout(start, args.blocks, args.block_size)
    need = layout.end(args.connections) - start
    if need > args.region_size:
        parser.error(
            f"{args.connections} connections of {args.blocks} blocks of "
            f"{args.block_size} bytes need a --region-size of {need}"
        )
    return layout
