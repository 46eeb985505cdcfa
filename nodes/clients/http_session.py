"""One HTTP/1.1 connection that is kept alive: blocks are objects, by PUT and GET.

The protocol's state machine is h11's, the one beneath httpx; asyncio carries the bytes.
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
from nodes.clients.client_runtime import first_of

#: A session's sockets: the one that it is given.
FILES_PER_SESSION = 1
NOT_FOUND = 404


class HttpSession(asyncio.Protocol):
    """A connection to an object store over a socket of the caller's."""

    #: An object store has no end.
    export_size = sys.maxsize

    def __init__(self, sock: socket.socket, host: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._host = f"[{host}]" if ":" in host else host
        self._http = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._turn = asyncio.Lock()
        self._body = bytearray()
        self._status = 0
        self._answer: asyncio.Future[None] | None = None
        #: Done when the connection ended; the result says how. ``ServerClosed`` for an
        #: orderly end, ``ConnectionResetError`` for a reset.
        self.lost: asyncio.Future[OSError] = self._loop.create_future()

    async def handshake(self) -> None:
        """HTTP has none: a connection serves as soon as it is there."""
        await self._loop.create_connection(lambda: self, sock=self._sock)

    async def write(self, offset: int, data: bytes) -> None:
        """PUT the object; a 2xx acknowledges it. Raises ``OSError``."""
        status, _ = await self._exchange("PUT", _path(offset), data)
        if not 200 <= status < 300:
            raise OSError(errno.EIO, f"PUT: the server said {status}")

    async def read(self, offset: int, length: int) -> bytes:
        """GET the object; empty if there is none. Raises ``OSError``."""
        status, body = await self._exchange("GET", _path(offset))
        if status == NOT_FOUND:
            return b""
        if status != 200:
            raise OSError(errno.EIO, f"GET: the server said {status}")
        return body

    async def disconnect(self) -> None:
        """One more request, with ``Connection: close``. Nothing raised.

        The server then closes first, and TIME_WAIT is its: the same seed finds its
        source ports free in the next run.
        """
        with contextlib.suppress(OSError):
            await self._exchange("GET", "/", headers=[("Connection", "close")])
            await first_of(self.lost)

    def close(self) -> None:
        """Let go of the socket, whatever state the connection is in. Call it once."""
        self.lost.cancel()
        if self._transport is None:
            self._sock.close()
        else:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: let h11 take it in, and see whether an answer is whole."""
        try:
            self._http.receive_data(data)
            self._take_events()
        except h11.RemoteProtocolError as error:
            self._end(OSError(errno.EPROTO, f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio, ``exc`` None for an orderly end."""
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
        """One request and its answer, when those before it are done: (status, body)."""
        async with self._turn:
            if self.lost.done():
                raise self.lost.result()
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
        """The whole request in one write."""
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

    def _take_events(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(None)
            else:  # h11.NEED_DATA, h11.PAUSED, or a 1xx that says nothing
                return

    def _end(self, error: OSError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _path(offset: int) -> str:
    """Of the object that holds the block which begins at that byte."""
    return f"/blocks/{offset}"
