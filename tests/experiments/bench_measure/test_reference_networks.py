"""The benchmark's networks, as far as they can be tested without bringing one up."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from controller.balancers import BALANCERS
from controller.flows.entries import Field, FlowEntry, Output
from controller.flows.flow_tables import NOT_RECOGNISED, Priority, Table
from controller.pipeline.cluster_state import ClusterState
from controller.policies import POLICIES
from experiments.bench.basis.bench_network import ECHO_PORT
from experiments.bench.basis.size import FULL, QUICK, Size
from experiments.bench.figures import FIGURES
from experiments.bench.networks import NETWORKS, naive, ours, stock
from experiments.bench.networks.naive_controller import (
    NaiveController,
    _addressed,
    _swapped,
)
from experiments.bench.networks.naive_policy import CONTROLLER_PORT, NAIVE, register
from experiments.bench.networks.ours import OurNetwork
from experiments.bench.networks.stock import StockNetwork
from topologies.datapaths import KERNEL, USERSPACE
from topologies.domain.connection import FourTuple
from topologies.domain.membership import Membership, NodeState
from topologies.domain.plan import (
    FABRIC,
    FANOUT_MAC,
    UPLINK_PORT,
    VIP4,
    VIP6,
    VIP_MAC,
    Plan,
)
from topologies.runs import RUN_VARIABLE

#: The framework's packet library pads frames to what Ethernet needs.
LEAST_FRAME = 60
PLAN = Plan.build(chassis=2, nodes=3, clients=2)
port_numbers = st.integers(1, 65535)
macs = st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":"))
sequence_numbers = st.integers(0, 2**32 - 1)
families = st.sampled_from([4, 6])


@st.composite
def resets(draw: st.DrawFn) -> bytes:
    """A "not recognised" reset to a client, for each IP version, as a frame."""
    ethernet = Ether(src=draw(macs), dst=draw(macs))
    if draw(families) == 4:
        address = str(draw(st.ip_addresses(v=4)))
        network: Packet = IP(src=VIP4, dst=address, ttl=draw(st.integers(1, 255)))
    else:
        address = str(draw(st.ip_addresses(v=6)))
        network = IPv6(src=VIP6, dst=address, hlim=draw(st.integers(1, 255)))
    sport, dport, seq = draw(port_numbers), draw(port_numbers), draw(sequence_numbers)
    transport = TCP(sport=sport, dport=dport, seq=seq, ack=0, flags="R", window=0)
    return bytes(ethernet / network / transport)


def layers(frame: bytes) -> tuple[Packet, Packet, Packet]:
    ethernet = Ether(frame)
    network = ethernet[IP] if ethernet.haslayer(IP) else ethernet[IPv6]
    return ethernet, network, network[TCP]


def with_right_checksums(frame: bytes) -> bytes:
    """The same frame with checksums that scapy made."""
    ethernet, network, transport = layers(frame)
    del transport.chksum
    if network.name == "IP":
        del network.chksum
    return bytes(ethernet)


@given(resets())
def test_a_copy_is_the_reset_with_its_ends_exchanged_and_marked(frame: bytes) -> None:
    ethernet, network, transport = layers(_swapped(frame))
    _, was_network, was_transport = layers(frame)
    assert (ethernet.src, ethernet.dst) == (FANOUT_MAC, VIP_MAC)
    assert ip_address(network.src) == ip_address(was_network.dst)
    assert ip_address(network.dst) == ip_address(was_network.src)
    assert transport.sport == was_transport.dport
    assert transport.dport == was_transport.sport
    assert transport.seq == was_transport.seq
    assert transport.flags == was_transport.flags == "R"


@given(resets())
def test_the_checksums_of_a_copy_are_right(frame: bytes) -> None:
    copy = _swapped(frame)
    assert copy == with_right_checksums(copy)
    assert len(copy) == max(len(frame), LEAST_FRAME)


@given(resets())
def test_partial_checksums_are_completed(frame: bytes) -> None:
    """The frame with partial checksums, as a userspace switch forwards it."""
    ethernet, _, transport = layers(frame)
    transport.chksum = 0x1234
    assert _swapped(bytes(ethernet)) == _swapped(frame)


@given(resets())
def test_swapping_twice_restores_all_but_the_macs(frame: bytes) -> None:
    whole = frame.ljust(LEAST_FRAME, b"\0")
    assert _swapped(_swapped(frame))[12:] == whole[12:]


@given(resets(), macs)
def test_copies_for_nodes_differ_in_their_destination_only(
    frame: bytes, mac: str
) -> None:
    copy = _swapped(frame)
    addressed = _addressed(copy, mac)
    assert addressed[:6] == bytes.fromhex(mac.replace(":", ""))
    assert addressed[6:] == copy[6:]


class FakeDatapath:
    """A switch that keeps the frames that it is to send."""

    def __init__(self, dpid: int) -> None:
        self.id = dpid
        self.sent: list[Any] = []

    def send_msg(self, message: Any) -> None:
        self.sent.append(message)


def messages(dpid: int, frame: bytes) -> list[Any]:
    """The naive controller's messages to a switch that sent it that frame."""
    controller = NaiveController.__new__(NaiveController)
    controller._plan = PLAN
    controller._names = {number: name for name, number in PLAN.switches.items()}
    datapath = FakeDatapath(dpid)
    message = SimpleNamespace(datapath=datapath, data=frame)
    controller.on_packet(SimpleNamespace(msg=message))
    return datapath.sent


