"""One life of a cluster, followed: tables, events, what was lost, and the cluster's word."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from controller.pipeline.cluster_state import ClusterState
from experiments.instruments.socket_reports import SocketReports
from experiments.instruments.socket_table import HeldSocket
from experiments.record.socket_events import REPORT, STATES
from experiments.watch.attachment import Attachment, Gone
from experiments.watch.watch_session import CHECK_S, Session
from tests.experiments.watch.recorded_feed import START_S, PaperCluster, connection
from topologies.domain.connection import FourTuple

ONE, TWO = connection(40001), connection(40002)


class Kernel:
    """Reports and tables of a kernel; ``on_table`` is called before a table is read."""

    def __init__(self) -> None:
        self.lost = 0
        self.selected: set[int] = set()
        self.tables: dict[str, list[HeldSocket]] = {}
        self.on_table: Callable[[], None] = lambda: None
        self._unread = b""

    def report(self, namespace: int, of: FourTuple, change: str) -> None:
        """A node's socket of that connection changes its state."""
        old, new = (STATES.index(state) for state in change.split(">"))
        remote, local = (
            socket.inet_aton(one).ljust(16, b"\0") for one in (of.src, of.dst)
        )
        ports = of.dport, of.sport
        self._unread += bytes(8) + REPORT.pack(
            *(1, 4711, namespace, *ports, 1, old, new, socket.AF_INET, local, remote)
        )

    def unread(self) -> bytes:
        data, self._unread = self._unread, b""
        return data

    def select_namespaces(self, inodes: Any) -> None:
        self.selected |= set(inodes)

    def drop_namespaces(self, inodes: Any) -> None:
        self.selected -= set(inodes)


class Life:
    """What an attachment says, as the test wants it."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.paper = PaperCluster()
        self.states: list[tuple[ClusterState, float]] = [(self.paper.state, START_S)]
        self.hosts: list[dict[str, int]] = [{"c1": 1, "c1n1": 11, "c2n1": 21, "h1": 31}]
        self.records: list[dict[str, Any]] = []
        self.asked = 0
        self.answers = True
        self.guards: dict[str, dict[str, int]] = {}

    def ask(self) -> dict[str, Any]:
        self.asked += 1
        if not self.answers:
            raise Gone("no answer")
        return {
            "name": "paper",
            "workload": "nbd",
            "guard": "ebpf",
            "datapath": "netdev",
            "message": None,
            "switches": {},
            "guards": self.guards,
            "guards_s": START_S + self.asked,
            "tier1": {},
            "tier1_s": START_S,
            "cpu_s": 0.0,
        }

    def new_state(self) -> tuple[ClusterState, float] | None:
        return self.states.pop(0) if self.states else None

    def new_namespaces(self) -> dict[str, int] | None:
        return self.hosts.pop(0) if self.hosts else None

    def sockets(self, host: str, at_client: bool) -> list[HeldSocket] | None:
        assert at_client == host.startswith("h")
        self._kernel.on_table()
        return self._kernel.tables.get(host, [])

    def new_records(self) -> Iterator[dict[str, Any]]:
        records, self.records = self.records, []
        return iter(records)


class Clock:
    """Takes the place of time.monotonic."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def life(kernel: Kernel) -> Life:
    return Life(kernel)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def begun(kernel: Kernel, life: Life) -> Session:
    return Session(cast(Attachment, life), cast(SocketReports, kernel))


def held(session: Session, node: str) -> int | None:
    """Established connections of that node, as shown."""
    nodes = {one["name"]: one for one in session.view()["nodes"]}
    count: int | None = nodes[node]["established"]
    return count


