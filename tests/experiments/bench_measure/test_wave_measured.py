"""The figures of a wave of resets, from observations of its connections."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.balancers import BALANCERS
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from experiments.bench.basis.bench_network import ECHO_PORT
from experiments.bench.measure import reset_wave
from experiments.bench.measure.load_generators import LoadGenerators, RequestResults
from experiments.bench.measure.reset_wave import Wave, waiting
from experiments.bench.measure.wave_waiting import waiting_lines, waiting_remark
from experiments.bench.networks.ours import OurNetwork
from experiments.instruments.socket_table import HeldSocket
from experiments.record.socket_events import (
    RESET_RECEIVED,
    RESET_SENT,
    STATE,
    SocketEvent,
)
from topologies.domain.connection import FourTuple
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import VIP4, Plan

PLAN = Plan.build(chassis=2, nodes=2, clients=2)
CLIENT = PLAN.clients[0]
#: An ordinary instant, seconds since 1970.
BEGUN_S = 1_700_000_000.0
PORTS = (20001, 20002, 20003, 20004)


def network(membership: Membership | None = None, **cluster: Any) -> OurNetwork:
    """A network that is not running, with a plan and a state."""
    balancer = BALANCERS["modulo"]
    state = ClusterState(PLAN, membership or Membership(), POLICIES["flood"], balancer)
    made = OurNetwork.__new__(OurNetwork)
    made.cluster = cast(Any, SimpleNamespace(state=state, **cluster))
    return made


def connection(port: int) -> FourTuple:
    return FourTuple(CLIENT.ipv4, port, VIP4, ECHO_PORT)


def request_results(
    reset: Sequence[int] = (), waited: Mapping[int, float] | None = None
) -> RequestResults:
    return RequestResults(
        requests=len(PORTS),
        answered=0,
        reset=frozenset((CLIENT.name, port) for port in reset),
        hung=frozenset(),
        first_s=BEGUN_S,
        last_reset_s=None,
        answer_ms=[],
        reset_ms=[],
        waited_ms={(CLIENT.name, port): ms for port, ms in (waited or {}).items()},
    )


def ns(after_s: float) -> int:
    """That long after the first request."""
    return int((BEGUN_S + after_s) * 1e9)


def wave(
    moved: Mapping[int, str | None],
    reset: Sequence[int],
    clients: Mapping[int, int],
    nodes: Mapping[int, int],
    left: Sequence[int] = (),
) -> Wave:
    owners = {connection(port): owner for port, owner in moved.items()}
    half_open = {each for each, owner in owners.items() if owner}
    ends = reset_wave._Ends(
        {connection(port): t for port, t in clients.items()},
        {connection(port): t for port, t in nodes.items()},
    )
    left_open = {connection(port) for port in left}
    return reset_wave._wave(
        network(), owners, half_open, left_open, request_results(reset), ends
    )


def test_a_wave_ends_with_the_last_end_on_either_side() -> None:
    moved = dict.fromkeys(PORTS[:2], "c1n1")
    found = wave(moved, PORTS[:2], {20001: ns(0.5), 20002: ns(1)}, {20001: ns(3)})
    assert found.seconds == pytest.approx(3, abs=1e-5)
    assert found.clients_seconds == pytest.approx(1, abs=1e-5)
    found = wave(moved, PORTS[:2], {20001: ns(4)}, {20001: ns(3), 20002: ns(2)})
    assert found.seconds == found.clients_seconds == pytest.approx(4, abs=1e-5)


def test_the_end_of_a_socket_that_was_not_half_open_does_not_count() -> None:
    """The connection is not half open: its node has no power."""
    found = wave({20001: None}, [20001], {20001: ns(1)}, {20001: ns(9)})
    assert found.seconds == pytest.approx(1, abs=1e-5)
    assert (found.moved, found.freed, found.half_open) == (1, 0, 0)


def test_a_wave_in_which_nothing_ended_took_no_time() -> None:
    found = wave({}, [], {}, {})
    assert (found.seconds, found.clients_seconds, found.moved) == (0.0, 0.0, 0)
    assert found.connections == len(PORTS)
    assert found.complete


def test_remaining_connections_are_counted_by_kind() -> None:
    moved = dict.fromkeys(PORTS[:3], "c1n1")
    found = wave(moved, [20001, 20004], {20001: ns(1)}, {20001: ns(1)}, [20002])
    assert (found.moved, found.freed, found.half_open) == (3, 2, 1)
    assert (found.clients_lost, found.disturbed) == (2, 1)


ports = st.sets(st.sampled_from(PORTS))


@given(ports, ports, ports)
def test_every_wrong_connection_is_counted(
    moved: set[int], reset: set[int], left: set[int]
) -> None:
    left &= moved
    found = wave(dict.fromkeys(moved, "c1n1"), list(reset), {}, {}, list(left))
    assert found.clients_lost == len(moved - reset)
    assert found.disturbed == len(reset - moved)
    assert found.freed + found.half_open == found.moved == len(moved)
    assert found.complete == (reset == moved and not left)


COMPLETE = Wave(4, 2, 2, 1.0, 1.0, half_open=0, clients_lost=0, disturbed=0)


@pytest.mark.parametrize("wrong", ["half_open", "clients_lost", "disturbed"])
def test_one_wrong_connection_of_any_kind_makes_a_wave_incomplete(wrong: str) -> None:
    assert COMPLETE.complete
    counted: dict[str, Any] = {wrong: 1}
    assert not replace(COMPLETE, **counted).complete


def test_json_has_all_of_a_wave() -> None:
    assert Wave(**COMPLETE.to_json()) == COMPLETE


def event(
    kind: str, after_s: float, port: int, at_client: bool = False, change: str = ">"
) -> SocketEvent:
    ends = (CLIENT.ipv4, port), (VIP4, ECHO_PORT)
    local, remote = ends if at_client else ends[::-1]
    old, _, new = change.partition(">")
    return SocketEvent(ns(after_s), kind, 1, local, remote, old, new)


def ends_of(
    folder: Path, events: Sequence[SocketEvent], moved: Sequence[int]
) -> reset_wave._Ends:
    file = folder / "sockets.jsonl"
    file.write_text("".join(each.to_line() for each in events))
    return reset_wave._Ends.read(file, {connection(port) for port in moved})


def test_a_client_ends_when_its_kernel_receives_the_reset(tmp_path: Path) -> None:
    events = [
        event(RESET_SENT, 1, 20001, at_client=True),
        event(RESET_RECEIVED, 2, 20001, at_client=True),
        event(STATE, 3, 20001, at_client=True, change="ESTABLISHED>CLOSE"),
    ]
    found = ends_of(tmp_path, events, PORTS)
    assert found.clients == {connection(20001): ns(2)}
    assert found.nodes == {}


def test_a_node_ends_when_its_socket_closes(tmp_path: Path) -> None:
    events = [
        event(RESET_RECEIVED, 1, 20001),
        event(STATE, 2, 20001, change="ESTABLISHED>CLOSE_WAIT"),
        event(STATE, 3, 20001, change="CLOSE_WAIT>CLOSE"),
        event(STATE, 4, 20001, change="CLOSE>CLOSE"),
    ]
    found = ends_of(tmp_path, events, PORTS)
    assert found.nodes == {connection(20001): ns(3)}
    assert found.clients == {}


def test_only_ends_of_moved_connections_to_the_vip_count(tmp_path: Path) -> None:
    elsewhere = SocketEvent(
        ns(1), STATE, 1, ("10.1.0.1", 20001), ("10.1.0.2", 1), "ESTABLISHED", "CLOSE"
    )
    unmoved = event(STATE, 2, 20002, change="ESTABLISHED>CLOSE")
    found = ends_of(tmp_path, [elsewhere, unmoved], [20001])
    assert (found.clients, found.nodes) == ({}, {})


class Tables:
    """Socket tables of nodes, the next one with each reading; and a fake clock."""

    def __init__(self, looks: Mapping[int, Sequence[Sequence[int]]]) -> None:
        self._looks = {pid: iter(each) for pid, each in looks.items()}
        self.looked: list[int] = []
        self._clock = itertools.count(BEGUN_S)

    def sockets_of(self, pid: int) -> Iterator[HeldSocket]:
        self.looked.append(pid)
        for port in next(self._looks[pid]):
            yield HeldSocket(connection(port), "ESTABLISHED")

    def time(self) -> float:
        return next(self._clock)

    def sleep(self, _seconds: float) -> None:
        """Time passes only by reading the tables."""


PIDS = {"c1n1": 11, "c1n2": 12}


def left_of(
    monkeypatch: pytest.MonkeyPatch, tables: Tables, deadline_s: float
) -> set[int]:
    """The remaining ones of ports 20001 and 20002 of c1n1, and 20003 of c1n2."""
    monkeypatch.setattr(reset_wave, "sockets_of", tables.sockets_of)
    monkeypatch.setattr(reset_wave, "time", tables)
    half_open = {connection(20001): "c1n1", connection(20002): "c1n1"}
    half_open[connection(20003)] = "c1n2"
    up = network(pid=PIDS.__getitem__)
    left = reset_wave._await_freed(up, half_open, BEGUN_S + deadline_s)
    return {each.sport for each in left}


def test_waiting_ends_when_no_node_holds_any(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables({11: [[20001, 20002, 20004], [20001], []], 12: [[]]})
    assert left_of(monkeypatch, tables, 100) == set()
    assert sorted(tables.looked) == [11, 11, 11, 12]


def test_sockets_after_the_deadline_are_half_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = Tables({11: [[20001, 20002]] * 2 + [[20002]] * 9, 12: [[20003]] * 11})
    assert left_of(monkeypatch, tables, 1) == {20002, 20003}


def test_a_reading_that_began_before_the_deadline_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = Tables({11: [[20001]] * 2 + [[]] * 9, 12: [[]] * 11})
    assert left_of(monkeypatch, tables, 1) == set()


def test_owners_are_those_of_the_given_state() -> None:
    up = network()
    generators = LoadGenerators.__new__(LoadGenerators)
    generators._index = {(CLIENT.name, port): n for n, port in enumerate(PORTS)}
    before = reset_wave._owners(up, generators, up.state)
    assert before.keys() == {connection(port) for port in PORTS}
    (gone, *_) = before.values()
    assert gone is not None
    failed = network(Membership({gone: NodeState.FAILED})).state
    after = reset_wave._owners(up, generators, failed)
    assert gone in before.values()
    assert gone not in after.values()


def test_strays_and_copies_are_counted_over_all_guards() -> None:
    guards = [SimpleNamespace(strays=s, copies_received=c) for s, c in ((1, 5), (2, 7))]
    assert reset_wave._guard_counts(network(guard_counters=lambda: guards)) == (3, 12)


def test_waits_are_by_connection() -> None:
    found = reset_wave._waited(network(), request_results(waited={20001: 2.5}))
    assert found == {connection(20001): 2.5}


waits = st.dictionaries(st.sampled_from(PORTS), st.floats(0, 1e6), max_size=4)


@given(waits, waits, ports)
def test_waits_of_moved_connections_do_not_count(
    before: dict[int, float], during: dict[int, float], moved: set[int]
) -> None:
    found = waiting(
        {connection(port): ms for port, ms in before.items()},
        {connection(port): ms for port, ms in during.items()},
        {connection(port) for port in moved},
    )
    unmoved = [ms for port, ms in during.items() if port not in moved]
    assert found["connections"] == len(unmoved)
    assert found["during"]["max"] == max(unmoved, default=None)
    quiet = [ms for port, ms in before.items() if port not in moved]
    assert found["before"]["max"] == max(quiet, default=None)


def waited(during: float | None, before: float | None) -> dict[str, Any]:
    return {
        "connections": int(during is not None),
        "during": dict.fromkeys(("p50", "p99", "max"), during),
        "before": dict.fromkeys(("p50", "p99", "max"), before),
    }


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(1, 1e6)), min_size=1))
def test_the_line_is_about_medians_and_spreads_over_all_waves(
    pairs: list[tuple[float, float]],
) -> None:
    (line,) = waiting_lines("a wave", [waited(*pair) for pair in pairs])
    during = [one for one, _ in pairs]
    assert line.spread == (min(during), max(during))
    assert line.reference is not None
    assert line.value == line.ours / line.reference
    assert sum(one <= line.ours for one in during) * 2 >= len(during)
    assert sum(one >= line.ours for one in during) * 2 >= len(during)
    assert len(line.remarks) == len(pairs)


def test_a_wave_in_which_all_moved_counts_for_no_median_but_is_remarked() -> None:
    (line,) = waiting_lines("a wave", [waited(None, None), waited(30.0, 10.0)])
    assert (line.ours, line.reference, line.spread) == (30.0, 10.0, (30.0, 30.0))
    assert "no connection stayed" in line.remarks[0]


@pytest.mark.parametrize("pair", [(None, 5.0), (5.0, None)])
def test_no_line_without_both_sides(pair: tuple[float | None, float | None]) -> None:
    assert list(waiting_lines("a wave", [waited(*pair)])) == []


def test_a_remark_leaves_out_what_was_not_measured() -> None:
    assert waiting_remark(waited(1500.0, None)) == (
        "1 unmoved kept waiting: p50 1.50 s, p99 1.50 s, max 1.50 s; before: "
    )
