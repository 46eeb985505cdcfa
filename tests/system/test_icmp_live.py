"""The VIP answers ping, and ICMP errors reach the connections that they are about, live."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from controller.pipeline.icmp import ERRORS_PER_S
from experiments.running.ping_vip import round_trip_ms
from experiments.workloads.echo import ECHO_PORT
from tests.system.commands import ROOT, Background, must
from topologies.domain.plan import VIP4, VIP6, vip

#: The meters are what differs between the datapaths.
pytestmark = [pytest.mark.live, pytest.mark.beside]

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])

#: A path's MTU that both IP versions allow (RFC 8200, 5), and TCP's headers with timestamps.
MTU = 1280
HEADERS = {4: 20 + 32, 6: 40 + 32}

#: Opens a connection, tells its owner of a narrow path as a router would, and holds it. The
#: quoted sequence number is the next one of the owner: the one that this side expects.
_CLIENT = """
import socket, struct, sys
vip, port, mtu, off, count = sys.argv[1], *map(int, sys.argv[2:])
REPAIR, QUEUE, SEQUENCE, RECEIVE = 19, 20, 21, 1  # linux/tcp.h
held = socket.create_connection((vip, port))
held.sendall(b"ping")
assert held.recv(4) == b"ping"
held.setsockopt(socket.IPPROTO_TCP, REPAIR, 1)
held.setsockopt(socket.IPPROTO_TCP, QUEUE, RECEIVE)
sequence = held.getsockopt(socket.IPPROTO_TCP, SEQUENCE) + off & 0xffffffff
held.setsockopt(socket.IPPROTO_TCP, REPAIR, -1)  # TCP_REPAIR_OFF_NO_WP
own = held.getsockname()
tcp = struct.pack("!HHII", port, own[1], sequence, 0)
inside = [socket.inet_pton(held.family, one) for one in (vip, own[0])]
if held.family == socket.AF_INET:
    quote = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1500, 0, 0x4000, 63, 6, 0, *inside) + tcp
    total = sum(struct.unpack(f"!{len(quote) // 2}H", quote)) + (3 << 8 | 4) + mtu
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    message = struct.pack("!BBHHH", 3, 4, ~total & 0xffff, 0, mtu) + quote
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
else:
    quote = struct.pack("!IHBB16s16s", 6 << 28, 1460, 6, 63, *inside) + tcp
    message = struct.pack("!BBHI", 2, 0, 0, mtu) + quote  # the kernel adds the checksum
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
for _ in range(count):
    raw.sendto(message, (vip, 0))
held.sendall(b"done")
assert held.recv(4) == b"done"
print(own[1], flush=True)
sys.stdin.read()
"""


#: On a distribution's own kernel one guard is enough: what differs there is the datapath.
GUARDS = [pytest.param("ebpf", marks=pytest.mark.kernel), "scapy"]


@pytest.fixture(scope="module", params=GUARDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Background]:
    name = f"icmp-{request.param}"
    cluster = Background.up(name, "--workload", "echo", "--guard", request.param)
    yield cluster
    cluster.down()


@both_versions
@pytest.mark.parametrize("client", ["h1", "h2"])
def test_the_vip_answers_ping(cluster: Background, client: str, version: int) -> None:
    done = cluster.execute(client, "ping", "-n", "-c1", "-W2", vip(version))
    assert round_trip_ms(must(done)) is not None


def test_after_a_change_another_node_answers(cluster: Background) -> None:
    nodes = ["c1n1", "c1n2", "c1n3", "c2n1", "c2n2"]
    cluster.event(*(word for node in nodes for word in ("drain-node", node)))
    try:
        for address in (VIP4, VIP6):
            must(cluster.execute("h1", "ping", "-n", "-c1", "-W2", address))
    finally:
        cluster.event(*(word for node in nodes for word in ("restore-node", node)))


@both_versions
def test_a_narrow_path_lowers_the_owners_segment_size(
    cluster: Background, version: int
) -> None:
    """Not with a sequence number that the owner has not sent (RFC 5927, 4.1)."""
    for off, told in ((1 << 20, False), (0, True)):
        with narrowed(cluster, version, off) as port:
            [size] = segment_sizes(cluster, port)
            assert size == MTU - HEADERS[version] if told else size > MTU


@both_versions
def test_a_client_that_sends_many_is_limited(cluster: Background, version: int) -> None:
    """At most the burst, and then the rate, reach a node; all nodes get as many."""
    before = errors_received(cluster, "c2n3", version)
    begin = time.monotonic()
    with narrowed(cluster, version, 0, count=400):
        seen = errors_received(cluster, "c2n3", version) - before
        elapsed_s = time.monotonic() - begin
    assert 1 <= seen <= ERRORS_PER_S * (1 + elapsed_s)
    assert seen < 400


def errors_received(cluster: Background, node: str, version: int) -> int:
    """ICMP errors about narrow paths that a node's kernel has received."""
    name = {4: "IcmpInDestUnreachs", 6: "Icmp6InPktTooBigs"}[version]
    table = must(cluster.execute(node, "nstat", "-asz", name))
    return int(re.findall(rf"{name} +(\d+)", table)[0])


@contextmanager
def narrowed(
    cluster: Background, version: int, off: int, count: int = 1
) -> Iterator[int]:
    """The client's port of a connection of ``h1`` whose owner was told of :data:`MTU`."""
    numbers = map(str, (ECHO_PORT, MTU, off, count))
    command = [sys.executable, "-c", _CLIENT, vip(version), *numbers]
    own = [sys.executable, "-m", "experiments", "exec", "--name", cluster.name]
    with subprocess.Popen(
        [*own, "h1", "--", *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.communicate("")


def segment_sizes(cluster: Background, port: int) -> list[int]:
    """``mss`` of ss(8) of that client port's connection, at each node that has one."""
    sizes = []
    for node in cluster.established():
        listed = must(cluster.execute(node, "ss", "-tinOH", f"dport = :{port}"))
        sizes += [int(size) for size in re.findall(r"\bmss:(\d+)", listed)]
    return sizes
