"""Processes on hosts that are forked by :mod:`nodes.servers.fork_server`."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nodes.servers.fork_server import REQUEST_SIZE

PROGRAM = Path(__file__).with_name("fork_server.py")


class ForkError(RuntimeError):
    """A program could not be forked. The message says why."""


class ForkedProcess:
    """One forked process, with some methods of ``subprocess.Popen``.

    It is not a child of this process, so its exit status is unknown. 0 means "has
    ended".
    """

    def __init__(self, pid: int) -> None:
        """``pid`` was forked just now. It may have ended already."""
        self.pid = pid
        self._pidfd: int | None = None
        with suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """0 if it has ended, None while it runs."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises :class:`subprocess.TimeoutExpired`."""
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return 0

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _ended(self, timeout_s: float | None) -> bool:
        if self._pidfd is None:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(None if timeout_s is None else timeout_s * 1000):
            return False
        os.close(self._pidfd)
        self._pidfd = None
        return True


class ForkServer:
    """A fork server for one program. The first :meth:`start` starts it.

    The forked processes outlive it. If it was killed, the next :meth:`start` starts
    another.
    """

    def __init__(self, program: Path) -> None:
        """``program``: a Python file with ``main(arguments) -> exit status``."""
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def start(self, pid: int, arguments: Sequence[str], log: Path) -> ForkedProcess:
        """Fork the program in the network of process ``pid``, with output to ``log``.

        A server that is killed meanwhile is started again, once. Raises :class:`ForkError`.
        """
        request = {"pid": pid, "arguments": list(arguments), "log": str(log.absolute())}
        message = json.dumps(request).encode()
        answer = self._ask(message) or self._ask(message)
        reply = json.loads(answer or b'{"error": "the fork server has ended"}')
        if "error" in reply:
            raise ForkError(f"{self._program.name} on {pid}: {reply['error']}")
        return ForkedProcess(reply["pid"])

    def close(self) -> None:
        """End the server. Forked processes continue."""
        if self._process is not None:
            assert self._requests
            self._requests.close()
            self._process.wait()
            self._process = None

    def _ask(self, message: bytes) -> bytes:
        """Its answer; empty if it has ended."""
        if self._process is None or self._process.poll() is not None:
            self._start_server()
        assert self._process
        assert self._requests
        answer = b""
        with suppress(OSError):
            self._requests.send(message)
            answer = self._requests.recv(REQUEST_SIZE)
        if not answer:
            self._process.wait()
        return answer

    def _start_server(self) -> None:
        if self._requests:
            self._requests.close()
        self._requests, server_end = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with server_end:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(self._program)],
                stdin=server_end.fileno(),
                start_new_session=True,
            )
