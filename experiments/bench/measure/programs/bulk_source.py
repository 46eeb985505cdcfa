#!/usr/bin/env python3
"""Sends as fast as TCP accepts, on several connections, until it is killed.

It writes ``{"connected": N}`` when all of them are open.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import sys

CHUNK = bytes(1 << 20)


def connect(target: str, port: int, source_port: int) -> socket.socket:
    """Open a connection and make it non-blocking. Raises ``OSError``."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    # The port is used again at once: its end is a reset, which leaves no TIME-WAIT.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.bind(("", source_port))
    sock.connect((target, port))
    sock.setblocking(False)
    return sock


def send(connections: dict[int, socket.socket]) -> None:
    """Send until the process is killed."""
    epoll = select.epoll()
    for fd in connections:
        epoll.register(fd, select.EPOLLOUT)
    while True:
        for fd, _events in epoll.poll():
            connections[fd].send(CHUNK)


def main(argv: list[str]) -> int:
    """Connect, then send."""
    parser = argparse.ArgumentParser(prog="bulk_source.py", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--to", action="append", required=True, metavar="SOURCE_PORT@TARGET"
    )
    options = parser.parse_args(argv)
    endpoints = [text.partition("@") for text in options.to]
    opened = [
        connect(target, options.port, int(source_port))
        for source_port, _, target in endpoints
    ]
    print(json.dumps({"connected": len(opened)}), flush=True)
    send({each.fileno(): each for each in opened})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