def test_it_begins_with_the_tables_and_goes_on_with_events(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    kernel.tables["c1n1"] = [HeldSocket(ONE, "ESTABLISHED")]
    session = begun(kernel, life)
    assert kernel.selected == {11, 21, 31}  # not the switch's
    assert (held(session, "c1n1"), held(session, "c2n1")) == (1, 0)
    assert held(session, "c1n2") is None  # nobody has said where it is
    kernel.report(11, TWO, "SYN_RECV>ESTABLISHED")
    kernel.report(99, ONE, "ESTABLISHED>CLOSE")  # another cluster's
    assert session.step()
    assert held(session, "c1n1") == 2
    assert not session.step()


def test_what_a_table_shows_otherwise_twice_is_corrected(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    session = begun(kernel, life)
    kernel.tables["c1n1"] = [HeldSocket(ONE, "ESTABLISHED")]
    clock.now += CHECK_S
    assert session.step()
    assert (held(session, "c1n1"), session.corrected) == (1, 1)
    clock.now += CHECK_S
    session.step()
    assert session.corrected == 1


def test_a_table_that_events_contradict_meanwhile_corrects_nothing(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    """The table was read just before the socket ended; its end is reported after that."""
    kernel.tables["c1n1"] = [HeldSocket(ONE, "ESTABLISHED")]
    session = begun(kernel, life)
    kernel.tables["c1n1"] = []
    kernel.on_table = lambda: kernel.report(11, ONE, "ESTABLISHED>CLOSE")
    clock.now += CHECK_S
    session.step()
    assert (held(session, "c1n1"), session.corrected) == (0, 0)


def test_what_is_reported_after_a_table_was_read_counts(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    kernel.tables["c1n1"] = [HeldSocket(ONE, "ESTABLISHED")]
    session = begun(kernel, life)
    kernel.tables["c1n1"] = []
    kernel.on_table = lambda: kernel.report(11, ONE, "SYN_RECV>ESTABLISHED")
    clock.now += CHECK_S
    session.step()
    assert (held(session, "c1n1"), session.corrected) == (1, 0)


def test_what_only_one_of_two_looks_shows_is_left(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    """A kernel reports a change just before it makes it."""
    session = begun(kernel, life)
    looks: list[list[HeldSocket]] = [[], [HeldSocket(ONE, "ESTABLISHED")]]
    kernel.on_table = lambda: kernel.tables.update(c1n1=looks.pop() if looks else [])
    clock.now += CHECK_S
    session.step()
    assert (held(session, "c1n1"), session.corrected) == (0, 0)


def test_checks_are_spread_over_the_time(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    session = begun(kernel, life)
    looks: list[float] = []
    kernel.on_table = lambda: looks.append(clock.now)
    for _ in range(int(CHECK_S * 10) + 5):
        clock.now += 0.1
        session.step()
    assert len(looks) == 3  # hosts
    assert len(set(looks)) == 3


def test_after_lost_reports_every_table_is_read_again(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    session = begun(kernel, life)
    kernel.tables["c2n1"] = [HeldSocket(ONE, "ESTABLISHED")]
    kernel.lost = 5
    assert session.step()
    assert held(session, "c2n1") == 1
    assert not session.step()


def test_a_host_in_a_new_namespace_is_followed_there(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    kernel.tables["c1n1"] = [HeldSocket(ONE, "ESTABLISHED")]
    session = begun(kernel, life)
    kernel.tables["c1n1"] = [HeldSocket(TWO, "ESTABLISHED")]
    life.hosts.append({"c1n1": 12, "h1": 31})
    assert session.step()
    assert kernel.selected == {12, 31}
    assert held(session, "c1n1") == 1
    kernel.report(12, TWO, "ESTABLISHED>CLOSE")
    session.step()
    assert held(session, "c1n1") == 0
    assert held(session, "c2n1") is None


def test_an_event_tells_what_its_own_change_has_moved(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    owner = life.paper.owner_of(ONE) or ""
    life.hosts[0][owner] = 12
    kernel.tables[owner] = [HeldSocket(ONE, "ESTABLISHED")]
    record = {"what": "switched", "kind": "drain-node", "target": owner, "t": START_S}
    earlier = {**record, "requested_s": START_S - 9, "applied_s": START_S - 8}
    life.records = [earlier]
    session = begun(kernel, life)
    life.paper.change("drain-node", owner)
    life.states.append((life.paper.state, START_S + 5.001))
    assert session.step()
    life.records = [{**record, "requested_s": START_S + 5, "applied_s": START_S + 5.1}]
    assert session.step()
    assert [one["moved"] for one in session.view()["events"]] == [None, 1]
    assert session.view()["totals"]["moved"] is None  # not every node is known


def test_two_changes_that_were_seen_as_one_are_not_told_apart(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    session = begun(kernel, life)
    for target in ("c1n1", "c1n2"):
        life.paper.change("drain-node", target)
    life.states.append((life.paper.state, START_S + 5))
    session.step()
    times = {"requested_s": START_S + 4.9, "applied_s": START_S + 5.1}
    record = {"what": "switched", "kind": "drain-node", "target": "c1n2", **times}
    life.records = [{**record, "t": START_S}]
    session.step()
    assert session.view()["events"][0]["moved"] is None


def test_a_cluster_at_rest_is_asked_once_a_second_and_a_busy_one_four_times(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    session = begun(kernel, life)

    def asked_in_10_s(busy: bool) -> int:
        before = life.asked
        for turn in range(100):
            clock.now += 0.1
            if busy:
                change = "ESTABLISHED>CLOSE" if turn % 2 else "SYN_RECV>ESTABLISHED"
                kernel.report(11, ONE, change)
            session.step()
        return life.asked - before

    assert 30 <= asked_in_10_s(busy=True) <= 40
    asked_in_10_s(busy=False)
    assert 9 <= asked_in_10_s(busy=False) <= 10


def test_a_cluster_that_does_not_answer_is_said_to(
    kernel: Kernel, life: Life, clock: Clock
) -> None:
    session = begun(kernel, life)
    life.answers = False
    clock.now += 2
    assert session.step()
    assert "does not answer" in session.view()["message"]
    life.answers = True
    clock.now += 2
    session.step()
    assert "does not answer" not in session.view()["message"]


def test_a_rate_that_ends_is_shown(kernel: Kernel, life: Life, clock: Clock) -> None:
    """Nothing else changes in the step in which it falls to 0."""
    session = begun(kernel, life)
    shown: list[float | None] = []
    for step in range(12):
        if step == 2:
            life.guards = {"c1n1": {"strays": 8, "resets": 8, "copies": 0}}
        clock.now += 1.0
        if session.step():
            shown.append(session.view()["totals"]["strays_per_s"])
    assert any(shown)
    assert shown[-1] == 0
