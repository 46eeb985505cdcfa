#!/usr/bin/env python3
"""Receives and counts TCP data in the network namespaces of many hosts.

One process serves all hosts: it opens its listeners inside each namespace and waits for
all of them. It writes ``{"listening": N}``. To every line on standard input it replies
with the octets received so far and the time (CLOCK_MONOTONIC).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import select
import socket
import sys
import time

_CLONE_NEWNET = 0x40000000
#: Not written to: with MSG_TRUNC the kernel counts and discards the data (tcp(7)).
_SCRATCH = bytearray(1 << 20)


def listeners(pid: int, port: int) -> list[socket.socket]:
    """A listener of each IP version in the network namespace of that process."""
    libc = ctypes.CDLL(None, use_errno=True)
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(namespace)
    families = (socket.AF_INET, socket.AF_INET6)
    return [socket.create_server(("", port), family=each) for each in families]


def serve(listening: dict[int, socket.socket]) -> None:
    """Count until the end of standard input."""
    epoll = select.epoll()
    for fd in (sys.stdin.fileno(), *listening):
        epoll.register(fd, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    received = 0
    while True:
        for fd, _events in epoll.poll():
            if fd in listening:
                connection, _ = listening[fd].accept()
                connections[connection.fileno()] = connection
                epoll.register(connection.fileno(), select.EPOLLIN)
            elif fd in connections:
                octets = _discard(connections[fd])
                received += octets
                if not octets:
                    connections.pop(fd).close()
            elif sys.stdin.readline():
                reply = {"octets": received, "monotonic_s": time.monotonic()}
                print(json.dumps(reply), flush=True)
            else:
                return


def _discard(connection: socket.socket) -> int:
    """Octets received; 0 at the end of the connection."""
    try:
        return connection.recv_into(_SCRATCH, len(_SCRATCH), socket.MSG_TRUNC)
    except ConnectionError:
        return 0


def main(argv: list[str]) -> int:
    """Open the listeners, then serve."""
    parser = argparse.ArgumentParser(prog="bulk_sink.py", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, action="append", required=True)
    options = parser.parse_args(argv)
    opened = [each for pid in options.pid for each in listeners(pid, options.port)]
    print(json.dumps({"listening": len(opened)}), flush=True)
    serve({each.fileno(): each for each in opened})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
