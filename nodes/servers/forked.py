"""Programs on hosts that are forked instead of started: see :mod:`nodes.servers.fork_server`."""

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

from nodes.servers.fork_server import ORDER_SIZE

PROGRAM = Path(__file__).with_name("fork_server.py")


class ForkError(RuntimeError):
    """A program could not be forked; the message says why."""


class ForkedProcess:
    """One forked program, with the methods of ``subprocess.Popen`` that are of use.

    It is nobody's child here, so how it ended is not known: a status of 0 stands for
    "it has ended".
    """

    def __init__(self, pid: int) -> None:
        """``pid`` has been forked just now. One that has ended by now has ended."""
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
    """One program, ready to be forked. It is started when it is needed first.

    The programs that were forked outlive it: should it be killed, only the next
    :meth:`start` notices, and starts another.
    """

    def __init__(self, program: Path) -> None:
        """``program``: a Python file with ``main(arguments) -> exit status``."""
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None

    def start(self, pid: int, arguments: Sequence[str], log: Path) -> ForkedProcess:
        """The program, in the network of process ``pid``; its output goes to ``log``.

        Raises :class:`ForkError`.
        """
        order = {"pid": pid, "arguments": list(arguments), "log": str(log.absolute())}
        if self._process is None or self._process.poll() is not None:
            self._begin()
        assert self._orders
        try:
            self._orders.send(json.dumps(order).encode())
            answer = self._orders.recv(ORDER_SIZE)
        except OSError as error:
            raise ForkError(
                f"the fork server of {self._program.name}: {error}"
            ) from error
        said = json.loads(answer or b'{"error": "has ended"}')
        if "error" in said:
            raise ForkError(f"{self._program.name} on {pid}: {said['error']}")
        return ForkedProcess(said["pid"])

    def close(self) -> None:
        """End it; what it has forked goes on."""
        if self._process is not None:
            assert self._orders
            self._orders.close()
            self._process.wait()
            self._process = None

    def _begin(self) -> None:
        if self._orders:
            self._orders.close()
        self._orders, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(self._program)],
                stdin=theirs.fileno(),
                start_new_session=True,
            )
