"""The load generator's program: opening, requests and closing, over loopback."""

from __future__ import annotations

import json
import select
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from experiments.bench.basis.bench_network import start_local
from experiments.bench.measure.load_generators import receive_reply, send_request
from experiments.bench.measure.programs.load_generator import (
    PORT_RANGE,
    REQUEST,
    LoadGenerator,
)
from nodes.clients import client_ports
from tests.experiments.bench_measure.loopback_server import (
    DEADLINE_S,
    ECHO,
    END,
    RESET,
    SILENT,
    LoopbackServer,
    loopback_server,
    unused_ports,
    unused_seed,
)

#: Long enough for an answer over loopback not to come.
SHORT_S = 0.3
Make = Callable[..., LoadGenerator]


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with loopback_server() as made:
        yield made


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes generators in this process, which are closed at the end of the test."""
    made: list[LoadGenerator] = []

    def one(
        server_port: int, ports: Sequence[int], targets: Sequence[str] = ("127.0.0.1",)
    ) -> LoadGenerator:
        generator = LoadGenerator(targets, server_port, ports, "")
        made.append(generator)
        return generator

    yield one
    for each in made:
        each.close()


def opened_ports(reply: dict[str, Any]) -> list[int]:
    return [port for _, port in reply["ports"]]


def test_every_opened_connection_is_reported_with_its_source_port(
    server: LoopbackServer, make: Make
) -> None:
    ports = unused_ports(5)
    found = make(server.port, ports).open(5, 2, DEADLINE_S)
    assert (found["opened"], found["failures"]) == (5, {})
    assert found["ports"] == [[index, port] for index, port in enumerate(ports)]
    assert found["first_s"] <= found["last_s"]
    for port in ports:
        assert server.connection(port).getpeername() == ("127.0.0.1", port)


def test_a_second_opening_continues_indices_and_ports(
    server: LoopbackServer, make: Make
) -> None:
    ports = unused_ports(5)
    generator = make(server.port, ports)
    generator.open(2, 10, DEADLINE_S)
    found = generator.open(3, 10, DEADLINE_S)
    assert found["opened"] == 3
    assert found["ports"] == [[2, ports[2]], [3, ports[3]], [4, ports[4]]]


def test_opening_no_connection_returns_immediately(
    server: LoopbackServer, make: Make
) -> None:
    found = make(server.port, []).open(0, 10, DEADLINE_S)
    assert (found["opened"], found["failures"], found["ports"]) == (0, {}, [])
    assert found["first_s"] == found["last_s"]


def test_a_refused_connection_is_counted_by_its_error(make: Make) -> None:
    closed, *ports = unused_ports(4)
    found = make(closed, ports).open(3, 1, DEADLINE_S)
    assert (found["opened"], found["ports"]) == (0, [])
    assert found["failures"] == {"ECONNREFUSED": 3}


def test_failed_connections_get_no_request(make: Make) -> None:
    closed, *ports = unused_ports(3)
    generator = make(closed, ports)
    generator.open(2, 2, DEADLINE_S)
    assert generator.request(None, True, DEADLINE_S)["requests"] == 0


def test_refused_targets_do_not_affect_the_others(
    server: LoopbackServer, make: Make
) -> None:
    """No server listens at 127.0.0.2, which is used in turn with the server's address."""
    ports = unused_ports(4)
    generator = make(server.port, ports, ["127.0.0.1", "127.0.0.2"])
    found = generator.open(4, 4, DEADLINE_S)
    assert found["ports"] == [[0, ports[0]], [2, ports[2]]]
    assert found["failures"] == {"ECONNREFUSED": 2}


