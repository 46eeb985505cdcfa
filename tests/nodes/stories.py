"""What happens around a guard in more than one step: each runs in the lab.

A story only acts and returns what it saw; the tests say what it had to be.
"""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import asdict, replace
from pathlib import Path

from scapy.layers.inet import ICMP, IP, TCP, IPOption, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from nodes.guard.guard import GuardCounters
from nodes.guard.segment import Flags, Segment
from nodes.guard.verdict import FLOW_VALID_S, RESET_INTERVAL_S, Mode
from tests.nodes.lab import Lab
from tests.nodes.namespace import (
    CLIENTS,
    OWN,
    REAL_CLIENT,
    VIPS,
    Node,
    wait_for,
)
from tests.nodes.packet_states import ACK, PSH, RST, State
from tests.nodes.peer import Peer
from tests.nodes.wire import CLIENT_MAC, DEADLINE_S, Caught
from topologies.domain.plan import FANOUT_MAC

_TCP_REPAIR = 19  # linux/tcp.h: a socket in repair mode closes without a segment
_CLOSED_PORT = 7
#: Options that, taken for a TCP header, have its data offset and ACK flag in place.
_LIKE_TCP = [IPOption_NOP()] * 12 + [IPOption(b"\x50\x10" + bytes(14))]


def resets_of(peer: Peer, caught: list[Caught]) -> list[Segment]:
    """The node's resets of that connection among the captured segments."""
    mine = [
        one.segment for one in caught if one.segment.egress_connection == peer.tuple
    ]
    return [segment for segment in mine if segment.flags & RST]


def reset_that_tcp_did_not_take(lab: Lab, guard: str, ip: int) -> list[Segment]:
    """A copy is accepted, its reset is lost in the node; then the connection sends.

    Returns once the connection is gone: what left the node meanwhile.
    """
    lab.use(guard, Mode.ANSWER)
    peer = lab.peer(ip)
    connection = peer.bring_to(State.ESTABLISHED)
    lab.mark(ip)
    lab.wire.send_damaged(connection.copy())
    assert peer.server
    with contextlib.suppress(ConnectionResetError):
        peer.server.send(b"anyone there?")
    wait_for(lambda: lab.node.state_of(peer.tuple) is None, "the end of it")
    left = [
        one.segment
        for one in lab.mark(ip)
        if one.segment.egress_connection == peer.tuple
    ]
    peer.close()
    return left


def copy_after_data_that_tcp_discarded(lab: Lab, guard: str, ip: int) -> GuardCounters:
    """The guard saw data arrive that TCP did not accept; then a copy arrives.

    Returns once the connection is gone: what was counted.
    """
    lab.use(guard, Mode.ANSWER)
    peer = lab.peer(ip)
    connection = peer.bring_to(State.ESTABLISHED)
    lab.wire.send_damaged(connection.segment(ACK | PSH, length=700))
    lab.mark(ip)
    before = lab.counters()
    lab.wire.send(connection.copy(ack=700))
    wait_for(lambda: lab.node.state_of(peer.tuple) is None, "the end of it")
    peer.close()
    return since(before, lab.counters())


def late_copy(lab: Lab, guard: str, ip: int) -> tuple[str | None, GuardCounters]:
    """The copy of a first connection arrives when a second has taken its port."""
    lab.use(guard, Mode.ANSWER)
    peer = lab.peer(ip)
    first = peer.bring_to(State.ESTABLISHED)
    peer.send(first.segment(RST))
    wait_for(lambda: lab.node.state_of(peer.tuple) is None, "the first one's end")
    peer.bring_to(State.ESTABLISHED)
    before = lab.counters()
    peer.send(first.copy())
    lab.mark(ip)
    seen = lab.node.state_of(peer.tuple), since(before, lab.counters(), markers=1)
    peer.close()
    return seen


def late_copy_while_opening(lab: Lab, guard: str, ip: int) -> str | None:
    """The copy of a first connection arrives while a second opens from its port.

    The second one's state once its server has sent something.
    """
    lab.use(guard, Mode.ANSWER)
    peer = lab.peer(ip)
    first = peer.bring_to(State.ESTABLISHED)
    peer.send(first.segment(RST))
    wait_for(lambda: lab.node.state_of(peer.tuple) is None, "the first one's end")
    second = peer.bring_to(State.SYN_RECEIVED)
    # Clocks drive initial sequence numbers: the first one's are out of the new window.
    peer.send(first.copy(ack=-(1 << 20)))
    lab.mark(ip)
    peer.send(second.segment(ACK | PSH, length=5))
    peer.server, _ = peer.listener.accept()
    peer.server.recv(5)
    peer.server.send(b"welcome")
    lab.mark(ip)
    seen = lab.node.state_of(peer.tuple)
    peer.close()
    return seen


