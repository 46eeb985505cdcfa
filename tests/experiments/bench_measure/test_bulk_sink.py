"""The benchmark's receiver and sender of bulk data, over loopback."""

from __future__ import annotations

import ast
import ctypes
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis.bench_network import PROGRAMS, start_local
from experiments.bench.measure.programs import bulk_sink, bulk_source
from tests.experiments.bench_measure.loopback_server import (
    ABORT,
    DEADLINE_S,
    unused_ports,
)

#: The sink without its listeners in other namespaces, which take root.
_SERVE = """
import socket, sys
sys.path.insert(0, sys.argv[1])
import bulk_sink
listening = [socket.socket(fileno=int(fd)) for fd in sys.argv[2:]]
bulk_sink.serve({each.fileno(): each for each in listening})
"""


class Sink:
    """A running sink, and the ports at which it listens."""

    def __init__(self, program: subprocess.Popen[str], ports: Sequence[int]) -> None:
        self.program = program
        self.ports = ports

    def counts(self) -> dict[str, Any]:
        """Its reply to one line."""
        assert self.program.stdin
        assert self.program.stdout
        self.program.stdin.write("\n")
        self.program.stdin.flush()
        reply: dict[str, Any] = json.loads(self.program.stdout.readline())
        return reply

    def octets_once(self, least: int) -> int:
        """The number of bytes received, once it is at least ``least``."""
        begun: float | None = None
        while True:
            reply = self.counts()
            begun = begun or reply["monotonic_s"]
            if reply["octets"] >= least:
                return int(reply["octets"])
            assert reply["monotonic_s"] < begun + DEADLINE_S, reply


@contextmanager
def sink(listeners: int = 1) -> Iterator[Sink]:
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(listeners)]
    fds = [each.fileno() for each in made]
    command = [sys.executable, "-c", _SERVE, str(PROGRAMS), *map(str, fds)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=fds,
    ) as program:
        ports = [each.getsockname()[1] for each in made]
        for each in made:
            each.close()
        try:
            yield Sink(program, ports)
        finally:
            program.kill()


@pytest.fixture(scope="module")
def lasting() -> Iterator[Sink]:
    """One sink for many examples."""
    with sink() as running:
        yield running


def sent(port: int, data: bytes, *, reset: bool = False) -> None:
    """Sends the data on its own connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)


def test_without_data_the_count_is_0() -> None:
    with sink() as running:
        assert running.counts()["octets"] == 0


@given(st.lists(st.integers(0, 1 << 17), max_size=4))
def test_octets_are_counted_over_all_connections(
    lasting: Sink, sizes: list[int]
) -> None:
    before = lasting.counts()["octets"]
    for size in sizes:
        sent(lasting.ports[0], bytes(size))
    assert lasting.octets_once(before + sum(sizes)) == before + sum(sizes)


def test_every_listener_is_served() -> None:
    with sink(listeners=3) as running:
        for number, port in enumerate(running.ports):
            sent(port, bytes(10**number))
        assert running.octets_once(111) == 111


def test_more_data_than_one_read_takes_are_counted() -> None:
    size = 3 * len(bulk_sink._SCRATCH) + 1
    with sink() as running:
        sent(running.ports[0], bytes(size))
        assert running.octets_once(size) == size


def test_a_reset_connection_does_not_affect_the_others() -> None:
    with sink() as running, socket.socket() as lasting:
        lasting.connect(("127.0.0.1", running.ports[0]))
        sent(running.ports[0], b"", reset=True)
        lasting.sendall(b"twelve octets"[:12])
        assert running.octets_once(12) == 12


def test_the_sink_closes_connections_that_the_sender_has_closed() -> None:
    with sink() as running, socket.socket() as sender:
        sender.settimeout(DEADLINE_S)
        sender.connect(("127.0.0.1", running.ports[0]))
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(1) == b""


def test_the_time_is_monotonic() -> None:
    with sink() as running:
        times = [running.counts()["monotonic_s"] for _ in range(3)]
        assert times == sorted(times)


def test_the_sink_ends_at_the_end_of_input_with_open_connections() -> None:
    with sink() as running, socket.socket() as open_one:
        open_one.connect(("127.0.0.1", running.ports[0]))
        open_one.sendall(b"x")
        assert running.octets_once(1) == 1
        assert running.program.stdin
        running.program.stdin.close()
        assert running.program.wait(DEADLINE_S) == 0


class FakeLibrary:
    """A C library whose setns does nothing, or fails."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.entered: list[tuple[str, int]] = []

    def setns(self, fd: int, kind: int) -> int:
        self.entered.append((os.readlink(f"/proc/self/fd/{fd}"), kind))
        return self.status