RESET_FRAME = bytes(
    Ether(src="02:00:00:00:00:aa", dst=VIP_MAC)
    / IP(src=VIP4, dst=PLAN.clients[0].ipv4)
    / TCP(sport=ECHO_PORT, dport=20001, seq=7, flags="R")
)


def outputs(sent: list[Any]) -> list[int]:
    """The one port that each goes to."""
    return [port for one in sent for port in [action.port for action in one.actions]]


def test_the_fabrics_reset_goes_once_to_every_chassis() -> None:
    sent = messages(PLAN.switches[FABRIC], RESET_FRAME)
    assert outputs(sent) == [chassis.fabric_port for chassis in PLAN.chassis]
    assert {one.data for one in sent} == {_swapped(RESET_FRAME)}
    assert {one.in_port for one in sent} == {CONTROLLER_PORT}


@pytest.mark.parametrize("chassis", PLAN.chassis, ids=lambda each: each.name)
def test_a_chassis_copy_goes_once_to_each_of_its_nodes(chassis: Any) -> None:
    copy = _swapped(RESET_FRAME)
    sent = messages(chassis.dpid, copy)
    assert outputs(sent) == [node.port for node in chassis.nodes]
    for message, node in zip(sent, chassis.nodes, strict=True):
        assert Ether(message.data).dst == node.mac
        assert message.data[6:] == copy[6:]


def actions_by_port(entry: FlowEntry) -> list[int]:
    return [each.port for each in entry.actions if isinstance(each, Output)]


def test_a_naive_reset_goes_to_its_client_and_to_the_controller() -> None:
    entries = NAIVE.fabric_entries(PLAN, Membership())
    assert len(entries) == 2 * len(PLAN.clients)
    assert len({entry.text for entry in entries}) == len(entries)
    for entry in entries:
        match = dict(entry.match)
        assert (entry.table, entry.priority) == (Table.RETURN, Priority.POLICY)
        assert match[Field.TCP_FLAGS] == NOT_RECOGNISED
        address = match.get(Field.IP_DST) or match.get(Field.IPV6_DST)
        (client,) = (c for c in PLAN.clients if address in (c.ipv4, c.ipv6))
        assert actions_by_port(entry) == [client.fabric_port, CONTROLLER_PORT]


def test_a_naive_copy_goes_to_the_controller_only() -> None:
    entries = NAIVE.chassis_entries(PLAN.chassis[0], Membership())
    assert len(entries) == 2
    for entry in entries:
        match = dict(entry.match)
        assert entry.table == Table.ADMIT
        assert (match[Field.IN_PORT], match[Field.ETH_SRC]) == (UPLINK_PORT, FANOUT_MAC)
        assert match[Field.TCP_FLAGS] == NOT_RECOGNISED
        assert entry.actions == (Output(CONTROLLER_PORT),)