def data_after_close(lab: Lab, guard: str, ip: int) -> tuple[set[Flags], GuardCounters]:
    """Data still arrive after the server has closed its socket."""
    lab.use(guard, Mode.ANSWER)
    peer = lab.peer(ip)
    connection = peer.bring_to(State.ESTABLISHED)
    assert peer.server
    peer.server.close()
    peer.expect(Flags.FIN)
    lab.mark(ip)
    before = lab.counters()
    resets: list[Segment] = []

    def refused_twice() -> bool:
        peer.send(connection.segment(ACK | PSH, seq=7 * len(resets), length=7))
        resets.extend(resets_of(peer, lab.wire.catch_at_once()))
        return len(resets) >= 2

    wait_for(refused_twice, "two resets")
    peer.close()
    return {reset.flags for reset in resets}, since(before, lab.counters())


def connect_after_abort(lab: Lab, guard: str, ip: int) -> list[Segment]:
    """The addresses of an aborted connection connect again and close; then a stray."""
    lab.use(guard, Mode.ANSWER)
    peer = lab.peer(ip)
    peer.bring_to(State.ABORTED)
    connection = peer.bring_to(State.ESTABLISHED)
    peer.send(connection.segment(RST))
    wait_for(lambda: lab.node.state_of(peer.tuple) is None, "its end")
    lab.mark(ip)
    peer.send(connection.segment(ACK))
    resets = resets_of(peer, lab.mark(ip))
    peer.close()
    return resets


def end_without_a_segment(
    lab: Lab, guard: str, ip: int
) -> tuple[set[Flags], set[Flags]]:
    """A socket goes while segments still come to it, and the guard hears of no reset.

    So it is between the kernel's unhashing of a socket and its reset. The resets that
    answer a segment at once, and those once the guard no longer believes in the flow.
    """
    lab.use(guard, Mode.ANSWER)
    at_once: set[Flags] | None = None
    while at_once is None:
        peer = lab.peer(ip)
        connection = peer.bring_to(State.ESTABLISHED)
        assert peer.server
        peer.send(connection.segment(ACK | PSH, length=5))
        began = time.monotonic()
        peer.server.recv(5)
        peer.server.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        peer.server.close()
        lab.mark(ip)
        peer.send(connection.segment(ACK, seq=5))
        seen = {reset.flags for reset in resets_of(peer, lab.mark(ip))}
        if time.monotonic() - began < FLOW_VALID_S / 2:  # or the machine was too slow
            at_once = seen
    later: set[Flags] = set()

    def answered_as_stray() -> bool:
        peer.send(connection.segment(ACK, seq=5))
        resets = resets_of(peer, lab.mark(ip))
        later.update(reset.flags for reset in resets)
        return RST in later

    wait_for(answered_as_stray, "a reset for strays")
    peer.close()
    return at_once, later


def repeated_strays(lab: Lab, guard: str, ip: int) -> tuple[list[Flags], int]:
    """Five strays of one connection at once, and one that has received more meanwhile.

    The resets that they draw, and how many strays the node counted. Returns once the
    node has answered one of the five again.
    """
    lab.use(guard, Mode.ANSWER)
    drawn: list[Flags] | None = None
    while drawn is None:
        peer = lab.peer(ip)
        connection = peer.bring_to(State.LISTENING)
        before = lab.counters()
        began = time.monotonic()
        for number in range(5):
            peer.send(connection.segment(ACK | PSH, seq=7 * number, length=7))
        peer.send(connection.segment(ACK, seq=35, ack=9))
        seen = [reset.flags for reset in resets_of(peer, lab.mark(ip))]
        counted = since(before, lab.counters(), markers=1).strays
        if (
            time.monotonic() - began < RESET_INTERVAL_S / 2
        ):  # or the machine was too slow
            drawn = seen

    def answered_again() -> bool:
        peer.send(connection.segment(ACK, seq=99, ack=9))
        return bool(resets_of(peer, lab.mark(ip)))

    wait_for(answered_again, "another answer")
    peer.close()
    return drawn, counted


def real_client(lab: Lab, guard: str, ip: int) -> str:
    """A real TCP client writes to a node that has lost the connection.

    The name of the error that the client gets.
    """
    lab.use(guard, Mode.ANSWER)
    listener = lab.node.listen(ip)
    family = socket.AF_INET if ip == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(DEADLINE_S)
        client.bind((REAL_CLIENT[ip], 0))
        client.connect((VIPS[ip], listener.getsockname()[1]))
        server, _ = listener.accept()
        server.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        server.close()
        client.send(b"write")
        try:
            client.recv(1)
        except OSError as error:
            return type(error).__name__
        finally:
            listener.close()
    return "nothing"


