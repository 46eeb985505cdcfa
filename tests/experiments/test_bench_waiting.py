"""The benchmark's waits of unmoved connections during a wave."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from experiments.bench.basis.figure import Setting
from experiments.bench.basis.size import FULL, QUICK
from experiments.bench.figures import beyond, mass_reset
from experiments.bench.measure.load_generators import LoadGenerators
from experiments.bench.measure.programs.load_generator import REQUEST, RequestRound
from experiments.bench.measure.reset_wave import Wave, waiting
from experiments.bench.measure.wave_waiting import waiting_lines, waiting_remark
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4


def connection(port: int) -> FourTuple:
    return FourTuple("10.1.0.1", port, VIP4, 10809)


class Few:
    """A generator's connections, with servers in this process."""

    def __init__(self, count: int) -> None:
        pairs = [socket.socketpair() for _ in range(count)]
        self.ours: list[socket.socket | None] = [own for own, _ in pairs]
        self.servers = [server for _, server in pairs]
        self.epoll = select.epoll()
        self.index = {own.fileno(): n for n, (own, _) in enumerate(pairs)}
        for own, _ in pairs:
            own.setblocking(False)
            self.epoll.register(own, select.EPOLLIN | select.EPOLLET)
        self.requests = RequestRound(self.ours, self.index, self.epoll)

    def close(self) -> None:
        for one in (*self.ours, *self.servers):
            if one is not None:
                one.close()
        self.epoll.close()


@pytest.fixture
def few() -> Iterator[Few]:
    made = Few(3)
    yield made
    made.close()


def test_each_answer_is_reported_with_its_connection(few: Few) -> None:
    for server in few.servers:
        server.send(REQUEST)
    few.requests.request([0, 2], timeout_s=5)
    found = few.requests.result()
    assert [index for index, _ in found["waited_ms"]] == [0, 2]
    assert sorted(ms for _, ms in found["waited_ms"]) == sorted(found["answer_ms"])


def test_a_connection_without_an_answer_waits_until_the_timeout(few: Few) -> None:
    few.servers[0].send(REQUEST)
    few.requests.request([0, 1], timeout_s=0.05)
    found = few.requests.result()
    assert found["hung"] == [1]
    assert dict(found["waited_ms"])[1] >= 50


def test_a_connection_that_was_reset_has_no_wait(few: Few) -> None:
    few.servers[0].close()
    few.servers[1].send(REQUEST)
    few.requests.request([0, 1], timeout_s=5)
    found = few.requests.result()
    assert found["reset"] == [0]
    assert [index for index, _ in found["waited_ms"]] == [1]


def test_load_generators_name_connections_by_client_and_port() -> None:
    generators = LoadGenerators.__new__(LoadGenerators)
    generators._index = {("h1", 20001): 0, ("h1", 20002): 1, ("h2", 20001): 0}
    reply = {"requests": 1, "answered": 1, "reset": [], "hung": [], "first_s": 1.0}
    lists: dict[str, Any] = {"last_reset_s": None, "answer_ms": [], "reset_ms": []}
    results = generators._results(
        {
            "h1": {**reply, **lists, "waited_ms": [[1, 2.5]]},
            "h2": {**reply, **lists, "waited_ms": [[0, 7.5]]},
        }
    )
    assert results.waited_ms == {("h1", 20002): 2.5, ("h2", 20001): 7.5}


def test_only_unmoved_connections_count() -> None:
    stayed, moved = connection(1), connection(2)
    found = waiting({stayed: 2.0, moved: 9.0}, {stayed: 3000.0, moved: 8.0}, {moved})
    assert found == {
        "connections": 1,
        "before": {"p50": 2.0, "p99": 2.0, "max": 2.0},
        "during": {"p50": 3000.0, "p99": 3000.0, "max": 3000.0},
    }


def wave(during: float, before: float = 40.0) -> dict[str, Any]:
    stayed = connection(1)
    waits = waiting({stayed: before}, {stayed: during}, {})
    return Wave(10, 9, 9, 1.0, 1.0, 0, 0, 0, waiting=waits).to_json()


def test_the_line_compares_with_the_waits_before_the_event() -> None:
    waits = [wave(during)["waiting"] for during in (3000.0, 2000.0, 1000.0)]
    (line,) = waiting_lines("a wave", waits)
    assert (line.ours, line.reference, line.value) == (2000.0, 40.0, 50.0)
    assert (line.met, line.bound) == (None, "")
    assert "max 3.00 s" in line.remarks[0]
    assert "before: p50 40 ms" in line.remarks[0]


def test_if_all_connections_moved_the_remark_tells_it() -> None:
    none = waiting({}, {}, {})
    assert list(waiting_lines("a wave", [none])) == []
    assert "no connection stayed" in waiting_remark(none)


def test_the_mass_reset_figure_has_the_waits() -> None:
    ours = Setting.array("ours", QUICK)
    naive = Setting.array("naive", QUICK)
    found = wave(3000.0)
    lines = mass_reset.lines(
        QUICK, {ours: [found], naive: [{"waves": [found], **found}]}
    )
    assert [line.ours for line in lines if "kept waiting" in line.title] == [3000.0]
    assert sum("1 unmoved kept waiting" in r for r in lines[0].remarks) == 2


def test_the_figure_of_a_thousand_nodes_has_the_waits() -> None:
    (setting,) = beyond.settings(FULL)
    found = {"up": {"seconds": 30.0}, "wave": wave(3000.0)}
    lines = beyond.lines(FULL, {setting: [found]})
    assert [line.ours for line in lines if "kept waiting" in line.title] == [3000.0]