def test_targets_are_used_in_turn(make: Make) -> None:
    ports = unused_ports(5)
    with socket.create_server(("", 0)) as anywhere:
        targets = ["127.0.0.1", "127.0.0.2"]
        make(anywhere.getsockname()[1], ports, targets).open(5, 5, DEADLINE_S)
        reached = {}
        for _ in ports:
            connection, (_, port) = anywhere.accept()
            with connection:
                reached[port] = connection.getsockname()[0]
    assert [reached[port] for port in ports] == [
        *("127.0.0.1", "127.0.0.2"),
        *("127.0.0.1", "127.0.0.2"),
        "127.0.0.1",
    ]


@contextmanager
def full_port() -> Iterator[int]:
    """A port where no further connection is ever established: its backlog is full."""
    with ExitStack() as held:
        listening = held.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        while True:
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
            if not select.select([], [filler], [], SHORT_S)[1]:
                yield listening.getsockname()[1]
                return


def test_a_connection_that_is_not_open_in_time_counts_as_timeout(make: Make) -> None:
    with full_port() as port:
        found = make(port, unused_ports(3)).open(3, 3, SHORT_S)
    assert (found["opened"], found["failures"]) == (0, {"timeout": 3})


def test_at_most_the_window_is_connecting(make: Make) -> None:
    with full_port() as port:
        found = make(port, unused_ports(5)).open(5, 2, SHORT_S)
    assert found["failures"] == {"timeout": 2}


def test_a_source_port_in_use_is_an_error(server: LoopbackServer, make: Make) -> None:
    with socket.create_server(("", 0)) as taken:
        generator = make(server.port, [taken.getsockname()[1]])
        with pytest.raises(OSError, match="in use"):
            generator.open(1, 1, DEADLINE_S)


@pytest.mark.parametrize("at_once", [True, False])
def test_every_open_connection_gets_one_request_and_its_answer(
    server: LoopbackServer, make: Make, at_once: bool
) -> None:
    ports = unused_ports(4)
    generator = make(server.port, ports)
    generator.open(4, 4, DEADLINE_S)
    found = generator.request(None, at_once, DEADLINE_S)
    assert (found["requests"], found["answered"]) == (4, 4)
    assert (found["reset"], found["hung"]) == ([], [])
    assert found["last_reset_s"] is None
    assert sorted(index for index, _ in found["waited_ms"]) == [0, 1, 2, 3]
    assert len(found["answer_ms"]) == 4
    assert all(ms > 0 for ms in found["answer_ms"])
    assert {port: server.received[port] for port in ports} == dict.fromkeys(
        ports, REQUEST
    )


def test_only_the_named_connections_get_a_request(
    server: LoopbackServer, make: Make
) -> None:
    ports = unused_ports(4)
    generator = make(server.port, ports)
    generator.open(4, 4, DEADLINE_S)
    found = generator.request([3, 1], at_once=False, timeout_s=DEADLINE_S)
    assert [index for index, _ in found["waited_ms"]] == [3, 1]
    assert server.received.keys() == {ports[1], ports[3]}


def test_an_empty_selection_gets_no_request(server: LoopbackServer, make: Make) -> None:
    generator = make(server.port, unused_ports(1))
    generator.open(1, 1, DEADLINE_S)
    assert generator.request([], True, DEADLINE_S)["requests"] == 0


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("reaction", [RESET, END])
def test_answered_reset_and_hung_connections_are_distinguished(
    server: LoopbackServer, make: Make, reaction: str, at_once: bool
) -> None:
    """A connection that its server closes counts as reset."""
    ports = unused_ports(3)
    server.behaviour = dict(zip(ports, (ECHO, reaction, SILENT), strict=True))
    generator = make(server.port, ports)
    generator.open(3, 3, DEADLINE_S)
    found = generator.request(None, at_once, SHORT_S)
    assert (found["requests"], found["answered"]) == (3, 1)
    assert (found["reset"], found["hung"]) == ([1], [2])
    assert len(found["reset_ms"]) == 1
    assert found["last_reset_s"] >= found["first_s"]
    assert sorted(index for index, _ in found["waited_ms"]) == [0, 2]


