"""The dialogues of all clients, from the frames captured at their ports on the fabric.

Every request and answer of a run is handled here. For speed, no object is made of a
frame, and its two ends are identified by their raw bytes in the frame.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

from experiments.analysis.dialogue import Dialogue
from experiments.analysis.observations import FIN, PSH, RST, SYN
from experiments.record.pcapng import CapturedPacket
from topologies.domain.connection import VIPS, FourTuple

#: Ethernet, IP without options or extension headers, TCP. Fields: EtherType; IPv4: first
#: byte, length, protocol; IPv6: length, protocol; then both addresses and both ports as
#: raw bytes, SEQ, ACK, the length of the TCP header, flags.
_FRAME4 = struct.Struct("!12xHBxH5xB2x12sIIBB")
_FRAME6 = struct.Struct("!12xH4xHBx36sIIBB")
_IPV4, _IPV6 = 0x0800, 0x86DD
_PLAIN = 0x45  # version 4, a header of 20 bytes
_HEAD4 = 20
_TCP = 6
_OPENS_OR_ENDS = SYN | FIN | RST


class ClientWire:
    """Handles the frames of clients' ports on the fabric, in the order of time."""

    def __init__(self) -> None:
        """Without any frame yet."""
        #: The raw ends of a frame -> its dialogue, by the direction of the frame.
        self._from_client: dict[bytes, Dialogue] = {}
        self._to_client: dict[bytes, Dialogue] = {}
        self._dialogues: dict[bytes, list[Dialogue]] = {}

    def handle(self, packet: CapturedPacket) -> bool:
        """Handles one frame. Whether it can be dropped after that.

        Not if it opens or ends a connection (SYN, FIN, RST), or is no plain TCP.
        """
        data = packet.data
        frame = _FRAME4.unpack_from(data)
        if frame[0] == _IPV4:
            _, first, length, protocol, ends, seq, ack, offset, flags = frame
            if first != _PLAIN:
                return False
            length -= _HEAD4
        elif frame[0] == _IPV6:
            _, length, protocol, ends, seq, ack, offset, flags = _FRAME6.unpack_from(
                data
            )
        else:
            return False
        if protocol != _TCP:
            return False
        length -= (offset >> 4) * 4
        if flags & (SYN | RST):
            self._handshake(packet, ends, seq, flags)
        elif packet.outgoing:
            dialogue = self._to_client.get(ends)
            if dialogue is not None:
                pushed, fin = flags & PSH != 0, flags & FIN != 0
                dialogue.server_segment(packet.time_ns, seq, ack, length, pushed, fin)
        else:
            dialogue = self._from_client.get(ends)
            if dialogue is not None:
                dialogue.client_segment(packet.time_ns, seq, length, flags & FIN != 0)
        return not flags & _OPENS_OR_ENDS

    def dialogues(self) -> dict[FourTuple, list[Dialogue]]:
        """Connection to the VIP -> its dialogues, oldest first."""
        by_connection = {
            _connection(ends): dialogues for ends, dialogues in self._dialogues.items()
        }
        return {c: dialogues for c, dialogues in by_connection.items() if c.dst in VIPS}

    def _handshake(
        self, packet: CapturedPacket, ends: bytes, seq: int, flags: int
    ) -> None:
        """A SYN of the client begins a dialogue, unless it is a retransmission."""
        if flags & RST:
            return
        if packet.outgoing:
            if ends in self._to_client:
                self._to_client[ends].syn_ack(seq)
            return
        dialogues = self._dialogues.setdefault(ends, [])
        if not dialogues or dialogues[-1].isn != seq:
            dialogues.append(Dialogue(packet.time_ns, seq))
            self._from_client[ends] = self._to_client[_swapped(ends)] = dialogues[-1]


def _parts(ends: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Source, destination, source port, destination port."""
    size = len(ends) // 2 - 2
    return ends[:size], ends[size:-4], ends[-4:-2], ends[-2:]


def _swapped(ends: bytes) -> bytes:
    src, dst, sport, dport = _parts(ends)
    return dst + src + dport + sport


def _connection(ends: bytes) -> FourTuple:
    src, dst, sport, dport = _parts(ends)
    return FourTuple(
        str(ip_address(src)),
        int.from_bytes(sport, "big"),
        str(ip_address(dst)),
        int.from_bytes(dport, "big"),
    )
