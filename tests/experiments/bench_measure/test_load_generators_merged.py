"""The generators of all clients together: what each receives, and the merged results."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.bench.basis.bench_network import ECHO_PORT, Network, start_local
from experiments.bench.measure import load_generators as measured
from experiments.bench.measure.load_generators import (
    OPEN_TIMEOUT_S,
    LoadGeneratorError,
    LoadGenerators,
    OpenResults,
)
from nodes.clients.client_ports import seeded_ports
from tests.experiments.bench_measure.loopback_server import (
    DEADLINE_S,
    RESET,
    SILENT,
    LoopbackNetwork,
    loopback_server,
    ports_of,
    unused_seed,
)

Reply = Mapping[str, Any]


class FakeProgram:
    """Writes the given replies, and keeps the requests that it receives."""

    def __init__(self, replies: Sequence[Reply], arguments: Sequence[str]) -> None:
        self.args = arguments
        self.stdin = io.StringIO()
        self.stdout = io.StringIO("".join(json.dumps(one) + "\n" for one in replies))
        self.ended = False

    @property
    def received(self) -> list[Any]:
        return [json.loads(line) for line in self.stdin.getvalue().splitlines()]

    def wait(self) -> int:
        self.ended = True
        return 7


@contextmanager
def generators_with(
    replies: Mapping[str, Sequence[Reply]], targets: Sequence[str] = ("10.0.0.1",)
) -> Iterator[tuple[LoadGenerators, dict[str, FakeProgram]]]:
    """Generators of those clients, whose programs give these replies."""
    programs: dict[str, FakeProgram] = {}

    def start(_network: Network, client: str, *arguments: str) -> FakeProgram:
        programs[client] = FakeProgram(replies[client], arguments)
        return programs[client]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured, "start_on_host", start)
        network = cast(Network, LoopbackNetwork(list(replies), list(targets)))
        generators = LoadGenerators(network, seed=5)
    yield generators, programs
    generators._pool.shutdown()


def opened(
    ports: Sequence[int],
    failures: Mapping[str, int] | None = None,
    first_s: float = 1.0,
    last_s: float = 2.0,
    index: int = 0,
) -> Reply:
    return {
        "opened": len(ports),
        "failures": failures or {},
        "first_s": first_s,
        "last_s": last_s,
        "ports": [[index + i, port] for i, port in enumerate(ports)],
    }


def answered(**different: Any) -> Reply:
    return {
        "requests": 0,
        "answered": 0,
        "reset": [],
        "hung": [],
        "first_s": None,
        "last_reset_s": None,
        "answer_ms": [],
        "reset_ms": [],
        "waited_ms": [],
        **different,
    }


@given(st.integers(0, 10**6), st.integers(1, 250))
def test_a_split_is_complete_and_even_and_the_larger_parts_are_first(
    total: int, parts: int
) -> None:
    shares = measured._split_evenly(total, parts)
    assert len(shares) == parts
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


targets = st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=5)


@given(targets, st.integers(), st.integers(1, 65535), st.sampled_from(["h1", "h22"]))
def test_a_client_gets_all_targets_the_seed_and_its_stream(
    addresses: list[str], seed: int, port: int, client: str
) -> None:
    network = cast(Network, LoopbackNetwork([client], addresses))
    options = measured._options(network, client, seed, port)
    named = [options[i + 1] for i, each in enumerate(options) if each == "--target"]
    assert named == addresses
    assert options[2 * len(addresses) :] == [
        f"--port={port}",
        f"--seed={seed}",
        f"--stream={client}",
    ]


def test_one_program_is_started_on_every_client() -> None:
    with generators_with({"h1": [], "h2": []}) as (_, programs):
        assert list(programs) == ["h1", "h2"]
        for client, program in programs.items():
            name, *options = program.args
            assert name == "load_generator"
            assert f"--stream={client}" in options
            assert {f"--port={ECHO_PORT}", "--seed=5"} < set(options)


def test_each_client_opens_its_share() -> None:
    replies = {"h1": [opened([1, 2])], "h2": [opened([1, 2])], "h3": [opened([1])]}
    with generators_with(replies) as (generators, programs):
        generators.open(5, 64)
        (first,) = programs["h1"].received
        assert first == {
            "op": "open",
            "connections": 2,
            "window": 64,
            "timeout_s": OPEN_TIMEOUT_S,
        }
        shares = [one.received[0]["connections"] for one in programs.values()]
        assert shares == [2, 2, 1]


def test_opening_lasts_from_the_first_to_the_last_of_all_clients() -> None:
    replies = {
        "h1": [opened([20001, 20002], {"ETIMEDOUT": 1}, 10.0, 11.0)],
        "h2": [opened([20001], {"ETIMEDOUT": 2, "ECONNREFUSED": 1}, 10.5, 14.0)],
    }
    with generators_with(replies) as (generators, _):
        found = generators.open(7, 64)
        assert found == OpenResults(3, {"ETIMEDOUT": 3, "ECONNREFUSED": 1}, 4.0)
        assert found.rate == 0.75
        assert generators.connections == [("h1", 20001), ("h1", 20002), ("h2", 20001)]


def test_further_connections_are_added_to_the_open_ones() -> None:
    replies = {"h1": [opened([20001]), opened([20002], index=1), answered(hung=[0, 1])]}
    with generators_with(replies) as (generators, _):
        generators.open(1, 1)
        generators.open(1, 1)
        asked = generators.request(at_once=True, timeout_s=1)
        assert set(asked.hung) == {("h1", 20001), ("h1", 20002)}


def test_open_all_raises_unless_all_connections_open() -> None:
    replies = {"h1": [opened([20001, 20002])], "h2": [opened([], {"timeout": 1})]}
    with (
        generators_with(replies) as (generators, _),
        pytest.raises(LoadGeneratorError, match="2 of 3 opened.*'timeout': 1"),
    ):
        generators.open_all(3, 64)


def test_open_all_returns_the_results_of_open() -> None:
    with generators_with({"h1": [opened([1, 2])]}) as (generators, _):
        assert generators.open_all(2, 64).opened == 2


def test_a_request_names_each_clients_connections_by_index() -> None:
    replies = {
        "h1": [opened([20001, 20002]), answered()],
        "h2": [opened([20002]), answered()],
        "h3": [opened([20009]), answered()],
    }
    with generators_with(replies) as (generators, programs):
        generators.open(4, 64)
        which = [("h2", 20002), ("h1", 20002)]
        generators.request(which, at_once=False, timeout_s=5, pause_s=0.5)
        assert [one.received[1]["which"] for one in programs.values()] == [[1], [0], []]
        assert programs["h1"].received[1] == {
            "op": "request",
            "which": [1],
            "at_once": False,
            "timeout_s": 5,
            "pause_s": 0.5,
        }


@pytest.mark.parametrize(("which", "received"), [(None, None), ([], [])])
def test_all_and_no_connections_are_distinguished(
    which: list[tuple[str, int]] | None, received: list[int] | None
) -> None:
    with generators_with({"h1": [opened([20001]), answered()]}) as made:
        generators, programs = made
        generators.open(1, 1)
        generators.request(which, at_once=True, timeout_s=1)
        assert programs["h1"].received[1]["which"] == received


def test_an_unknown_connection_is_an_error() -> None:
    with generators_with({"h1": [opened([20001])]}) as (generators, programs):
        generators.open(1, 1)
        with pytest.raises(KeyError):
            generators.request([("h1", 20002)], at_once=True, timeout_s=1)
        assert len(programs["h1"].received) == 1


def test_replies_are_merged_by_client_and_port() -> None:
    one = answered(requests=2, answered=1, reset=[1], first_s=5.0, last_reset_s=6.0)
    other = answered(requests=1, hung=[0], first_s=4.0, last_reset_s=None)
    replies = {
        "h1": [opened([1, 2]), {**one, "answer_ms": [3.0], "reset_ms": [9.0]}],
        "h2": [opened([2]), {**other, "waited_ms": [[0, 50.0]]}],
    }
    with generators_with(replies) as (generators, _):
        generators.open(3, 3)
        found = generators.request(at_once=True, timeout_s=1)
    assert (found.requests, found.answered) == (3, 1)
    assert set(found.reset) == {("h1", 2)}
    assert set(found.hung) == {("h2", 2)}
    assert (found.first_s, found.last_reset_s) == (4.0, 6.0)
    assert (found.answer_ms, found.reset_ms) == ([3.0], [9.0])
    assert found.waited_ms == {("h2", 2): 50.0}


def test_without_requests_there_are_no_times() -> None:
    with generators_with({"h1": [answered()], "h2": [answered()]}) as (generators, _):
        found = generators.request([], at_once=False, timeout_s=1)
    assert (found.requests, found.first_s, found.last_reset_s) == (0, 0.0, None)


instants = st.none() | st.floats(1, 1e9)
results = st.sampled_from(["answered", "reset", "hung"])
clients_results = st.lists(st.tuples(st.lists(results), instants, instants), min_size=1)


@given(clients_results)
def test_merging_keeps_every_connection_and_the_first_and_last_time(
    clients: list[tuple[list[str], float | None, float | None]],
) -> None:
    replies = {}
    for number, (result, first_s, last_s) in enumerate(clients):
        of = {name: [i for i, f in enumerate(result) if f == name] for name in result}
        mine = answered(
            requests=len(result),
            answered=len(of.get("answered", [])),
            reset=of.get("reset", []),
            hung=of.get("hung", []),
            first_s=first_s,
            last_reset_s=last_s,
            answer_ms=[1.0] * len(of.get("answered", [])),
            reset_ms=[2.0] * len(of.get("reset", [])),
        )
        replies[f"h{number}"] = [opened(range(100, 100 + len(result))), mine]
    with generators_with(replies) as (generators, _):
        generators.open(0, 1)
        found = generators.request(at_once=True, timeout_s=1)
    assert found.requests == sum(len(result) for result, _, _ in clients)
    assert found.answered + len(found.reset) + len(found.hung) == found.requests
    assert len(found.answer_ms) == found.answered
    assert len(found.reset_ms) == len(found.reset)
    for name, port in found.reset:
        assert clients[int(name[1:])][0][port - 100] == "reset"
    lasts = [last for _, _, last in clients if last is not None]
    assert found.last_reset_s == (max(lasts) if lasts else None)
    firsts = [first for _, first, _ in clients if first is not None]
    assert found.first_s == (min(firsts) if firsts else 0.0)


def test_closing_forgets_the_connections() -> None:
    with generators_with({"h1": [opened([1]), {"closed": 1}]}) as made:
        generators, programs = made
        generators.open(1, 1)
        generators.close()
        assert generators.connections == []
        assert programs["h1"].received[1] == {"op": "close"}


def test_a_program_that_ended_is_an_error_with_its_status() -> None:
    with (
        generators_with({"h1": [opened([1])], "h2": []}) as (generators, _),
        pytest.raises(LoadGeneratorError, match="h2.* ended with status 7"),
    ):
        generators.open(2, 1)


def test_ending_closes_every_input_and_waits() -> None:
    with generators_with({"h1": [], "h2": []}) as (generators, programs):
        generators.end()
        assert all(one.stdin.closed and one.ended for one in programs.values())


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are started in this process's namespaces, not on hosts."""

    def start(_network: Network, _host: str, program: str, *arguments: str) -> Any:
        return start_local(program, *arguments)

    monkeypatch.setattr(measured, "start_on_host", start)


