#!/usr/bin/env python3
"""A TCP echo service in one process, for as many connections as it may have files.

Every byte comes back, except three control characters:
EOT (0x04, Ctrl-D) closes the connection after the bytes before it were answered (FIN);
CAN (0x18, Ctrl-X) aborts it at once (RST), as a crashing application would;
DC1 (0x11, Ctrl-Q), between a line and a number N and a newline, repeats that line every
N milliseconds for as long as the client reads, also if it has shut down its own side.
"""

from __future__ import annotations

import argparse
import errno
import heapq
import json
import resource
import select
import socket
import struct
import sys
import time

ECHO_PORT = 7777
EOT = b"\x04"
CAN = b"\x18"
DC1 = b"\x11"
#: Waiting connections the kernel may hold; it takes min(this, net.core.somaxconn).
BACKLOG = 65535
CHUNK = 65536
ACCEPTS_AT_ONCE = 128
EVENTS_AT_ONCE = 512
#: SO_LINGER on, 0 seconds: close(2) sends RST (socket(7)).
ABORT = struct.pack("ii", 1, 0)
#: accept4(2): no file, no memory; the connection stays in the backlog.
OUT_OF_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class EchoServer:
    """The listeners, the connections, and one epoll(7) loop over both.

    A connection that does not take its answers is not read from: what waits for it is
    at most one chunk.
    """

    def __init__(self, port: int) -> None:
        """Listen on ``port``, IPv4 and IPv6. Raises ``OSError`` if that is not so."""
        self._epoll = select.epoll()
        self._listeners = {
            listener.fileno(): listener
            for listener in (
                # One each, not one for both: ss(8) then shows clients' own addresses.
                listen(socket.AF_INET, port),
                listen(socket.AF_INET6, port),
            )
        }
        self._connections: dict[int, socket.socket] = {}
        self._unsent: dict[int, bytes] = {}
        self._closing: set[int] = set()
        #: Connections whose line is repeated, and when each is due: (time, descriptor).
        self._lines: dict[int, tuple[bytes, float]] = {}
        self._due: list[tuple[float, int]] = []
        self._deaf: set[int] = set()
        self._accepting = False
        self._accept_more()

    def serve(self) -> None:
        """Serve until the process is killed."""
        while True:
            for fd, events in self._epoll.poll(self._wait_s(), EVENTS_AT_ONCE):
                if fd in self._listeners:
                    self._accept(self._listeners[fd])
                elif fd in self._deaf and events & (select.EPOLLERR | select.EPOLLHUP):
                    self._close(fd)  # recv(2) would only say that the client is done
                elif events & select.EPOLLOUT:
                    self._flush(fd)
                else:
                    self._receive(fd)
            self._repeat_lines()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                connection, _address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in OUT_OF_ROOM:
                    self._pause_accepting(error)
                    return
                continue  # ECONNABORTED and kin: that one left before it was served
            connection.setblocking(False)
            self._connections[connection.fileno()] = connection
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _pause_accepting(self, error: OSError) -> None:
        """Leave the listeners alone until a connection ends, else epoll would spin."""
        if self._accepting:
            for fd in self._listeners:
                self._epoll.unregister(fd)
            self._accepting = False
            report("full", connections=len(self._connections), reason=str(error))

    def _accept_more(self) -> None:
        if not self._accepting:
            for fd in self._listeners:
                self._epoll.register(fd, select.EPOLLIN)
            self._accepting = True

    def _receive(self, fd: int) -> None:
        try:
            data = self._connections[fd].recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            return self._close(fd)
        if CAN in data:
            return self._abort(fd)
        if DC1 in data:
            return self._begin_line(fd, data)
        if fd in self._lines and not data:
            self._deaf.add(fd)
            return self._epoll.modify(fd, 0)
        if EOT in data or not data:
            self._closing.add(fd)
            data = data.partition(EOT)[0]
        self._answer(fd, data)

    def _answer(self, fd: int, data: bytes) -> None:
        """Send; what the connection does not take waits until it does."""
        try:
            sent = self._connections[fd].send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            return self._close(fd)
        if sent < len(data):
            self._unsent[fd] = data[sent:]
            self._epoll.modify(fd, select.EPOLLOUT)
        elif fd in self._closing:
            self._close(fd)

    def _begin_line(self, fd: int, data: bytes) -> None:
        """A line, DC1, milliseconds. Anything else there is the end of a connection."""
        line, _, text = data.partition(DC1)
        if not text.strip().isdigit() or not int(text):
            return self._abort(fd)
        self._lines[fd] = line, int(text) / 1000
        heapq.heappush(self._due, (time.monotonic(), fd))

    def _wait_s(self) -> float:
        """Until the next line is due, for epoll(7): -1 for ever."""
        if not self._due:
            return -1.0
        return max(0.0, self._due[0][0] - time.monotonic())

    def _repeat_lines(self) -> None:
        """Those that are due; who has not taken the last one does not get another."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, fd = heapq.heappop(self._due)
            if fd not in self._lines:
                continue  # its connection has ended
            line, interval_s = self._lines[fd]
            heapq.heappush(self._due, (now + interval_s, fd))
            if fd not in self._unsent:
                self._answer(fd, line)

    def _flush(self, fd: int) -> None:
        self._epoll.modify(fd, 0 if fd in self._deaf else select.EPOLLIN)
        self._answer(fd, self._unsent.pop(fd))

    def _abort(self, fd: int) -> None:
        self._connections[fd].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self._close(fd)

    def _close(self, fd: int) -> None:
        self._connections.pop(fd).close()  # epoll forgets it by itself
        self._unsent.pop(fd, None)
        if self._lines.pop(fd, None):  # the next connection may get the same descriptor
            self._due = [entry for entry in self._due if entry[1] != fd]
            heapq.heapify(self._due)
        self._deaf.discard(fd)
        self._closing.discard(fd)
        self._accept_more()


def listen(family: socket.AddressFamily, port: int) -> socket.socket:
    """A non-blocking listener on every address of that family, and of no other."""
    listener = socket.create_server(("", port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def raise_file_limit() -> int:
    """Allow as many open files as this process may have; that number."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def report(event: str, **fields: object) -> None:
    """One JSON line on standard output, as clients write them."""
    print(json.dumps({"t": time.time(), "event": event, **fields}), flush=True)


def main(argv: list[str]) -> int:
    """Serve. Returns 1, having said why, if it cannot listen."""
    parser = argparse.ArgumentParser(
        prog="echo_server.py",
        description=__doc__,
        epilog='Says {"event": "listening", "files": N} when it does, N the connections'
        ' it has room for, and "full" when there is no more room.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, choices=range(1, 65536), metavar="PORT")
    parser.set_defaults(port=ECHO_PORT)
    port = parser.parse_args(argv).port
    files = raise_file_limit()
    try:
        server = EchoServer(port)
    except OSError as error:
        print(f"echo_server.py: port {port}: {error}", file=sys.stderr)
        return 1
    report("listening", port=port, files=files)
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
