"""The reference guard of one node: one process that captures, decides and sends.

``python -m nodes.guard.guard_scapy --interface IF --mac MAC --shared-state FILE`` runs in
the node's network namespace until SIGTERM. It prints ``ready`` once it handles segments.
It sees every frame of the interface through AF_PACKET, in both directions and in order.
scapy builds frames and reads the unusual ones; plain ones, which are most, are read by
:mod:`nodes.guard.bare_frame`. :mod:`nodes.guard.nftables_rules` suppresses the kernel's own
resets.
"""

from __future__ import annotations

import argparse
import errno
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from types import FrameType

from nodes.guard.bare_frame import read_plain
from nodes.guard.budget import Budget, Purse
from nodes.guard.flow_state import FlowState
from nodes.guard.nftables_rules import install_rules, remove_rules
from nodes.guard.scapy_frames import build_frame, build_packet, dissect, is_unreadable
from nodes.guard.segment import Flags, Segment, probe
from nodes.guard.shared_state import SharedState
from nodes.guard.socket_lookup import SocketLookup
from nodes.guard.verdict import (
    Action,
    FlowInfo,
    Mode,
    Status,
    Verdict,
    causes_fan_out,
    destination_to_pass_on,
    judge_egress,
    judge_ingress,
    judge_request,
)
from nodes.kernel.offload import segment_and_checksum
from topologies.domain.connection import FourTuple
from topologies.domain.plan import (
    GATEWAY_MAC,
    RELAY_MAC,
    VIP4,
    VIP6,
)

_ETH_P_ALL = 0x0003
_SO_RCVBUFFORCE = 33  # asm/socket.h
#: Receive buffer, for the frames that arrive while Python handles others.
_BACKLOG_OCTETS = 64 << 20
#: Ethernet and the longest IP packet: strays are redirected as a whole.
_FRAME_OCTETS = 14 + 40 + 65535
#: The longest headers (Ethernet, IPv6, TCP with options). Decisions need no more.
_HEADERS_OCTETS = 14 + 40 + 60
_PACKET_HOST, _PACKET_OUTGOING = 0, 4  # linux/if_packet.h
_SOL_PACKET, _PACKET_AUXDATA, _TP_STATUS_VLAN_VALID = 263, 8, 1 << 4
_EXTRAS_OCTETS = socket.CMSG_SPACE(20)  # struct tpacket_auxdata
#: Errors of send(2) that mean that a frame was lost; see packet(7).
_LOST = frozenset((errno.ENOBUFS, errno.ENETDOWN))
_MAC_OCTETS = 6
_VIP4_OCTETS = socket.inet_aton(VIP4)
_VIP6_OCTETS = socket.inet_pton(socket.AF_INET6, VIP6)


class GuardSockets:
    """The guard's sockets: the node's interface, and ``lo`` for the node's own TCP."""

    def __init__(self, interface: str) -> None:
        self._tap = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)
        )
        self._tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BACKLOG_OCTETS)
        self._tap.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self._tap.bind((interface, _ETH_P_ALL))
        raw = socket.SOCK_RAW
        self._local4 = socket.socket(socket.AF_INET, raw, socket.IPPROTO_RAW)
        self._local6 = socket.socket(socket.AF_INET6, raw, socket.IPPROTO_RAW)

    def next_frame(self) -> tuple[bytes, int]:
        """The next frame and its direction (PACKET_*).

        Frames with a VLAN tag are skipped. The socket shows them without the tag, but
        the node's TCP has no interface that accepts them.
        """
        while True:
            frame, extras, _, address = self._tap.recvmsg(_FRAME_OCTETS, _EXTRAS_OCTETS)
            if not any(_has_vlan_tag(data) for _, _, data in extras):
                return frame, address[2]

    def send(self, segment: Segment, eth_src: str, eth_dst: str) -> None:
        """Send a segment out of the interface. This guard does not see it again."""
        self._transmit(build_frame(segment, eth_src, eth_dst))

    def redirect(self, frame: bytes, eth_src: str, eth_dst: str) -> None:
        """Redirect a frame to the switches. ``eth_dst`` tells them why."""
        for part in segment_and_checksum(frame, eth_src, eth_dst):
            self._transmit(part)

    def _transmit(self, frame: bytes) -> None:
        """Send a frame. It may be lost, as on any wire: the queue of the interface is full,
        a packet filter drops it (NET_XMIT_DROP), or the interface is down."""
        try:
            self._tap.send(frame)
        except OSError as error:
            if error.errno not in _LOST:
                raise

    def inject(self, segment: Segment) -> None:
        """Deliver a segment to the node's own TCP, as if the client had sent it.

        The virtual address is local, so the packet goes over ``lo``. A packet that was
        routed at output is not routed again at input, so there is no source address
        check (rp_filter).
        """
        packet = build_packet(segment, bytes(segment.length))
        out = self._local6 if ":" in segment.dst else self._local4
        out.sendto(packet, (segment.dst, 0))


