"""A minimal OpenFlow controller to which a switch connects; for tests.

It says HELLO and answers ECHO (OpenFlow 1.4, 7.5.1 and 7.5.2).
"""

from __future__ import annotations

import socketserver
import struct
import sys
from pathlib import Path

VERSION = 5
HELLO, ECHO_REQUEST, ECHO_REPLY = 0, 2, 3
HEADER = struct.Struct("!BBHI")


class Switch(socketserver.StreamRequestHandler):
    """One connected switch."""

    def handle(self) -> None:
        """Report the connection, and reply until it ends."""
        print("a switch", flush=True)
        self.wfile.write(HEADER.pack(VERSION, HELLO, HEADER.size, 0))
        while header := self.rfile.read(HEADER.size):
            _, kind, length, xid = HEADER.unpack(header)
            body = self.rfile.read(length - HEADER.size)
            if kind == ECHO_REQUEST:
                self.wfile.write(HEADER.pack(VERSION, ECHO_REPLY, length, xid) + body)


if __name__ == "__main__":
    Path(sys.argv[1]).unlink(missing_ok=True)
    with socketserver.ThreadingUnixStreamServer(sys.argv[1], Switch) as server:
        server.serve_forever()
