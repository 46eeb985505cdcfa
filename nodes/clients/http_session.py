"""One persistent HTTP/1.1 connection: blocks are objects, written by PUT, read by GET.

h11, which httpx uses too, has the state machine of the protocol. asyncio transports the
bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from typing import cast

import h11

from nodes.clients.client_report import ServerClosed
from nodes.clients.client_runtime import wait_any

#: Open files of a session: the socket of the caller.
FILES_PER_SESSION = 1
NOT_FOUND = 404


class HttpSession(asyncio.Protocol):
    """A connection to an object store over a socket of the caller."""

    #: An object store has no fixed size.
    export_size = sys.maxsize

    def __init__(self, sock: socket.socket, host: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._host = f"[{host}]" if ":" in host else host
        self._http = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._exchange_lock = asyncio.Lock()
        self._body = bytearray()
        self._status = 0
        self._answer: asyncio.Future[None] | None = None
        #: Done when the connection has ended. The result is ``ServerClosed`` after a FIN,
        #: ``ConnectionResetError`` after a reset.
        self.closed: asyncio.Future[OSError] = self._loop.create_future()

    async def handshake(self) -> None:
        """HTTP has no handshake: the connection can be used immediately."""
        await self._loop.create_connection(lambda: self, sock=self._sock)

    async def write(self, offset: int, data: bytes) -> None:
        """PUT the object; a 2xx acknowledges it. Raises ``OSError``."""
        status, _ = await self._exchange("PUT", _path(offset), data)
        if not 200 <= status < 300:
            raise OSError(errno.EIO, f"PUT: status {status}")

    async def read(self, offset: int, length: int) -> bytes:
        """GET the object; empty if there is none. Raises ``OSError``."""
        status, body = await self._exchange("GET", _path(offset))
        if status == NOT_FOUND:
            return b""
        if status != 200:
            raise OSError(errno.EIO, f"GET: status {status}")
        return body

    async def disconnect(self) -> None:
        """Send a request with ``Connection: close``. Raises nothing.

        The server then closes first, so TIME_WAIT is on its side. A next run with the same
        seed finds its source ports free.
        """
        with contextlib.suppress(OSError):
            await self._exchange("GET", "/", headers=[("Connection", "close")])
            await wait_any(self.closed)

    def close(self) -> None:
        """Close the socket in any state. Call it once."""
        self.closed.cancel()
        if self._transport is None:
            self._sock.close()
        else:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio. Pass the data to h11, and check for a complete answer."""
        try:
            self._http.receive_data(data)
            self._handle_events()
        except h11.RemoteProtocolError as error:
            self._end(OSError(errno.EPROTO, f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio. ``exc`` is None after a FIN."""
        self._end(
            exc if isinstance(exc, OSError) else ServerClosed("the server closed")
        )

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: list[tuple[str, str]] | None = None,
    ) -> tuple[int, bytes]:
        """Send a request after the earlier ones are done. Returns (status, body)."""
        async with self._exchange_lock:
            if self.closed.done():
                raise self.closed.result()
            self._answer = self._loop.create_future()
            self._body.clear()
            self._send(method, path, body, headers or [])
            await self._answer
            if self._http.our_state is h11.DONE is self._http.their_state:
                self._http.start_next_cycle()
            return self._status, bytes(self._body)

    def _send(
        self, method: str, path: str, body: bytes, headers: list[tuple[str, str]]
    ) -> None:
        """Send the whole request in one write."""
        assert self._transport is not None
        lines = [("Host", self._host), *headers]
        if method == "PUT":
            lines.append(("Content-Length", str(len(body))))
        request = h11.Request(method=method, target=path, headers=lines)
        out = [self._http.send(request)]
        if body:
            out.append(self._http.send(h11.Data(data=body)))
        out.append(self._http.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in out if part))

    def _handle_events(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(None)
            elif not isinstance(event, h11.InformationalResponse):
                return  # h11.NEED_DATA or h11.PAUSED

    def _end(self, error: OSError) -> None:
        if not self.closed.done():
            self.closed.set_result(error)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _path(offset: int) -> str:
    """Path of the object with the block at that offset."""
    return f"/blocks/{offset}"