class ReferenceGuard:
    """Applies the decision table to each frame of a node."""

    def __init__(self, sockets: GuardSockets, mac: str, shared: SharedState) -> None:
        self._sockets = sockets
        self._mac = mac
        self._shared = shared
        self._kernel = SocketLookup()
        self._flows = FlowState(self._kernel.find, time.monotonic)
        #: Copies that wait until a segment shows the numbers of their connection.
        self._waiting: dict[FourTuple, list[Segment]] = {}
        self._purse = Purse(Budget())

    def handle(self, frame: bytes, direction: int) -> None:
        """Decide about one frame and act on the verdict."""
        headers = frame[:_HEADERS_OCTETS]
        segment = read_plain(headers) or dissect(headers)
        if segment is None:
            if direction == _PACKET_HOST and _for_vip(frame) and is_unreadable(frame):
                self._shared.increment("unreadable")
            return
        if direction == _PACKET_HOST and segment.dst in (VIP4, VIP6):
            self._on_ingress(segment, frame)
        elif direction == _PACKET_OUTGOING and segment.src in (VIP4, VIP6):
            self._on_egress(segment)

    def _on_ingress(self, segment: Segment, frame: bytes) -> None:
        info = self._flows.info(segment)
        verdict = self._judge(segment, info)
        self._count(verdict)
        if verdict.action is Action.PASS:
            self._flows.on_ingress(segment)
        elif verdict.action is Action.PASS_ON:
            source = _readable_mac(frame[_MAC_OCTETS : 2 * _MAC_OCTETS])
            onward = destination_to_pass_on(source)
            self._sockets.redirect(frame, self._mac, onward)
        elif verdict.action is Action.RELAY:
            self._sockets.redirect(frame, self._mac, RELAY_MAC)
            self._flows.record_action(segment.ingress_connection, Status.RELAYED)
        elif verdict.action is Action.ANSWER:
            assert verdict.segment
            source = _readable_mac(frame[_MAC_OCTETS : 2 * _MAC_OCTETS])
            self._sockets.send(verdict.segment, self._mac, source)
            if "resets" in verdict.counts:
                self._flows.record_reset(segment)
            elif "resets_repeated" in verdict.counts:
                self._flows.record_reset(segment, fanned_out=False)
        elif verdict.action in (Action.FREE, Action.PROBE):
            self._inject_reset(segment, verdict, info.status)

    def _judge(self, segment: Segment, info: FlowInfo) -> Verdict:
        """The verdict; another one if it causes a fan-out that the budget refuses."""
        settings = self._shared.settings
        if settings.budget != self._purse.budget:
            self._purse = Purse(settings.budget)
        judged = segment, info, settings.mode, settings.healing
        verdict = judge_ingress(*judged)
        if not causes_fan_out(verdict):
            return verdict
        tokens = settings.budget.relay if verdict.action is Action.RELAY else 1
        if self._purse.spend(segment.src, time.monotonic_ns(), tokens):
            return verdict
        return judge_ingress(*judged, limited=True)

    def _on_egress(self, segment: Segment) -> None:
        connection = segment.egress_connection
        if segment.is_request:
            self._send_keepalive(segment)
            return
        freed = Status.FREED if self._flows.was_freed(connection) else Status.NOTHING
        verdict = judge_egress(segment, freed)
        if verdict.action is Action.FREE:
            assert verdict.segment
            self._sockets.inject(verdict.segment)
            return
        self._flows.on_egress(segment)
        for copy in self._waiting.pop(connection, []):
            self._judge_waiting_copy(copy)

    def _send_keepalive(self, request: Segment) -> None:
        """Send what the healer asks for, if the numbers of the connection are known.

        If they are not, a probe makes the connection send them. The next request finds
        them then.
        """
        arriving = request_as_arriving(request)
        info = self._flows.info(arriving)
        verdict = judge_request(request, info)
        self._count(verdict)
        if verdict.segment:
            self._sockets.send(verdict.segment, self._mac, GATEWAY_MAC)
        elif info.status is Status.CONNECTION:
            self._sockets.inject(probe(arriving))

    def _judge_waiting_copy(self, copy: Segment) -> None:
        info = self._flows.info(copy)
        verdict = judge_ingress(copy, info, Mode.ANSWER)
        self._count(verdict)
        if verdict.action is Action.FREE:
            self._inject_reset(copy, verdict, info.status)

    def _inject_reset(self, copy: Segment, verdict: Verdict, status: Status) -> None:
        assert verdict.segment
        if verdict.action is Action.PROBE:
            self._waiting.setdefault(copy.ingress_connection, []).append(copy)
        else:
            # TCP checks the numbers of an embryonic connection, and may keep it.
            freed = status is Status.CONNECTION
            self._flows.record_action(
                copy.ingress_connection,
                Status.FREED if freed else Status.NOTHING,
            )
        self._sockets.inject(verdict.segment)
        if verdict.action is Action.FREE:
            self._probe_if_alive(copy)

    def _probe_if_alive(self, copy: Segment) -> None:
        """If the connection survived its reset, send a probe to learn RCV.NXT.

        TCP may have discarded a segment that the guard saw arrive. What the connection
        sends next, :func:`~nodes.guard.verdict.judge_egress` turns into an exact reset.
        """
        if self._kernel.find(copy.ingress_connection).status is Status.CONNECTION:
            self._sockets.inject(probe(copy))

    def _count(self, verdict: Verdict) -> None:
        for counter in verdict.counts:
            self._shared.increment(counter)