@pytest.mark.usefixtures("on_loopback")
def test_two_real_programs_work_together() -> None:
    clients = ["h1", "h2"]
    seed = unused_seed(clients, 3)
    network = cast(Network, LoopbackNetwork(clients, ["127.0.0.1"]))
    with loopback_server() as server:
        generators = LoadGenerators(network, seed, server.port)
        try:
            assert generators.open_all(5, 2).opened == 5
            for client, count in (("h1", 3), ("h2", 2)):
                order = seeded_ports(seed, client)
                assert ports_of(generators, client) == order[:count]
            (reset, silent), (other, _) = (
                [(client, port) for port in ports_of(generators, client)[:2]]
                for client in clients
            )
            server.behaviour = {reset[1]: RESET, silent[1]: SILENT, other[1]: RESET}
            found = generators.request(at_once=True, timeout_s=0.5)
            assert (found.requests, found.answered) == (5, 2)
            assert set(found.reset) == {reset, other}
            assert set(found.hung) == {silent}
            server.behaviour = {}
            again = generators.request(at_once=True, timeout_s=DEADLINE_S)
            assert (again.requests, again.answered) == (3, 3)
            generators.close()
        finally:
            generators.end()


@pytest.mark.usefixtures("on_loopback")
def test_programs_end_if_the_measurement_fails() -> None:
    network = cast(Network, LoopbackNetwork(["h1"], ["127.0.0.1"]))
    with (
        pytest.raises(ZeroDivisionError),
        measured.load_generators(network) as generators,
    ):
        (program,) = generators._programs.values()
        raise ZeroDivisionError
    assert program.returncode == 0


@pytest.mark.usefixtures("on_loopback")
def test_connections_end_with_the_measurement() -> None:
    network = cast(Network, LoopbackNetwork(["h1"], ["127.0.0.1"]))
    with measured.load_generators(network) as generators:
        (program,) = generators._programs.values()
        generators._index[("h1", 20001)] = 0
    assert generators.connections == []
    assert program.returncode == 0