def syn_cookies(lab: Lab, guard: str, ip: int) -> tuple[str | None, int, list[Segment]]:
    """A connection is opened through a SYN cookie, another with a forged one.

    The first one's state after its SYN and what its server could read; resets for the
    second.
    """
    lab.use(guard, Mode.ANSWER)
    lab.node.run("sysctl -qw net.ipv4.tcp_syncookies=2")
    peer, forger = lab.peer(ip), lab.peer(ip)
    connection = peer.bring_to(State.SYN_RECEIVED)
    state = lab.node.state_of(peer.tuple)
    peer.send(connection.segment(ACK | PSH, length=5))
    peer.server, _ = peer.listener.accept()
    read = len(peer.server.recv(100))
    lab.mark(ip)
    forger.send(forger.connection.segment(ACK))
    resets = resets_of(forger, lab.mark(ip))
    lab.node.run("sysctl -qw net.ipv4.tcp_syncookies=1")
    peer.close()
    forger.close()
    return state, read, resets


def not_judged(lab: Lab, guard: str, what: str) -> tuple[list[Segment], GuardCounters]:
    """Strays that cannot be judged, or are not to the VIP: the node's resets, and the
    counts."""
    lab.use(guard, Mode.ANSWER)
    lab.mark(4)
    before = lab.counters()
    tcp = TCP(sport=5, dport=_CLOSED_PORT, seq=1, ack=2, flags="A")
    forms: dict[str, Packet] = {
        "ip options": IP(src=CLIENTS[4], dst=VIPS[4], options=_LIKE_TCP) / tcp,
        "own ipv4 address": IP(src=CLIENTS[4], dst=OWN[4]) / tcp,
        "own ipv6 address": IPv6(src=CLIENTS[6], dst=OWN[6]) / tcp,
        "fragment": IP(src=CLIENTS[4], dst=VIPS[4], flags="MF") / tcp,
        "extension header": IPv6(src=CLIENTS[6], dst=VIPS[6])
        / IPv6ExtHdrDestOpt()
        / tcp,
        "ipv6 fragment": IPv6(src=CLIENTS[6], dst=VIPS[6])
        / IPv6ExtHdrFragment(m=0, offset=0)
        / tcp,
        "vlan": Dot1Q(vlan=5) / IP(src=CLIENTS[4], dst=VIPS[4]) / tcp,
    }
    lab.wire.send_raw(bytes(Ether(src=CLIENT_MAC, dst=lab.node.mac) / forms[what]))
    caught = [one.segment for one in lab.mark(4)]
    resets = [one for one in caught if one.sport == _CLOSED_PORT]
    return resets, since(before, lab.counters(), markers=1)


def marked_ping(lab: Lab, guard: str, ip: int) -> int:
    """A marked echo request, then an unmarked one; how many the node took in."""
    lab.use(guard, Mode.ANSWER)
    name = {4: "InEchos", 6: "Icmp6InEchos"}[ip]
    before = _kernel_count(lab.node, name)
    ping = (
        IP(src=CLIENTS[4], dst=VIPS[4]) / ICMP()
        if ip == 4
        else IPv6(src=CLIENTS[6], dst=VIPS[6]) / ICMPv6EchoRequest()
    )
    for source in (FANOUT_MAC, CLIENT_MAC):
        lab.wire.send_raw(bytes(Ether(src=source, dst=lab.node.mac) / ping))
    wait_for(lambda: _kernel_count(lab.node, name) > before, "the unmarked one")
    lab.mark(ip)
    return _kernel_count(lab.node, name) - before


def _kernel_count(node: Node, name: str) -> int:
    table = Path(f"/proc/{node.pid}/net/snmp6").read_text().splitlines()
    for line in table:
        if line.split()[0] == name:
            return int(line.split()[1])
    names, values = [
        line.split()
        for line in Path(f"/proc/{node.pid}/net/snmp").read_text().splitlines()
        if line.startswith("Icmp:")
    ]
    return int(values[names.index(name)])


def since(
    before: GuardCounters, after: GuardCounters, markers: int = 0
) -> GuardCounters:
    """What was counted in between, without the markers' part."""
    old = asdict(before)
    grown = {name: value - old[name] for name, value in asdict(after).items()}
    counted = GuardCounters(**grown)
    return replace(
        counted, strays=counted.strays - markers, resets=counted.resets - markers
    )
