"""Attacks by clients and programs: nothing is amplified, no other connection is reset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from experiments.workloads.echo import ECHO_PORT
from tests.system.commands import Background, eventually
from topologies.domain.plan import FANOUT_MAC, VIP4, VIP6, VIP_MAC, Plan

pytestmark = [pytest.mark.live, pytest.mark.beside]

H1, H2 = Plan.build().clients

#: A client with one connection, echoing "ping"; programs go on from here.
CONNECTED = f"""
import socket, struct, sys, time
from scapy.all import Ether, IP, IPv6, TCP, sendp, conf
conf.verb = 0
s = socket.create_connection(("{VIP4}", {ECHO_PORT}))
s.settimeout(5)
port = s.getsockname()[1]
def echoes():
    s.sendall(b"ping")
    return s.recv(4) == b"ping"
assert echoes()
def forge(eth_src, src, flags, seq, ack=0, sport=None):
    frame = Ether(src=eth_src, dst="{VIP_MAC}") / IP(src=src, dst="{VIP4}")
    frame /= TCP(sport=sport or port, dport={ECHO_PORT}, flags=flags, seq=seq, ack=ack)
    sendp(frame, iface=iface)
iface = "{H1.interface}"
VIP4, ECHO_PORT = "{VIP4}", {ECHO_PORT}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Background]:
    cluster = Background.up("attacks", "--workload", "echo")
    yield cluster
    cluster.down()


@pytest.fixture(autouse=True)
def no_copies(cluster: Background) -> Iterator[None]:
    """Checks that no switch makes a copy of anything that a test here sends."""
    before = cluster.copies()
    yield
    assert cluster.copies() == before


def test_forged_fan_out_marks_reach_no_host(cluster: Background) -> None:
    code = (
        CONNECTED
        + f"""
for seq in range(0, 2**32, 2**28):
    for flags in ("R", "RA"):
        forge("{FANOUT_MAC}", "{H1.ipv4}", flags, seq, ack=seq)
assert echoes()
print("alive")
"""
    )
    assert cluster.python("h1", code) == "alive\n"
    assert cluster.status()["counters"]["copies_rejected"] == 0


@pytest.mark.parametrize("flags", ["R", "RA"])
def test_a_forged_reset_with_wrong_sequence_numbers_has_no_effect(
    cluster: Background, flags: str
) -> None:
    code = (
        CONNECTED
        + f"""
for seq in range(0, 2**32, 2**28):
    forge("{H1.mac}", "{H1.ipv4}", "{flags}", seq)
assert echoes()
print("alive")
"""
    )
    assert cluster.python("h1", code) == "alive\n"


def test_another_clients_reset_cannot_be_forged(cluster: Background) -> None:
    """The fabric admits from a client's port nothing but that client's addresses."""
    code = (
        CONNECTED
        + """
print(port, flush=True)
sys.stdin.close()
"""
    )
    cluster.python("h1", code)
    forged = (
        CONNECTED.replace(H1.interface, H2.interface)
        + f"""
for seq in range(0, 2**32, 2**28):
    forge("{H1.mac}", "{H1.ipv4}", "R", seq)
    forge("{H2.mac}", "{H1.ipv4}", "R", seq)
print("sent")
"""
    )
    assert cluster.python("h2", forged) == "sent\n"
    assert cluster.status()["counters"]["stray"] == 0


def test_a_clients_abort_goes_to_its_owner_only(cluster: Background) -> None:
    code = (
        CONNECTED
        + """
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.close()
"""
    )
    cluster.python("h1", code)
    eventually("freed by its owner", lambda: not cluster.established())


@pytest.mark.parametrize("vip", [VIP4, VIP6])
def test_a_refused_connection_is_not_fanned_out(cluster: Background, vip: str) -> None:
    code = f"""
import socket
try:
    socket.create_connection(("{vip}", 9), timeout=5)
except ConnectionRefusedError:
    print("refused")
"""
    assert cluster.python("h1", code) == "refused\n"


def test_an_applications_abort_is_not_fanned_out(cluster: Background) -> None:
    """Not even by the segments that are still on their way to it."""
    code = (
        CONNECTED
        + """
ended = []
for n in range(20):
    s = socket.create_connection(s.getpeername()) if n else s
    s.settimeout(5)
    try:
        s.sendall(b"data" * 50)
        s.sendall(b"\\x18")
        while True:
            s.sendall(b"more" * 500)
            s.recv(4096)
    except (ConnectionResetError, BrokenPipeError) as error:
        ended.append(error)
        s = socket.create_connection((VIP4, ECHO_PORT))
print(len(ended))
"""
    )
    assert cluster.python("h1", code) == "20\n"


def test_udp_and_other_addresses_are_dropped(cluster: Background) -> None:
    code = f"""
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(0.5)
u.sendto(b"x", ("{VIP4}", {ECHO_PORT}))
try:
    u.recv(10)
except OSError as error:
    print(type(error).__name__)
t = socket.socket()
t.settimeout(0.5)
try:
    t.connect(("{Plan.build().chassis[0].nodes[0].ipv4}", {ECHO_PORT}))
except OSError as error:
    print(type(error).__name__)
"""
    assert cluster.python("h1", code) == "TimeoutError\nTimeoutError\n"
