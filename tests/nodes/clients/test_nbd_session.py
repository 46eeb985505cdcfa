"""One NBD connection to a real nbdkit, over a pair of sockets of our own."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess

from nodes.clients.nbd_session import NbdSession

#: SO_LINGER on, 0 seconds: close(2) sends RST (socket(7)).
ABORT = struct.pack("ii", 1, 0)
EXPORT = 1 << 20


def test_the_size_of_an_export_outlives_its_connection() -> None:
    assert asyncio.run(_size_after_reset()) == EXPORT


async def _size_after_reset() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    client.setblocking(False)
    argv = ["nbdkit", "--single", "memory", str(EXPORT)]
    with subprocess.Popen(
        argv, stdin=server.fileno(), stdout=server.fileno()
    ) as nbdkit:
        session = NbdSession(client)
        await session.handshake()
        nbdkit.kill()
    server.close()
    assert isinstance(await session.closed, ConnectionResetError)
    size = session.export_size
    session.close()
    return size