def main() -> int:
    """Guard the node of this network namespace until SIGTERM or SIGINT."""
    options = _options()
    signal.signal(signal.SIGTERM, _stop)
    sockets = GuardSockets(options.interface)
    guard = ReferenceGuard(sockets, options.mac, SharedState(options.shared_state))
    install_rules(options.interface)
    try:
        print("ready", flush=True)
        while True:
            guard.handle(*sockets.next_frame())
    except KeyboardInterrupt:
        return 0
    finally:
        remove_rules()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    # Ignore further signals: a second one must not interrupt the shutdown.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nodes.guard.guard_scapy", description=__doc__
    )
    parser.add_argument("--interface", required=True, help="interface to guard")
    parser.add_argument("--mac", required=True, help="its MAC address")
    parser.add_argument(
        "--shared-state", required=True, type=Path, help="file for mode and counters"
    )
    return parser.parse_args()


def request_as_arriving(request: Segment) -> Segment:
    """A segment of the requested connection, as if its client had sent it.

    Marked, so that the kernel is asked whether the connection still exists.
    """
    src, sport, dst, dport = request.egress_connection
    return Segment(src, dst, sport, dport, 0, 0, Flags.ACK, marked=True)


def _for_vip(frame: bytes) -> bool:
    """Whether it is an IP packet to the virtual address."""
    return frame[30:34] == _VIP4_OCTETS or frame[38:54] == _VIP6_OCTETS


def _has_vlan_tag(auxdata: bytes) -> bool:
    (status,) = struct.unpack_from("=I", auxdata)
    return bool(status & _TP_STATUS_VLAN_VALID)


def _readable_mac(octets: bytes) -> str:
    return octets.hex(":")


if __name__ == "__main__":
    sys.exit(main())
