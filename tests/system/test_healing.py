"""Half-open connections that no fan-out frees, live: each is freed nevertheless."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from experiments.workloads.echo import ECHO_PORT
from tests.system.commands import Background, eventually, must, processes_with
from tests.system.held_connections import HeldConnections
from topologies.domain.plan import VIP4, VIP6, Plan

pytestmark = [pytest.mark.live, pytest.mark.beside]

NODES = [node.name for node in Plan.build().nodes]
COUNT = 40
both_versions = pytest.mark.parametrize("vip", [VIP4, VIP6], ids=["ipv4", "ipv6"])

#: Drops a node's incoming resets, in its own kernel, behind its guard.
_LOSS = (
    "table inet loss { chain input { type filter hook input priority 0; "
    "tcp flags & rst == rst drop; }; }"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Background]:
    cluster = Background.up("healing", "--workload", "echo")
    yield cluster
    cluster.down()


@contextmanager
def drained(cluster: Background, node: str) -> Iterator[None]:
    cluster.event("drain-node", node)
    yield
    cluster.event("restore-node", node)


@contextmanager
def held(cluster: Background, vip: str = VIP4) -> Iterator[HeldConnections]:
    """Connections of h1. In the end nothing is left of them anywhere."""
    client = HeldConnections.open(cluster, "h1", vip, ECHO_PORT, COUNT)
    assert sum(cluster.established().values()) == COUNT
    yield client
    client.order("abort")
    client.kill()
    eventually("everything freed", lambda: not cluster.established())


def counter(cluster: Background, name: str) -> int:
    value: int = cluster.status()["counters"][name]
    return value


@both_versions
def test_a_client_that_aborts_after_the_move_frees_its_owner(
    cluster: Background, vip: str
) -> None:
    before = counter(cluster, "relays_accepted")
    with held(cluster, vip) as client, drained(cluster, "c1n2"):
        client.order("abort")
        eventually("freed", lambda: not cluster.established())
    assert counter(cluster, "relays_accepted") > before


@both_versions
def test_what_an_uplink_cut_off_is_freed_when_it_returns(
    cluster: Background, vip: str
) -> None:
    with held(cluster, vip) as client:
        behind = sum(
            count for name, count in cluster.established().items() if name[:2] == "c2"
        )
        assert behind > 0
        cluster.event("uplink-down", "c2")
        assert int(client.order("echo")) == COUNT - behind
        left = sum(cluster.established().values())
        assert left == COUNT, "their owners are cut off and know nothing of it"
        cluster.event("uplink-up", "c2")
        eventually(
            "freed", lambda: sum(cluster.established().values()) == COUNT - behind
        )
        assert int(client.order("echo")) == COUNT - behind


def test_an_owner_that_no_reset_reaches_frees_itself(cluster: Background) -> None:
    with held(cluster) as client:
        for node in NODES:
            must(cluster.execute(node, "nft", _LOSS))
        with drained(cluster, "c1n2"):
            alive = int(client.order("echo"))
            assert alive < COUNT
            eventually("freed", lambda: sum(cluster.established().values()) == alive)
        for node in NODES:
            must(cluster.execute(node, "nft", "delete table inet loss"))
        assert int(client.order("echo")) == alive


def test_a_client_that_vanishes_frees_its_owner(cluster: Background) -> None:
    client = HeldConnections.open(cluster, "h1", VIP4, ECHO_PORT, COUNT)
    assert cluster.established()["c1n2"] > 0
    must(cluster.execute("h1", "ip", "link", "set", "h1-eth0", "down"))
    client.kill()
    with drained(cluster, "c1n2"):
        eventually("freed", lambda: "c1n2" not in cluster.established())
        must(cluster.execute("h1", "ip", "link", "set", "h1-eth0", "up"))
    # The rest were not moved for good: h1 answers for them that they are gone.
    eventually("everything freed", lambda: _asked_to_the_end(cluster))


def _asked_to_the_end(cluster: Background) -> bool:
    """Whether nothing is left; each event makes the owners ask those that it touches."""
    cluster.event("reseed", "all")
    return not cluster.established()


def test_a_killed_healer_heals_when_it_is_back(cluster: Background) -> None:
    (healer,) = processes_with(f"/{cluster.name}/sites.json")
    with held(cluster) as client:
        for node in NODES:
            must(cluster.execute(node, "nft", _LOSS))
        os.kill(healer, signal.SIGKILL)
        with drained(cluster, "c1n2"):
            alive = int(client.order("echo"))
            eventually("freed", lambda: sum(cluster.established().values()) == alive)
        for node in NODES:
            must(cluster.execute(node, "nft", "delete table inet loss"))


@pytest.mark.parametrize("guard", ["ebpf", "scapy"])
def test_asking_resets_no_client_whose_connection_still_works(guard: str) -> None:
    """The earlier owner keeps it with ``second-chance``, idle as it is."""
    options = "--policy", "second-chance", "--heal", "on", "--guard", guard
    cluster = Background.up("patient", "--workload", "echo", *options)
    try:
        with held(cluster) as client:
            cluster.event("drain-node", "c1n2")
            moved = cluster.established()["c1n2"]
            assert moved > 0
            eventually(
                "asked three times", lambda: counter(cluster, "probes") >= 3 * moved
            )
            assert int(client.order("echo")) == COUNT
    finally:
        cluster.down()
