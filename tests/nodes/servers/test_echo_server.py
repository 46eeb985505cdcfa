"""The echo server over the loopback: what comes back, and how connections end."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.servers import echo_server

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 30.0
#: Listens where the kernel finds room, and tells: the two ports are not the same.
_SERVER = """
import json, resource, socket, sys
from nodes.servers.echo_server import EchoServer, report
server = EchoServer(0)
listeners = server._listeners.values()
report("listening", **{one.family.name: one.getsockname()[1] for one in listeners})
files = int(sys.argv[1])
if files:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
server.serve()
"""


class Echo:
    """A running server; ``files``: its limit of open files, 0 for what it has."""

    def __init__(self, files: int = 0) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(files)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ports = self.told()

    def told(self) -> dict[str, object]:
        """The next line that it reports."""
        assert self.process.stdout is not None
        line = json.loads(self.process.stdout.readline())
        assert isinstance(line, dict)
        return line

    def connect(self, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
        address = "127.0.0.1" if family == socket.AF_INET else "::1"
        port = self._ports[family.name]
        assert isinstance(port, int)
        return socket.create_connection((address, port), timeout=TIMEOUT_S)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.stop()


@pytest.fixture
def small_echo() -> Iterator[Echo]:
    """A server that can hold few connections."""
    server = Echo(files=24)
    yield server
    server.stop()


def read(connection: socket.socket, size: int) -> bytes:
    """That many octets, or those until the end of the stream."""
    got = b""
    while len(got) < size and (more := connection.recv(size - len(got))):
        got += more
    return got


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_what_is_sent_comes_back(echo: Echo, family: socket.AddressFamily) -> None:
    with echo.connect(family) as connection:
        for word in (b"one\n", b"\x00\xff", b"\n"):
            connection.sendall(word)
            assert read(connection, len(word)) == word


def test_connections_do_not_receive_each_others_data(echo: Echo) -> None:
    with echo.connect() as one, echo.connect() as other:
        one.sendall(b"one")
        other.sendall(b"other")
        assert (read(other, 5), read(one, 3)) == (b"other", b"one")


def fill(slow: socket.socket, other: socket.socket, chunk: bytes) -> int:
    """Send until the server reads no more; how much. Each round is a turn of its loop."""
    sent = idle = 0
    slow.setblocking(False)
    while idle < 500:
        try:
            sent += slow.send(chunk[sent % len(chunk) :])
            idle = 0
        except BlockingIOError:
            idle += 1
            other.sendall(b"still there")
            assert read(other, 11) == b"still there"
    slow.settimeout(TIMEOUT_S)
    return sent


def test_a_slow_reader_loses_nothing_and_delays_no_other(
    echo: Echo,
) -> None:
    """More than all socket buffers hold; it is read by the sender only afterwards."""
    chunk = bytes(range(32, 128)) * 1000
    with echo.connect() as slow, echo.connect() as other:
        sent = fill(slow, other, chunk)
        assert sent > len(chunk)
        assert read(slow, sent) == (chunk * (sent // len(chunk) + 1))[:sent]


def test_end_of_transmission_closes_after_the_echo(echo: Echo) -> None:
    with echo.connect() as connection:
        connection.sendall(b"last words\x04not these")
        assert read(connection, 100) == b"last words"


def test_a_client_that_shuts_down_its_side_gets_its_answer_and_the_end(
    echo: Echo,
) -> None:
    with echo.connect() as connection:
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        assert read(connection, 100) == b"bye"


@pytest.mark.parametrize(
    "words",
    [b"\x18", b"line\x18\x04", b"line\x11\n", b"line\x110\n", b"line\x11-5\n"],
    ids=["cancel", "cancel-wins", "no-interval", "no-time", "negative"],
)
def test_an_abort_is_a_reset(echo: Echo, words: bytes) -> None:
    with echo.connect() as connection, pytest.raises(ConnectionResetError):
        connection.sendall(words)
        connection.recv(1)


def test_a_line_is_repeated_also_after_a_half_close(echo: Echo) -> None:
    with echo.connect() as connection:
        connection.sendall(b"tick\n\x111\n")
        connection.shutdown(socket.SHUT_WR)
        assert read(connection, 50) == b"tick\n" * 10


def test_a_second_line_replaces_the_first(echo: Echo) -> None:
    """An interval of an hour: the second line is sent once, and the first one no longer."""
    with echo.connect() as connection, echo.connect() as clock:
        connection.sendall(b"tick\n\x111\n")
        assert read(connection, 5) == b"tick\n"
        connection.sendall(b"tock\n\x113600000\n")
        while read(connection, 5) != b"tock\n":
            pass
        clock.sendall(b"wait\n\x111\n")
        assert read(clock, 100) == b"wait\n" * 20, "longer than the first interval"
        connection.sendall(b"\x04")
        assert read(connection, 100) == b""


def test_a_descriptor_used_again_repeats_nothing_of_the_last_connection(
    echo: Echo,
) -> None:
    """The server's next connection gets the lowest free descriptor: the same again."""
    with echo.connect() as connection:
        connection.sendall(b"tick\n\x111\n")
        assert read(connection, 5) == b"tick\n"
        connection.sendall(b"\x18")
        with pytest.raises(ConnectionResetError):
            while connection.recv(1 << 16):
                pass
    with echo.connect() as connection:
        connection.sendall(b"plain")
        with echo.connect() as clock:
            clock.sendall(b"tick\n\x111\n")
            assert read(clock, 100) == b"tick\n" * 20, "the time of twenty lines"
        connection.sendall(b"\x04")
        assert read(connection, 100) == b"plain"


def test_a_full_server_reports_it_and_serves_waiting_connections_when_another_ends(
    small_echo: Echo,
) -> None:
    connections = [small_echo.connect() for _ in range(24)]
    try:
        told = small_echo.told()
        held = told["connections"]
        assert told["event"] == "full"
        assert isinstance(held, int)
        assert 0 < held < len(connections)
        connections[held].sendall(b"waiting")
        connections[0].sendall(b"served")
        assert read(connections[0], 6) == b"served"
        connections[0].close()
        assert read(connections[held], 7) == b"waiting"
        assert small_echo.told()["event"] == "full", "room for one, and no more"
    finally:
        for connection in connections:
            connection.close()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(Path(echo_server.__file__))]
    return subprocess.run(
        [*program, *arguments], capture_output=True, text=True, check=False
    )


def test_a_port_in_use_is_reported_with_exit_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(f"--port={port}")
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_an_invalid_port_is_refused(port: str) -> None:
    done = run(f"--port={port}")
    assert (done.returncode, "--port" in done.stderr) == (2, True)


def test_the_limit_of_files_is_raised_to_the_hard_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: told.append(pair))
    assert echo_server.raise_file_limit() == 4096
    assert told == [(4096, 4096)]