def test_a_reset_connection_gets_no_further_request(
    server: LoopbackServer, make: Make
) -> None:
    ports = unused_ports(2)
    server.behaviour = {ports[0]: RESET}
    generator = make(server.port, ports)
    generator.open(2, 2, DEADLINE_S)
    assert generator.request(None, True, DEADLINE_S)["reset"] == [0]
    found = generator.request([0, 1], True, DEADLINE_S)
    assert (found["requests"], found["answered"], found["reset"]) == (1, 1, [])


def test_a_hung_connection_gets_the_next_request(
    server: LoopbackServer, make: Make
) -> None:
    (port,) = unused_ports(1)
    server.behaviour = {port: SILENT}
    generator = make(server.port, [port])
    generator.open(1, 1, DEADLINE_S)
    assert generator.request(None, True, SHORT_S)["hung"] == [0]
    server.behaviour = {}
    found = generator.request(None, True, DEADLINE_S)
    assert (found["answered"], found["hung"]) == (1, [])


def until_reset(generator: LoadGenerator, index: int) -> None:
    """Waits until the client's kernel has received the reset of that connection."""
    sock = generator._sockets[index]
    assert sock is not None
    watch = select.poll()
    watch.register(sock, 0)
    assert watch.poll(DEADLINE_S * 1e3), "no reset was received"


def test_a_reset_before_the_request_is_found_by_sending(
    server: LoopbackServer, make: Make
) -> None:
    ports = unused_ports(2)
    generator = make(server.port, ports)
    generator.open(2, 2, DEADLINE_S)
    server.abort(ports[0])
    until_reset(generator, 0)
    found = generator.request(None, True, DEADLINE_S)
    assert (found["requests"], found["answered"], found["reset"]) == (2, 1, [0])


def test_a_reset_of_a_connection_without_a_request_does_not_affect_the_others(
    server: LoopbackServer, make: Make
) -> None:
    """The connection's own next request finds it."""
    ports = unused_ports(2)
    generator = make(server.port, ports)
    generator.open(2, 2, DEADLINE_S)
    server.abort(ports[1])
    until_reset(generator, 1)
    found = generator.request([0], True, DEADLINE_S)
    assert (found["requests"], found["answered"], found["reset"]) == (1, 1, [])
    assert generator.request([1], True, DEADLINE_S)["reset"] == [1]


def test_sequential_requests_find_a_reset_that_came_before_their_turn(
    server: LoopbackServer, make: Make
) -> None:
    ports = unused_ports(3)
    generator = make(server.port, ports)
    generator.open(3, 3, DEADLINE_S)
    server.abort(ports[2])
    until_reset(generator, 2)
    found = generator.request(None, False, DEADLINE_S)
    assert (found["requests"], found["answered"], found["reset"]) == (3, 2, [2])


def test_a_later_opening_does_not_count_the_reset_of_an_earlier_connection(
    server: LoopbackServer, make: Make
) -> None:
    """The connection's next request finds it."""
    ports = unused_ports(3)
    generator = make(server.port, ports)
    generator.open(2, 2, DEADLINE_S)
    server.abort(ports[0])
    until_reset(generator, 0)
    found = generator.open(1, 1, DEADLINE_S)
    assert (found["opened"], found["failures"]) == (1, {})
    asked = generator.request(None, True, DEADLINE_S)
    assert (asked["requests"], asked["answered"], asked["reset"]) == (3, 2, [0])


def test_closing_resets_every_connection(make: Make) -> None:
    """So that no source port is left in TIME-WAIT."""
    ports = unused_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        generator = make(listening.getsockname()[1], ports)
        generator.open(2, 2, DEADLINE_S)
        accepted = [listening.accept()[0] for _ in ports]
        assert generator.close() == {"closed": 2}
        for each in accepted:
            with each, pytest.raises(ConnectionResetError):
                each.settimeout(DEADLINE_S)
                each.recv(1)
    for port in ports:
        with socket.socket() as again:
            again.bind(("", port))


