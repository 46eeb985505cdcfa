"""Options and layout of the clients that write blocks: what is whose, and where."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

from nodes.clients.capacity import BLOCK_CONNECTIONS, DEFAULT_BLOCK, block_size
from nodes.clients.client_options import (
    ClientOptions,
    make_parser,
    number,
    shared_options,
)
from nodes.clients.nbd_blocks import SMALLEST_BLOCK
from nodes.clients.patterns import Pattern

DEFAULT_REGION = 16 * 2**20


@dataclass(frozen=True)
class Layout:
    """Where in the export this client writes: ``blocks`` of ``block_size`` bytes each.

    A connection has ``streams`` of requests, each with blocks of its own: stream k of
    all of them has the k-th run of ``blocks`` blocks from byte ``start``.
    """

    start: int
    blocks: int
    block_size: int
    streams: int = 1

    def offset(self, stream: int, block: int) -> int:
        """Where in the export that block of that stream is, in bytes."""
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
    refused: Mapping[str, str],
) -> tuple[ClientOptions, Layout]:
    """The command line of a block client, checked. Exits with status 2 if it is wrong.

    ``port`` is the protocol's own; ``files_per_session``: what one connection opens;
    ``refused``: patterns that the protocol cannot follow, and why.
    """
    parser = make_parser(prog, text, port, BLOCK_CONNECTIONS, refused)
    add_block_options(parser)
    return block_options(parser, parser.parse_args(argv), files_per_session)


def add_block_options(parser: argparse.ArgumentParser) -> None:
    """Where and how large the blocks are, beside the options that every client has."""
    add = parser.add_argument
    size = number(int, SMALLEST_BLOCK, 2**40)
    add(
        "--block-size",
        type=size,
        help=f"bytes in one write (default: {DEFAULT_BLOCK}, or the pattern's)",
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


def block_options(
    parser: argparse.ArgumentParser, args: argparse.Namespace, files_per_session: int
) -> tuple[ClientOptions, Layout]:
    """The options out of parsed ``args``. Exits with status 2 if they make no sense."""
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
