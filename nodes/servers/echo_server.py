#!/usr/bin/env python3
"""A TCP echo service in one process; the limit is the number of open files.

Every byte is echoed, except three control characters:
EOT (0x04, Ctrl-D) closes the connection after the bytes before it were echoed (FIN);
CAN (0x18, Ctrl-X) aborts it immediately (RST), like a crashing application;
DC1 (0x11, Ctrl-Q), between a line and a number N with a newline, repeats that line every
N milliseconds while the client reads, also if it has shut down its sending side. A
second such line replaces the first.
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
#: Length of the accept queue; the kernel uses min(this, net.core.somaxconn).
BACKLOG = 65535
CHUNK = 65536
ACCEPTS_AT_ONCE = 128
EVENTS_AT_ONCE = 512
#: SO_LINGER on, 0 seconds: close(2) sends RST (socket(7)).
ABORT = struct.pack("ii", 1, 0)
#: accept4(2): no file or no memory; the connection stays in the accept queue.
OUT_OF_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class EchoServer:
    """The listeners, the connections, and one epoll(7) loop for both.

    If a client does not read its answers, its connection is not read either. So at most
    one chunk of unsent data is kept for it.
    """

    def __init__(self, port: int) -> None:
        """Listen on ``port``, IPv4 and IPv6. Raises ``OSError`` if that fails."""
        self._epoll = select.epoll()
        self._listeners = {
            listener.fileno(): listener
            for listener in (
                # Two listeners, not one for both: ss(8) then shows IPv4 addresses as such.
                listen(socket.AF_INET, port),
                listen(socket.AF_INET6, port),
            )
        }
        self._connections: dict[int, socket.socket] = {}
        self._unsent: dict[int, bytes] = {}
        self._closing: set[int] = set()
        #: Lines to repeat, by descriptor: (line, interval); and a heap of due times:
        #: (time, descriptor).
        self._lines: dict[int, tuple[bytes, float]] = {}
        self._due: list[tuple[float, int]] = []
        self._read_closed: set[int] = set()
        self._accepting = False
        self._accept_more()

    def serve(self) -> None:
        """Serve until the process is killed."""
        while True:
            for fd, events in self._epoll.poll(self._wait_s(), EVENTS_AT_ONCE):
                if fd in self._listeners:
                    self._accept(self._listeners[fd])
                elif fd in self._read_closed and events & (
                    select.EPOLLERR | select.EPOLLHUP
                ):
                    self._close(fd)  # recv(2) would only return end of file
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
                continue  # ECONNABORTED and similar: the client has already closed
            connection.setblocking(False)
            self._connections[connection.fileno()] = connection
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _pause_accepting(self, error: OSError) -> None:
        """Stop accepting until a connection ends; epoll would busy-loop otherwise."""
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
            return self._start_repeating(fd, data)
        if fd in self._lines and not data:
            self._read_closed.add(fd)
            return self._epoll.modify(fd, 0)
        if EOT in data or not data:
            self._closing.add(fd)
            data = data.partition(EOT)[0]
        self._answer(fd, data)

    def _answer(self, fd: int, data: bytes) -> None:
        """Send the data. The unsent rest waits until the socket is writable."""
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

    def _start_repeating(self, fd: int, data: bytes) -> None:
        """A line, DC1, milliseconds. For anything else the connection is aborted."""
        line, _, text = data.partition(DC1)
        if not text.strip().isdigit() or not int(text):
            return self._abort(fd)
        self._stop_repeating(fd)
        self._lines[fd] = line, int(text) / 1000
        heapq.heappush(self._due, (time.monotonic(), fd))

    def _stop_repeating(self, fd: int) -> None:
        if self._lines.pop(fd, None):
            self._due = [entry for entry in self._due if entry[1] != fd]
            heapq.heapify(self._due)

    def _wait_s(self) -> float:
        """Seconds until the next line is due, for epoll(7); -1 without any."""
        if not self._due:
            return -1.0
        return max(0.0, self._due[0][0] - time.monotonic())

    def _repeat_lines(self) -> None:
        """Send the lines that are due, except where the last one is still unsent."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, fd = heapq.heappop(self._due)
            line, interval_s = self._lines[fd]
            heapq.heappush(self._due, (now + interval_s, fd))
            if fd not in self._unsent:
                self._answer(fd, line)

    def _flush(self, fd: int) -> None:
        self._epoll.modify(fd, 0 if fd in self._read_closed else select.EPOLLIN)
        self._answer(fd, self._unsent.pop(fd))

    def _abort(self, fd: int) -> None:
        self._connections[fd].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self._close(fd)

    def _close(self, fd: int) -> None:
        self._connections.pop(fd).close()  # this also removes it from epoll
        self._unsent.pop(fd, None)
        self._stop_repeating(fd)  # the next connection may get the same descriptor
        self._read_closed.discard(fd)
        self._closing.discard(fd)
        self._accept_more()


def listen(family: socket.AddressFamily, port: int) -> socket.socket:
    """A non-blocking listener on all addresses of that family only."""
    listener = socket.create_server(("", port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def raise_file_limit() -> int:
    """Raise the limit of open files to the hard limit. Returns that limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def report(event: str, **fields: object) -> None:
    """Write one JSON line to standard output, in the format of the clients."""
    print(json.dumps({"t": time.time(), "event": event, **fields}), flush=True)


def main(argv: list[str]) -> int:
    """Serve. Returns 1, with a message, if it cannot listen."""
    parser = argparse.ArgumentParser(
        prog="echo_server.py",
        description=__doc__,
        epilog='Writes {"event": "listening", "files": N} when it listens, N the limit of open'
        ' files, and "full" when the limit is reached.',
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
