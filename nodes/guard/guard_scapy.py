"""The reference guard of one node: a process that watches, judges and sends.

``python -m nodes.guard.guard_scapy --interface IF --mac MAC --board FILE`` runs in the node's
network namespace until SIGTERM and prints ``ready`` once it judges segments. It sees
every frame of the interface through AF_PACKET, in both directions and in order; scapy
takes frames apart and builds them. :mod:`nodes.guard.guard_silence` keeps the kernel quiet.
"""

from __future__ import annotations

import argparse
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from types import FrameType

from nodes.guard.flow_state import FlowState
from nodes.guard.guard_board import GuardBoard
from nodes.guard.guard_silence import lift_silence, silence
from nodes.guard.kernel_table import KernelTable
from nodes.guard.scapy_frames import build_frame, build_packet, dissect
from nodes.guard.segment import Segment, probe
from nodes.guard.verdict import (
    Action,
    Known,
    Mode,
    Verdict,
    judge_arriving,
    judge_leaving,
)
from nodes.kernel.offload import as_sent
from topologies.domain.connection import FourTuple
from topologies.domain.plan import SECOND_CHANCE_MAC, VIP4, VIP6

_ETH_P_ALL = 0x0003
_SO_RCVBUFFORCE = 33  # asm/socket.h; 64 MiB of frames wait while Python thinks
_BACKLOG_OCTETS = 64 << 20
#: Ethernet and the longest IP packet: what is passed on is passed on whole.
_FRAME_OCTETS = 14 + 40 + 65535
#: To judge it the headers are enough, and the longest: Ethernet, IPv6, TCP with options.
_HEADERS_OCTETS = 14 + 40 + 60
_PACKET_HOST, _PACKET_OUTGOING = 0, 4  # linux/if_packet.h
_SOL_PACKET, _PACKET_AUXDATA, _TP_STATUS_VLAN_VALID = 263, 8, 1 << 4
_EXTRAS_OCTETS = socket.CMSG_SPACE(20)  # struct tpacket_auxdata
_MAC_OCTETS = 6


class NodePorts:
    """The ways in and out of a node: its interface, and its own TCP through ``lo``."""

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
        """The next frame, and whether it came or left (PACKET_*).

        Frames with a VLAN tag are passed over. The tap shows them without the tag,
        but the node's TCP has no interface that takes them.
        """
        while True:
            frame, extras, _, address = self._tap.recvmsg(_FRAME_OCTETS, _EXTRAS_OCTETS)
            if not any(_tells_of_vlan(data) for _, _, data in extras):
                return frame, address[2]

    def send(self, segment: Segment, eth_src: str, eth_dst: str) -> None:
        """Send a segment out of the interface. This guard does not see it again."""
        self._tap.send(build_frame(segment, eth_src, eth_dst))

    def pass_on(self, frame: bytes, eth_src: str) -> None:
        """Send a frame back to the switches, for its connection's earlier owner."""
        for part in as_sent(frame, eth_src, SECOND_CHANCE_MAC):
            self._tap.send(part)

    def inject(self, segment: Segment) -> None:
        """Give a segment to the node's own TCP, as if it had come from the client.

        The virtual address is local, so the packet goes over ``lo``; a packet that was
        routed on its way out is not routed again on its way in, and no source address
        check (rp_filter) is made.
        """
        packet = build_packet(segment, bytes(segment.length))
        out = self._local6 if ":" in segment.dst else self._local4
        out.sendto(packet, (segment.dst, 0))


