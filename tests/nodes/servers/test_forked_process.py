"""A fork server that is killed is started again, also in the middle of a request."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.servers.forked_process import ForkError, ForkServer
from tests.topologies.waiting import eventually

PROGRAM = """
def main(arguments):
    with open(arguments[0], "a") as file:
        file.write("ran\\n")
    return 0
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    server = ForkServer(program)
    yield server
    server.close()


def start(server: ForkServer, folder: Path) -> None:
    """Runs the program, in our own namespaces where we may not enter any."""
    server.start(os.getpid(), [str(folder / "ran")], folder / "log").wait(20)


def unread(server: ForkServer) -> int:
    """Octets of requests that it has not read (unix(7): SIOCOUTQ)."""
    assert server._requests
    answer = fcntl.ioctl(server._requests, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def test_one_that_is_killed_in_a_request(server: ForkServer, tmp_path: Path) -> None:
    start(server, tmp_path)
    assert server._process
    first = server._process.pid
    os.kill(first, signal.SIGSTOP)
    status = Path(f"/proc/{first}/status")
    eventually("it is stopped", lambda: "\nState:\tT" in status.read_text())
    asking = threading.Thread(target=start, args=(server, tmp_path), daemon=True)
    asking.start()
    try:
        eventually("it has asked", lambda: unread(server))
    finally:
        os.kill(first, signal.SIGKILL)
    asking.join(20)
    assert not asking.is_alive()
    assert server._process.pid != first


def test_one_that_cannot_start(tmp_path: Path) -> None:
    server = ForkServer(tmp_path / "missing.py")
    with pytest.raises(ForkError, match="has ended"):
        start(server, tmp_path)
    server.close()
