"""A session of a C library with callbacks (libiscsi, libnfs), driven by asyncio.

Such a library opens its socket itself, and takes neither a socket nor a source port of the
caller. So it connects to a listener on loopback, and then the caller's connection takes the
place of that one (dup2(2)).
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable

from nodes.clients.client_report import ServerClosed
from nodes.clients.client_runtime import disconnect_reason

#: poll(2): the events of the libraries' ``which_events`` and ``service`` functions.
POLLIN, POLLOUT = 1, 4
#: Open files of a session: the library's socket, and the caller's.
FILES_PER_SESSION = 2


class PlaceholderListener:
    """The loopback listener that a library connects to first."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.portal = f"127.0.0.1:{self.port}".encode()

    def drop(self) -> None:
        """Close the connection that the library has just opened."""
        self._listener.accept()[0].close()


class LibrarySession(ABC):
    """A session over a socket of the caller. No method blocks.

    Each call of the library gets a number, which its callback gives to :meth:`_completed`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._pending: dict[int, asyncio.Future[object]] = {}
        #: Number, status and value of calls that the library has completed.
        self._done: list[tuple[int, int, object]] = []
        self._writing = False
        self._calls = 0
        #: Done when the connection has ended. The result is ``ServerClosed`` after a FIN,
        #: ``ConnectionResetError`` after a reset.
        self.closed: asyncio.Future[OSError] = self._loop.create_future()

    @abstractmethod
    def _wanted_events(self) -> int:
        """What the library waits for: :data:`POLLIN`, :data:`POLLOUT`."""

    @abstractmethod
    def _serve(self, events: int) -> bool:
        """Let the library do one step; False if its connection has ended."""

    @abstractmethod
    def _result(self, key: int, status: int, value: object) -> object:
        """What a completed call returns. Raises ``OSError`` if it failed. It is asked for
        each call once, even if its caller no longer waits."""

    def _replace(self, descriptor: int, placeholder: PlaceholderListener) -> None:
        """Put the caller's connection in the place of the library's, and watch it."""
        os.dup2(self._sock.fileno(), descriptor)
        placeholder.drop()
        self._loop.add_reader(self._sock, self._readable)

    async def _call(self, start: Callable[[int], None]) -> object:
        """The result of a call that ``start`` begins, by its number. Raises ``OSError``."""
        if self.closed.done():
            raise self.closed.result()
        self._calls += 1
        key = self._calls
        done = self._pending[key] = self._loop.create_future()
        try:
            start(key)
        except OSError:
            del self._pending[key]
            raise
        self._watch_writable()
        return await done

    def _completed(self, key: int, status: int, value: object = None) -> None:
        """For the library's callbacks, inside of :meth:`_serve`: it only records."""
        self._done.append((key, status, value))

    def _readable(self) -> None:
        """Check the socket first: the library would consume its error."""
        try:
            ended = not self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError as error:
            return self._end(error)
        if ended:
            return self._end(ServerClosed("the server closed the connection"))
        self._drive(POLLIN)

    def _writable(self) -> None:
        self._drive(POLLOUT)

    def _drive(self, events: int) -> None:
        """Let the library do one step, then hand out the results."""
        alive = self._serve(events)
        done, self._done = self._done, []
        if not alive:
            return self._end(disconnect_reason(self._sock))
        for key, status, value in done:
            self._settle(key, status, value)
        self._watch_writable()

    def _settle(self, key: int, status: int, value: object) -> None:
        """Set the result of a call, if its caller still waits."""
        future = self._pending.pop(key)
        try:
            result = self._result(key, status, value)
        except OSError as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)

    def _end(self, error: OSError) -> None:
        """The connection has ended. Fail all calls in flight."""
        self._unwatch_socket()
        if not self.closed.done():
            self.closed.set_result(error)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        self._pending.clear()

    def _watch_writable(self) -> None:
        """Watch for writability if the library has something to send."""
        if self.closed.done():
            return
        wants = bool(self._wanted_events() & POLLOUT)
        if wants == self._writing:
            return
        self._writing = wants
        if wants:
            self._loop.add_writer(self._sock, self._writable)
        else:
            self._loop.remove_writer(self._sock)

    def _unwatch_socket(self) -> None:
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._writing = False
