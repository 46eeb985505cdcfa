#!/usr/bin/env python3
"""Opens many connections, has each talk until it has a session, and holds them.

The first line of standard input is JSON: ``target``, ``port``, ``connections`` and ``steps``
(each: octets to send, octets to receive until, count to receive; octets in hexadecimal).
Writes "open". A second line has octets that every connection then sends, in hexadecimal;
nothing is received. Writes "asked", and waits to be killed, or for the end of its input.
"""

from __future__ import annotations

import json
import resource
import socket
import sys
from typing import Any

TIMEOUT_S = 20.0


def main() -> int:
    """Open them, one after the other."""
    job = json.loads(sys.stdin.readline())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = [opened(job) for _ in range(job["connections"])]
    print("open", flush=True)
    ask = bytes.fromhex(sys.stdin.readline().strip())
    for one in held:
        one.sendall(ask)
    print("asked", flush=True)
    sys.stdin.read()
    return 0


def opened(job: dict[str, Any]) -> socket.socket:
    """One connection with a session. Raises ``OSError``."""
    one = socket.create_connection((job["target"], job["port"]), TIMEOUT_S)
    for send, until, count in job["steps"]:
        one.sendall(bytes.fromhex(send))
        receive(one, bytes.fromhex(until), count)
    return one


def receive(one: socket.socket, until: bytes, count: int) -> None:
    """Receive at least ``count`` octets, and until they end so. Raises ``OSError``."""
    found = b""
    while len(found) < count or not found.endswith(until):
        more = one.recv(65536)
        if not more:
            raise ConnectionError(f"the server closed after {found!r}")
        found += more


if __name__ == "__main__":
    sys.exit(main())