@pytest.fixture
def policies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the registration afterwards."""
    monkeypatch.setitem(POLICIES, NAIVE.name, NAIVE)
    del POLICIES[NAIVE.name]


@pytest.mark.usefixtures("policies")
def test_the_naive_policy_is_known_once_it_is_registered() -> None:
    known = set(POLICIES)
    register()
    register()
    assert set(POLICIES) - known == {"naive"}
    assert POLICIES["naive"] is NAIVE


class FakeCluster:
    """Keeps its arguments; fails to start if ``fails`` is set."""

    made: list[FakeCluster]
    fails = False

    def __init__(self, plan: Plan, options: Any, folder: Path, runtime: Path) -> None:
        self.plan, self.options, self.runtime = plan, options, runtime
        self.stopped = 0
        self.made.append(self)

    def start(self, progress: Any) -> None:
        progress("switches")
        progress("hosts")
        if self.fails:
            raise KeyboardInterrupt

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> list[FakeCluster]:
    """Every cluster that the test makes; all are fakes."""
    made: list[FakeCluster] = []
    monkeypatch.setattr(FakeCluster, "made", made, raising=False)
    monkeypatch.setattr(ours, "Cluster", FakeCluster)
    monkeypatch.setenv(RUN_VARIABLE, "bench-0")
    return made


def test_our_network_has_the_default_options(
    clusters: list[FakeCluster], tmp_path: Path
) -> None:
    up = ours.open_ours(PLAN, tmp_path, KERNEL)
    (cluster,) = clusters
    options = cluster.options
    assert (options.policy, options.balancer, options.guard) == (
        "flood",
        "modulo",
        "ebpf",
    )
    assert (options.controller, options.workload) == ("controller", "echo")
    assert (options.datapath, options.name) == (KERNEL, cluster.runtime.name)
    assert list(up.clients) == [client.name for client in PLAN.clients]
    stops = [cluster.stopped]
    up.close()
    assert [*stops, cluster.stopped] == [0, 1]


def test_the_steps_of_the_bring_up_are_timed(
    clusters: list[FakeCluster], tmp_path: Path
) -> None:
    up = ours.open_ours(PLAN, tmp_path, KERNEL)
    assert list(up.steps) == ["preparing", "switches", "hosts"]
    assert all(seconds >= 0 for seconds in up.steps.values())


def test_a_failed_bring_up_is_undone(
    clusters: list[FakeCluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCluster, "fails", True)
    with pytest.raises(KeyboardInterrupt):
        ours.open_ours(PLAN, tmp_path, KERNEL)
    assert [cluster.stopped for cluster in clusters] == [1]


@pytest.mark.usefixtures("policies")
def test_the_naive_network_differs_by_policy_guard_and_controller(
    clusters: list[FakeCluster], tmp_path: Path
) -> None:
    ours.open_ours(PLAN, tmp_path, USERSPACE)
    naive.open_naive(PLAN, tmp_path, USERSPACE)
    one, other = (vars(cluster.options) for cluster in clusters)
    differing = {key for key in one if one[key] != other[key]}
    assert differing == {"policy", "guard", "controller"}
    assert other["policy"] in POLICIES
    assert other["controller"] == NaiveController.__module__


def network(membership: Membership) -> OurNetwork:
    state = ClusterState(PLAN, membership, POLICIES["flood"], BALANCERS["modulo"])
    made = OurNetwork.__new__(OurNetwork)
    made.cluster = cast(Any, SimpleNamespace(state=state))
    return made


def test_a_connection_is_from_the_clients_address_to_the_vip() -> None:
    up = network(Membership())
    assert up.targets() == [VIP4]
    found = up.connection("h2", ECHO_PORT, 20001)
    assert found == FourTuple(PLAN.clients[1].ipv4, 20001, VIP4, ECHO_PORT)


def test_a_connection_of_no_client_is_an_error() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        network(Membership()).connection("h3", ECHO_PORT, 20001)


names = st.sampled_from([node.name for node in PLAN.nodes])


@given(st.sets(names, max_size=5), st.sampled_from(["h1", "h2"]), port_numbers)
def test_a_server_is_a_node_in_service(
    failed: set[str], client: str, source_port: int
) -> None:
    up = network(Membership(dict.fromkeys(failed, NodeState.FAILED)))
    server = up.server_of(client, ECHO_PORT, VIP4, source_port)
    assert server in {node.name for node in PLAN.nodes} - failed
    connection = up.connection(client, ECHO_PORT, source_port)
    assert up.owner(up.state, connection) == server


def test_without_a_node_in_service_a_connection_has_no_owner() -> None:
    everyone = [node.name for node in PLAN.nodes]
    up = network(Membership(dict.fromkeys(everyone, NodeState.FAILED)))
    assert up.owner(up.state, up.connection("h1", ECHO_PORT, 20001)) is None


@given(st.integers(0, 300), st.integers(0, 300))
def test_hosts_are_clients_then_servers_each_numbered_from_one(
    clients: int, servers: int
) -> None:
    found = stock.host_names(clients, servers)
    assert found[:clients] == [f"h{i + 1}" for i in range(clients)]
    assert found[clients:] == [f"n{i + 1}" for i in range(servers)]


@pytest.mark.parametrize(
    ("datapath", "called"), [(KERNEL, "kernel"), (USERSPACE, "user")]
)
def test_every_host_is_on_the_one_bridge(datapath: str, called: str) -> None:
    topo = stock._OneBridge(clients=2, servers=3, datapath=datapath)
    assert sorted(topo.hosts()) == ["h1", "h2", "n1", "n2", "n3"]
    assert topo.switches() == ["s1"]
    assert topo.nodeInfo("s1")["datapath"] == called
    ends = {frozenset(link) for link in topo.links()}
    assert ends == {frozenset((host, "s1")) for host in topo.hosts()}


def test_the_server_of_a_target_has_its_address() -> None:
    up = StockNetwork.__new__(StockNetwork)
    up.servers = ["n1", "n2"]
    addresses = {"n1": "10.0.0.3", "n2": "10.0.0.4"}
    up._net = {
        name: SimpleNamespace(IP=lambda a=address: a)
        for name, address in addresses.items()
    }
    assert up.targets() == ["10.0.0.3", "10.0.0.4"]
    for name, address in addresses.items():
        assert up.server_of("h1", ECHO_PORT, address, 20001) == name
    with pytest.raises(ValueError, match="not in list"):
        up.server_of("h1", ECHO_PORT, "10.0.0.5", 20001)


def test_frames_lost_add_up_over_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ovs-vswitchd.pid").write_text("4711\n")
    lost = iter([(4711, 2), (4711, 0), (4711, 3)])

    def count_dropped(pid: int) -> int:
        expected, frames = next(lost)
        assert pid == expected
        return frames

    monkeypatch.setattr(stock, "_RUN", str(tmp_path))
    monkeypatch.setattr(stock, "count_dropped", count_dropped)
    up = StockNetwork.__new__(StockNetwork)
    up._dropped = 0
    assert [up.dropped() for _ in range(3)] == [2, 2, 5]


@pytest.mark.parametrize(
    ("opener", "tso"), [(stock.open_stock, False), (stock.open_stock_tso, True)]
)
def test_one_of_the_stock_networks_has_tso(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, opener: Any, tso: bool
) -> None:
    monkeypatch.setattr(stock, "StockNetwork", lambda *given, tso: (*given, tso))
    assert opener(PLAN, tmp_path, USERSPACE) == (PLAN, tmp_path, USERSPACE, tso)


def test_a_script_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "_RUN", str(tmp_path))
    stock._shell("exit 0")
    with pytest.raises(RuntimeError) as failed:
        stock._shell("echo mishap >&2\nfalse\necho more >&2")
    assert str(failed.value) == "mishap"


def test_a_script_that_fails_says_what_the_switch_logged_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock, "_RUN", str(tmp_path))
    (tmp_path / "ovs-vswitchd.log").write_text("early" + "." * 400 + "\nlast words")
    with pytest.raises(RuntimeError, match="(?s)^mishap\n.*last words$") as failed:
        stock._shell("echo mishap >&2; exit 3")
    assert "early" not in str(failed.value)


def test_a_variable_that_is_not_set_fails_the_script() -> None:
    with pytest.raises(RuntimeError):
        stock._shell("echo $NOBODY_SETS_THIS")


@pytest.mark.parametrize("size", [FULL, QUICK], ids=["full", "quick"])
def test_every_network_that_a_figure_needs_can_be_brought_up(size: Size) -> None:
    for figure in FIGURES.values():
        kinds = {setting.kind for setting in figure.settings(size)}
        assert kinds <= set(NETWORKS), figure.name
        assert kinds <= set(figure.measures), figure.name
