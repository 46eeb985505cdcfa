"""Shaped links: the commands of tc, and their effect beside the guard's hook."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.doctor import kernel_probes
from experiments.doctor.link_requirements import missing_reasons
from experiments.machine.machine import State
from tests.topologies.running_cluster import assert_reaches, on, running
from tests.topologies.waiting import eventually
from topologies.domain.link_options import (
    MIN_VALUES,
    UNSHAPED,
    LinkOptions,
    LinkOptionsError,
)
from topologies.domain.plan import Plan
from topologies.network import ClusterNetwork
from topologies.shaping import (
    MIN_BURST_OCTETS,
    burst_octets,
    change_commands,
    required_qdiscs,
    tc_commands,
)

PLAN = Plan.build(chassis=1, nodes=1, clients=1)


def words(options: LinkOptions) -> list[str]:
    return [*tc_commands(options, "h1-eth0")]


def test_links_without_options_are_not_shaped() -> None:
    assert words(UNSHAPED) == words(LinkOptions(delay_ms=0, loss_percent=0)) == []
    assert required_qdiscs(UNSHAPED) == {}


def test_a_rate_alone_is_the_interfaces_root() -> None:
    assert words(LinkOptions(rate_mbit=10)) == [
        "qdisc replace dev h1-eth0 root handle 1: "
        "tbf rate 10000000bit burst 15140 latency 50ms"
    ]


def test_netem_has_delay_and_loss_and_tbf_is_its_child() -> None:
    """The order of the example in tc-netem(8)."""
    netem, tbf = words(LinkOptions(rate_mbit=0.5, delay_ms=1.5, loss_percent=0.1))
    assert netem == (
        "qdisc replace dev h1-eth0 root handle 1: "
        "netem limit 100000 delay 1.500ms loss 0.1000000%"
    )
    assert tbf.startswith("qdisc replace dev h1-eth0 parent 1:1 handle 10: tbf rate ")


RATE, LOSS = LinkOptions(rate_mbit=10), LinkOptions(loss_percent=1)


@pytest.mark.parametrize(
    ("before", "after"), [(UNSHAPED, RATE), (RATE, LinkOptions(rate_mbit=2))]
)
def test_what_has_the_same_disciplines_is_changed_as_it_stands(
    before: LinkOptions, after: LinkOptions
) -> None:
    assert [*change_commands(before, after, "h1-eth0")] == words(after)


@pytest.mark.parametrize("before", [RATE, LOSS, LinkOptions(2, 3, 4)])
@pytest.mark.parametrize("after", [UNSHAPED, LinkOptions(1, 2)])
def test_other_disciplines_are_deleted_first(
    before: LinkOptions, after: LinkOptions
) -> None:
    first, *others = change_commands(before, after, "h1-eth0")
    if required_qdiscs(before).keys() == required_qdiscs(after).keys():
        assert [first, *others] == words(after)
    else:
        assert (first, others) == ("qdisc del dev h1-eth0 root", words(after))


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (LinkOptions(rate_mbit=1), {"tbf": "rate_mbit"}),
        (LinkOptions(delay_ms=1), {"netem": "delay_ms"}),
        (LinkOptions(loss_percent=1), {"netem": "loss_percent"}),
        (
            LinkOptions(1, 1, 1),
            {"netem": "delay_ms and loss_percent", "tbf": "rate_mbit"},
        ),
    ],
    ids=["rate", "delay", "loss", "all"],
)
def test_each_option_names_the_discipline_it_needs(
    options: LinkOptions, needed: dict[str, str]
) -> None:
    assert required_qdiscs(options) == needed
    assert len(words(options)) == len(needed)


@given(rate=st.floats(0.01, 100_000))
def test_a_burst_holds_some_frames_and_is_short(rate: float) -> None:
    octets = burst_octets(rate)
    assert octets >= MIN_BURST_OCTETS
    assert octets == MIN_BURST_OCTETS or octets * 8 / (rate * 1e6) < 0.0011


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rate_mbit", 0.0),
        ("rate_mbit", -1.0),
        ("delay_ms", float("inf")),
        ("delay_ms", float("nan")),
        ("loss_percent", 100.0),
        ("rate_mbit", 1e-9),
        ("delay_ms", 1e-9),
        ("loss_percent", 1e-9),
    ],
)
def test_an_impossible_value_is_refused_with_its_key(key: str, value: float) -> None:
    with pytest.raises(LinkOptionsError, match=key):
        LinkOptions(**{key: value})


def test_options_survive_json() -> None:
    options = LinkOptions(rate_mbit=2.5, delay_ms=3)
    assert LinkOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


# --------------------------------------------------------------------------- live

OCTETS = 1_000_000
SINK = f"""
import socket
server = socket.create_server(("10.2.1.1", 7000))
peer, got = server.accept()[0], 0
while got < {OCTETS}:
    got += len(peer.recv(1 << 16))