class ReferenceGuard:
    """Judges each frame of a node by the table and does what the verdict says."""

    def __init__(self, ports: NodePorts, mac: str, board: GuardBoard) -> None:
        self._ports = ports
        self._mac = mac
        self._board = board
        self._kernel = KernelTable()
        self._flows = FlowState(self._kernel.find, time.monotonic)
        #: Copies that wait until their connection has told its numbers.
        self._waiting: dict[FourTuple, list[Segment]] = {}

    def handle(self, frame: bytes, direction: int) -> None:
        """Judge one frame and act on the verdict."""
        segment = dissect(frame[:_HEADERS_OCTETS])
        if segment is None:
            return
        if direction == _PACKET_HOST and segment.dst in (VIP4, VIP6):
            self._arriving(segment, frame)
        elif direction == _PACKET_OUTGOING and segment.src in (VIP4, VIP6):
            self._leaving(segment)

    def _arriving(self, segment: Segment, frame: bytes) -> None:
        knowledge = self._flows.knowledge(segment)
        verdict = judge_arriving(segment, knowledge, self._board.mode)
        self._count(verdict)
        if verdict.action is Action.PASS:
            self._flows.arrived(segment)
        elif verdict.action is Action.PASS_ON:
            self._ports.pass_on(frame, self._mac)
        elif verdict.action is Action.ANSWER:
            assert verdict.segment
            source = _readable_mac(frame[_MAC_OCTETS : 2 * _MAC_OCTETS])
            self._ports.send(verdict.segment, self._mac, source)
            if "resets" in verdict.counts:
                self._flows.answered(segment)
        elif verdict.action in (Action.FREE, Action.PROBE):
            self._give_to_tcp(segment, verdict, knowledge.known)

    def _leaving(self, segment: Segment) -> None:
        connection = segment.leaving
        verdict = judge_leaving(segment, self._flows.deed(connection))
        if verdict.action is Action.FREE:
            assert verdict.segment
            self._ports.inject(verdict.segment)
            return
        self._flows.left(segment)
        for copy in self._waiting.pop(connection, []):
            self._judge_again(copy)

    def _judge_again(self, copy: Segment) -> None:
        knowledge = self._flows.knowledge(copy)
        verdict = judge_arriving(copy, knowledge, Mode.ANSWER)
        self._count(verdict)
        if verdict.action is Action.FREE:
            self._give_to_tcp(copy, verdict, knowledge.known)

    def _give_to_tcp(self, copy: Segment, verdict: Verdict, known: Known) -> None:
        assert verdict.segment
        if verdict.action is Action.PROBE:
            self._waiting.setdefault(copy.arriving, []).append(copy)
        else:
            # One that is still opening has its numbers checked by TCP, which may keep it.
            freed = known is Known.CONNECTION
            self._flows.did(copy.arriving, Known.FREED if freed else Known.NOTHING)
        self._ports.inject(verdict.segment)
        if verdict.action is Action.FREE:
            self._make_sure(copy)

    def _make_sure(self, copy: Segment) -> None:
        """If the connection outlived its reset, make it tell where RCV.NXT really is.

        What was seen to arrive need not have been accepted. Whatever the connection
        sends now, :func:`~nodes.guard.verdict.judge_leaving` turns into an exact reset.
        """
        if self._kernel.find(copy.arriving).known is Known.CONNECTION:
            self._ports.inject(probe(copy))

    def _count(self, verdict: Verdict) -> None:
        for counter in verdict.counts:
            self._board.increment(counter)


def main() -> int:
    """Guard the node that this process stands in until SIGTERM or SIGINT."""
    options = _options()
    signal.signal(signal.SIGTERM, _stop)
    ports = NodePorts(options.interface)
    guard = ReferenceGuard(ports, options.mac, GuardBoard(options.board))
    silence(options.interface)
    try:
        print("ready", flush=True)
        while True:
            guard.handle(*ports.next_frame())
    except KeyboardInterrupt:
        return 0
    finally:
        lift_silence()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    # Once: a second signal must not come into what is done at the end.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="nodes.guard.guard_scapy", description=__doc__
    )
    parser.add_argument("--interface", required=True, help="interface to guard")
    parser.add_argument("--mac", required=True, help="its MAC address")
    parser.add_argument(
        "--board", required=True, type=Path, help="file for mode and counters"
    )
    return parser.parse_args()


def _tells_of_vlan(auxdata: bytes) -> bool:
    (status,) = struct.unpack_from("=I", auxdata)
    return bool(status & _TP_STATUS_VLAN_VALID)


def _readable_mac(octets: bytes) -> str:
    return octets.hex(":")


if __name__ == "__main__":
    sys.exit(main())
