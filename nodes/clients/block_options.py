"""Options of the block clients, and the layout of their blocks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

from nodes.clients.block_log import MIN_BLOCK_SIZE
from nodes.clients.capacity import BLOCK_CONNECTIONS, DEFAULT_BLOCK, block_size
from nodes.clients.client_options import (
    ClientOptions,
    make_parser,
    number,
    shared_options,
)
from nodes.clients.patterns import Pattern

DEFAULT_REGION = 16 * 2**20


@dataclass(frozen=True)
class Layout:
    """The place of this client's blocks in the export, in bytes.

    A connection has ``streams`` sequences of requests. Streams are numbered across all
    connections. Stream k has the k-th ``blocks`` blocks of ``block_size`` bytes, from byte
    ``start`` on.
    """

    start: int
    blocks: int
    block_size: int
    streams: int = 1

    def offset(self, stream: int, block: int) -> int:
        """Offset of that block of that stream in the export, in bytes."""
        return self.start + (stream * self.blocks + block) * self.block_size

    def end(self, connections: int) -> int:
        """The first byte after the last connection's blocks."""
        return self.offset(connections * self.streams, 0)


def parse_block_arguments(
    argv: list[str],
    prog: str,
    text: str,
    port: int,
    files_per_session: int,
    unsupported: Mapping[str, str],
) -> tuple[ClientOptions, Layout]:
    """The checked command line of a block client. Exits with status 2 if it is wrong.

    ``port``: the default port. ``files_per_session``: open files of one connection.
    ``unsupported``: traffic patterns that the protocol does not support, with the reason.
    """
    parser = make_parser(prog, text, port, BLOCK_CONNECTIONS, unsupported)
    add_block_options(parser)
    return block_options(parser, parser.parse_args(argv), files_per_session)


def add_block_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for place and size of the blocks."""
    add = parser.add_argument
    size = number(int, MIN_BLOCK_SIZE, 2**40)
    add(
        "--block-size",
        type=size,
        help=f"bytes in one write (default: {DEFAULT_BLOCK}, or the pattern's)",
    )
    add(
        "--blocks",
        type=number(int, 1, 2**20),
        default=16,
        help="blocks of each connection (default: %(default)s)",
    )
    add(
        "--region-size",
        type=size,
        default=DEFAULT_REGION,
        help="bytes of one client's region (default: %(default)s)",
    )
    add(
        "--client-index",
        type=number(int, 0, 2**20),
        default=0,
        help="number of this client's region of the export, from 0",
    )


def block_options(
    parser: argparse.ArgumentParser, args: argparse.Namespace, files_per_session: int
) -> tuple[ClientOptions, Layout]:
    """The options from parsed ``args``. Exits with status 2 if they are inconsistent."""
    options = shared_options(parser, args, files_per_session)
    return options, _layout(parser, args, options.pattern)


def _layout(
    parser: argparse.ArgumentParser, args: argparse.Namespace, pattern: Pattern
) -> Layout:
    if args.blocks % pattern.depth:
        parser.error(
            f"--pattern {pattern.name} has {pattern.depth} requests outstanding, each "
            f"on its own blocks: --blocks must be a multiple of that"
        )
    start = args.client_index * args.region_size
    size = args.block_size or block_size(pattern)
    layout = Layout(start, args.blocks // pattern.depth, size, pattern.depth)
    need = layout.end(args.connections) - start
    if need > args.region_size:
        parser.error(
            f"{args.connections} connections of {args.blocks} blocks of "
            f"{size} bytes need a --region-size of {need}"
        )
    return layout