peer.send(b"!")
"""
SOURCE = f"""
import socket, time
sink = socket.create_connection(("10.2.1.1", 7000))
start = time.monotonic()
sink.sendall(bytes({OCTETS}))
sink.recv(1)
print(time.monotonic() - start)
"""


def qdiscs_of(network: ClusterNetwork, host: str) -> set[str]:
    """Kind and parent of each queueing discipline of a host's interface."""
    shown = on(network, host, "tc", "qdisc", "show", "dev", f"{host}-eth0")
    return {" ".join(line.split()[1:4]) for line in shown.splitlines()}


def transfer_s(network: ClusterNetwork) -> float:
    """Transfer time of :data:`OCTETS` from h1 to c1n1, in seconds."""
    network.popen("c1n1", [sys.executable, "-c", SINK])
    listening = partial(on, network, "c1n1", "ss", "-Hltn", "sport", "=", "7000")
    eventually("the sink listens", listening)
    return float(on(network, "h1", sys.executable, "-c", SOURCE))


@pytest.mark.live
@pytest.mark.sandboxed
def test_a_rate_holds_and_stays_beside_the_guards_hook() -> None:
    """8 Mbit at 20 Mbit/s, without a burst; a power failure does not change it."""
    node = PLAN.find_node("c1n1")
    with running(PLAN, link=LinkOptions(rate_mbit=20)) as network:
        assert_reaches(network, "h1", node.ipv4)
        assert transfer_s(network) > 0.39
        on(network, "c1n1", "tc", "qdisc", "add", "dev", node.interface, "clsact")
        both = {"tbf 1: root", "clsact ffff: parent"}
        assert qdiscs_of(network, "c1n1") == both
        network.power_off(node)
        network.power_on(node)
        assert_reaches(network, "h1", node.ipv4)
        assert qdiscs_of(network, "c1n1") == both
        grown, joined = network.plan.with_node("c1")
        network.add_node(joined)
        assert network.plan == grown
        assert qdiscs_of(network, joined.name) == {"tbf 1: root"}


@pytest.mark.live
def test_tc_accepts_the_commands() -> None:
    """Also without netem in the kernel: tc(8) ends with 1 for a syntax error."""
    options = LinkOptions(
        rate_mbit=0.5, delay_ms=MIN_VALUES["delay_ms"], loss_percent=0.1
    )
    lacks_netem, lacks_parent = "kind is unknown", "Failed to find specified qdisc"
    for command, reason in zip(
        tc_commands(options, "lo"), (lacks_netem, lacks_parent), strict=True
    ):
        done = subprocess.run(
            ["unshare", "--net", "tc", *command.split()],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or (done.returncode == 2 and reason in done.stderr)


@pytest.mark.live
@pytest.mark.sandboxed
def test_a_round_trip_takes_the_delay_twice_where_the_kernel_delays() -> None:
    """Without netem it is reported as missing before anything is built."""
    link = LinkOptions(rate_mbit=50, delay_ms=30)
    found = kernel_probes.probe_some(["sch_netem", "sch_tbf"])
    if found["sch_netem"].state is State.MISSING:
        assert [
            message
            for message in missing_reasons(link, found)
            if "sch_netem" in message
        ]
        return
    with running(PLAN, link=link) as network:
        assert_reaches(network, "h1", "10.2.1.1")
        output = on(network, "h1", "ping", "-n", "-c", "3", "-i", "0.1", "10.2.1.1")
        assert float(output.rpartition("= ")[2].split("/")[0]) >= 60
