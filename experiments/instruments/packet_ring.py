"""A packet socket that shares a ring of memory with the kernel (TPACKET_V3).

The kernel fills blocks of the ring and passes each one on when it is full or old. The
reader copies whole blocks, without a system call for each packet. So Python can keep up
with hundreds of thousands of packets a second. Layout:
``linux/if_packet.h`` and ``Documentation/networking/packet_mmap.rst``.
"""

from __future__ import annotations

import mmap
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from experiments.instruments import packet_filter

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 5, 6, 10
_TPACKET_V3 = 2
_ETH_P_ALL = 3
_STATUS_KERNEL, _STATUS_USER = 0, 1

#: block_status, num_pkts, offset_to_first_pkt, blk_len, behind two words.
_BLOCK = struct.Struct("8x4I")
_STATUS_AT = 8
#: next_offset, seconds, nanoseconds, captured, length, status, offset of the frame.
_PACKET = struct.Struct("6IH")
_PKTTYPE_AT = 48 + 10  # sockaddr_ll follows the 48-byte tpacket3_hdr
_STATISTICS = struct.Struct("3I")

#: The kernel's alignment of frames; V3 packs frames of any size into a block.
_FRAME_SIZE = 2048
#: A block that is not full is passed on after one to two of these periods. Only the end
#: of a capture waits for that, since every segment has its own timestamp.
RETIRE_MS = 40
#: Time after which the block of a segment has certainly been passed on, in seconds.
MAX_RETIRE_S = 3 * RETIRE_MS / 1000


class Packet(NamedTuple):
    """One captured segment. ``offset`` and ``captured``: its bytes within a block.

    ``time_ns``: CLOCK_REALTIME at the kernel's tap. ``length``: bytes on the wire.
    """

    time_ns: int
    outgoing: bool
    length: int
    offset: int
    captured: int


class PacketRing:
    """The segments of one interface in the calling thread's network namespace."""

    def __init__(self, interface: str, program: bytes, ring_bytes: int) -> None:
        """Starts capturing the segments that pass ``program``.

        ``ring_bytes`` of memory (at least two pages) hold unread segments. Raises
        :class:`OSError`: no such interface, or no permission to capture.
        """
        self._block_bytes = max(mmap.PAGESIZE, min(1 << 16, ring_bytes // 4))
        self._blocks = max(2, ring_bytes // self._block_bytes)
        self._next = 0
        # Protocol 0: nothing is received before bind(), when filter and ring are set up.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            packet_filter.attach(self._socket, program)
            self._map = self._shared_memory()
            self._socket.bind((interface, _ETH_P_ALL))
        except BaseException:
            self._socket.close()
            raise

    def _shared_memory(self) -> mmap.mmap:
        size = self._block_bytes * self._blocks
        request = struct.pack(
            "7I",
            self._block_bytes,
            self._blocks,
            _FRAME_SIZE,
            size // _FRAME_SIZE,
            RETIRE_MS,
            0,
            0,
        )
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        return mmap.mmap(self._socket.fileno(), size)

    def fileno(self) -> int:
        """For a selector: readable when a block is ready, or the interface goes down."""
        return self._socket.fileno()

    def read_blocks(self) -> Iterator[bytes]:
        """Copies each ready block, and returns its space to the kernel."""
        while True:
            start = self._next * self._block_bytes
            status, _, _, used = _BLOCK.unpack_from(self._map, start)
            if not status & _STATUS_USER:
                return
            block = self._map[start : start + used]
            struct.pack_into("I", self._map, start + _STATUS_AT, _STATUS_KERNEL)
            self._next = (self._next + 1) % self._blocks
            yield block

    def clear_error(self) -> int:
        """Returns and clears the pending error: ENETDOWN if the interface went down.

        The capture continues when the interface is up again
        (``packet_notifier`` in net/packet/af_packet.c).
        """
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def read_statistics(self) -> tuple[int, int]:
        """(segments that passed the filter, dropped ones of these) since the last call."""
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        received, dropped, _ = _STATISTICS.unpack(raw)
        return received, dropped

    def close(self) -> None:
        """Ends the capture and frees the ring."""
        self._map.close()
        self._socket.close()


def packets_of(block: bytes | memoryview) -> Iterator[Packet]:
    """The segments of one block, oldest first."""
    _, count, at, _ = _BLOCK.unpack_from(block)
    for _ in range(count):
        step, seconds, nanos, captured, length, _, mac = _PACKET.unpack_from(block, at)
        outgoing = block[at + _PKTTYPE_AT] == socket.PACKET_OUTGOING
        yield Packet(
            seconds * 1_000_000_000 + nanos, outgoing, length, at + mac, captured
        )
        at += step