def fake(monkeypatch: pytest.MonkeyPatch, status: int) -> FakeLibrary:
    library = FakeLibrary(status)
    fakes = SimpleNamespace(CDLL=lambda *_, **__: library, get_errno=lambda: 1)
    monkeypatch.setattr(bulk_sink, "ctypes", fakes)
    return library


def test_both_ip_versions_listen_at_the_same_port_of_the_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = fake(monkeypatch, 0)
    (port,) = unused_ports(1)
    made = bulk_sink.listeners(os.getpid(), port)
    try:
        assert [each.family for each in made] == [socket.AF_INET, socket.AF_INET6]
        assert {each.getsockname()[1] for each in made} == {port}
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()
    finally:
        for each in made:
            each.close()
    own = os.readlink("/proc/self/ns/net")
    assert library.entered == [(own, bulk_sink._CLONE_NEWNET)]


def test_a_namespace_that_cannot_be_entered_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake(monkeypatch, -1)
    with pytest.raises(PermissionError, match="setns"):
        bulk_sink.listeners(os.getpid(), 1)


def test_the_c_library_has_setns() -> None:
    assert ctypes.CDLL(None).setns


@contextmanager
def source(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with start_local("bulk_source", *arguments) as program:
        try:
            yield program
        finally:
            program.kill()


def test_data_from_the_requested_source_ports_arrive() -> None:
    own = unused_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ways = [f"--to={each}@127.0.0.1" for each in own]
        with source(f"--port={port}", *ways) as program:
            assert program.stdout
            assert json.loads(program.stdout.readline()) == {"connected": 2}
            reached = set()
            for _ in own:
                connection, (_, there) = server.accept()
                reached.add(there)
                with connection:
                    connection.settimeout(DEADLINE_S)
                    assert set(connection.recv(1000)) == {0}
                    if len(reached) < len(own):
                        connection.detach()
            assert reached == set(own)


def test_source_and_sink_work_together() -> None:
    ways = [f"--to={own}@127.0.0.1" for own in unused_ports(3)]
    with sink() as running, source(f"--port={running.ports[0]}", *ways):
        assert running.octets_once(1 << 24) >= 1 << 24


def test_a_refused_connection_ends_the_source_without_output() -> None:
    closed, own = unused_ports(2)
    with source(f"--port={closed}", f"--to={own}@127.0.0.1") as program:
        out, _ = program.communicate(timeout=DEADLINE_S)
    assert out == ""
    assert program.returncode != 0


def test_the_source_does_not_go_on_without_its_receiver() -> None:
    (own,) = unused_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with source(f"--port={port}", f"--to={own}@127.0.0.1") as program:
            server.accept()[0].close()
            assert program.wait(DEADLINE_S) != 0


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
)
def test_the_target_decides_the_ip_version(
    host: str, family: socket.AddressFamily
) -> None:
    (own,) = unused_ports(1)
    with socket.create_server((host, 0), family=family) as server:
        with bulk_source.connect(host, server.getsockname()[1], own) as made:
            assert made.family == family
            assert made.getsockname()[:2] == (host, own)
            assert not made.getblocking()
        server.accept()[0].close()


@pytest.mark.parametrize("program", ["bulk_source", "bulk_sink"])
@pytest.mark.parametrize("given_options", [[], ["--port=1"], ["--port=one"]])
def test_required_options_must_be_given(program: str, given_options: list[str]) -> None:
    with start_local(program, *given_options) as started:
        _, _ = started.communicate(timeout=DEADLINE_S)
    assert started.returncode == 2


def started_programs() -> Iterator[tuple[str, str]]:
    """(File, name of a program that it starts) over the whole benchmark."""
    position = {"start_local": 0, "start_on_host": 2}
    for path in sorted(PROGRAMS.parents[1].rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                at = position.get(call.func.id, len(call.args))
                for given_name in call.args[at : at + 1]:
                    if isinstance(given_name, ast.Constant):
                        yield path.name, str(given_name.value)


def test_every_program_that_is_started_by_name_exists() -> None:
    started = list(started_programs())
    assert {"load_generator", "bulk_sink", "bulk_source"} == {n for _, n in started}
    assert [one for one in started if not (PROGRAMS / f"{one[1]}.py").is_file()] == []