def test_closed_connections_are_not_used_again(
    server: LoopbackServer, make: Make
) -> None:
    ports = unused_ports(3)
    generator = make(server.port, ports)
    generator.open(2, 2, DEADLINE_S)
    generator.close()
    assert generator.close() == {"closed": 0}
    assert generator.request(None, True, DEADLINE_S)["requests"] == 0
    assert generator.open(1, 1, DEADLINE_S)["ports"] == [[2, ports[2]]]


def test_ipv6_targets_are_connected_to(make: Make) -> None:
    with loopback_server("::1") as server:
        generator = make(server.port, unused_ports(2), ["::1"])
        assert generator.open(2, 2, DEADLINE_S)["opened"] == 2
        assert generator.request(None, True, DEADLINE_S)["answered"] == 2


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    with start_local("load_generator", *arguments) as started:
        try:
            yield started
        finally:
            started.kill()


def exchange(started: subprocess.Popen[str], request: dict[str, Any]) -> dict[str, Any]:
    send_request(started, request)
    return receive_reply(started)


OPENING = {"op": "open", "connections": 3, "window": 3, "timeout_s": DEADLINE_S}
ASKING = {"op": "request", "which": None, "at_once": True, "timeout_s": DEADLINE_S}


def test_the_program_executes_each_line_until_the_end_of_input(
    server: LoopbackServer,
) -> None:
    seed = unused_seed(["h7"], 3)
    options = ["--target=127.0.0.1", f"--port={server.port}", f"--seed={seed}"]
    with program(*options, "--stream=h7") as started:
        opened = exchange(started, OPENING)
        assert opened_ports(opened) == client_ports.seeded_ports(seed, "h7")[:3]
        assert exchange(started, ASKING)["answered"] == 3
        assert exchange(started, {"op": "close"}) == {"closed": 3}
        assert started.stdin
        started.stdin.close()
        assert started.wait(DEADLINE_S) == 0


def test_the_port_range_equals_that_of_the_clients() -> None:
    assert client_ports.PORT_RANGE == PORT_RANGE


def test_the_same_seed_gives_the_same_ports_again(server: LoopbackServer) -> None:
    seed = unused_seed(["h1"], 3)
    options = ["--target=127.0.0.1", f"--port={server.port}", f"--seed={seed}"]
    seen = []
    for _ in range(2):
        with program(*options) as started:
            seen.append(opened_ports(exchange(started, OPENING)))
            exchange(started, {"op": "close"})
    assert seen[0] == seen[1] == client_ports.seeded_ports(seed, "h1")[:3]


@pytest.mark.parametrize("ended", ["at the end of input", "killed"])
def test_no_source_port_stays_in_use_however_the_program_ends(
    server: LoopbackServer, ended: str
) -> None:
    """On a slow machine a figure may fail. The next one has the same ports."""
    seed = unused_seed(["h8"], 3)
    options = ["--target=127.0.0.1", f"--port={server.port}", f"--seed={seed}"]
    with program(*options, "--stream=h8") as started:
        ports = opened_ports(exchange(started, OPENING))
        assert len(ports) == 3
        if ended == "killed":
            started.kill()
        else:
            assert started.stdin
            started.stdin.close()
        started.wait(DEADLINE_S)
        for port in ports:
            with socket.socket() as again:
                again.bind(("127.0.0.1", port))


@pytest.mark.parametrize("line", ["no JSON\n", json.dumps({"op": "unknown"}) + "\n"])
def test_an_invalid_line_ends_the_program(line: str) -> None:
    command = start_local("load_generator", "--target=127.0.0.1", "--port=1")
    with command as started:
        out, _ = started.communicate(line, timeout=DEADLINE_S)
    assert out == ""
    assert started.returncode != 0


@pytest.mark.parametrize("given", [["--port=1"], ["--target=127.0.0.1"], []])
def test_target_and_port_must_be_given(given: list[str]) -> None:
    with program(*given) as started:
        assert started.wait(DEADLINE_S) == 2
