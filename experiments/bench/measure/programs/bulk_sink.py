#!/usr/bin/env python3
"""Receives over TCP in the network namespaces of many hosts, and counts the octets.

One process for all hosts: it opens its listeners inside each namespace and then waits
for all of them. It says ``{"listening": N}``, and to every line on standard input
answers with the octets received so far and the time (CLOCK_MONOTONIC).
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
#: With MSG_TRUNC the kernel throws away what it counts (tcp(7)); nothing is written.
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
                said = {"octets": received, "monotonic_s": time.monotonic()}
                print(json.dumps(said), flush=True)
            else:
                return


def _discard(connection: socket.socket) -> int:
    """Octets taken in; 0: it has ended."""
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
