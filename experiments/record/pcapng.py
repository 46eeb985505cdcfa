"""Writes and reads capture files in the pcapng format.

One section; one interface block for each captured interface, named by its label; times
in nanoseconds since the epoch; each packet marked inbound or outbound. Wireshark and
tcpdump read it. Layout: draft-ietf-opsawg-pcapng, sections named at each block.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_BYTE_ORDER = 0x1A2B3C4D
_LINKTYPE_ETHERNET = 1
_NANOSECONDS = 9  # if_tsresol: 10**-9

#: Option codes, sections 3.5, 4.2, 4.3 and 4.6.
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _IF_FILTER = 2, 3, 9, 11
_EPB_FLAGS = 2
_ISB_START, _ISB_END, _ISB_RECEIVED, _ISB_DROPPED = 2, 3, 4, 5

_INBOUND, _OUTBOUND = 1, 2

_HEAD = struct.Struct("<II")
_PACKET_HEAD = struct.Struct("<7I")  # with type and total length
#: epb_flags, end of options, total length.
_PACKET_TAIL = struct.Struct("<HHIHHI")
#: The part of it that is read: the option's code, and the flags.
_PACKET_FLAGS = struct.Struct("<H2xI")
_STATISTICS_HEAD = struct.Struct("<III")


class PcapngError(ValueError):
    """A file that :class:`PcapngWriter` did not write, or that was cut short."""


class PcapngWriter:
    """Writes one capture file to a binary stream, block by block."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Writes the section header (section 4.1)."""
        self._write = stream.write
        self._interfaces = 0
        body = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)
        self._block(_SECTION, body)

    def add_interface(
        self, name: str, description: str = "", snaplen: int = 0, filter: str = ""
    ) -> int:
        """Adds an interface; returns its number, for its packets (section 4.2)."""
        body = struct.pack("<HHI", _LINKTYPE_ETHERNET, 0, snaplen)
        body += _option(_IF_NAME, name.encode())
        if description:
            body += _option(_IF_DESCRIPTION, description.encode())
        if filter:  # 0: the filter is text
            body += _option(_IF_FILTER, b"\0" + filter.encode())
        body += _option(_IF_TSRESOL, bytes([_NANOSECONDS])) + _option(0, b"")
        self._block(_INTERFACE, body)
        self._interfaces += 1
        return self._interfaces - 1

    def packet(
        self,
        interface: int,
        time_ns: int,
        data: bytes | memoryview,
        length: int,
        outgoing: bool,
    ) -> None:
        """Writes one packet: ``data`` was captured of ``length`` bytes (section 4.3)."""
        padding = -len(data) % 4
        total = _PACKET_HEAD.size + len(data) + padding + _PACKET_TAIL.size
        high, low = time_ns >> 32, time_ns & 0xFFFFFFFF
        self._write(
            _PACKET_HEAD.pack(_PACKET, total, interface, high, low, len(data), length)
        )
        self._write(data)
        flags = _OUTBOUND if outgoing else _INBOUND
        self._write(
            bytes(padding) + _PACKET_TAIL.pack(_EPB_FLAGS, 4, flags, 0, 0, total)
        )

    def statistics(
        self, interface: int, start_ns: int, end_ns: int, received: int, dropped: int
    ) -> None:
        """Writes an interface's counts from ``start_ns`` to ``end_ns`` (section 4.6)."""
        body = struct.pack("<III", interface, end_ns >> 32, end_ns & 0xFFFFFFFF)
        for code, instant in ((_ISB_START, start_ns), (_ISB_END, end_ns)):
            body += _option(
                code, struct.pack("<II", instant >> 32, instant & 2**32 - 1)
            )
        for code, count in ((_ISB_RECEIVED, received), (_ISB_DROPPED, dropped)):
            body += _option(code, struct.pack("<Q", count))
        self._block(_STATISTICS, body + _option(0, b""))

    def _block(self, kind: int, body: bytes) -> None:
        total = len(body) + 12
        self._write(_HEAD.pack(kind, total) + body + struct.pack("<I", total))


class CapturedInterface(NamedTuple):
    """One interface block, as written by :mod:`experiments.instruments.capture`."""

    label: str
    kind: str
    filter: str


class CapturedPacket(NamedTuple):
    """One packet block. ``frame`` counts from 1, as in Wireshark.

    ``data`` is a view of the file, valid until the file is closed.
    """

    frame: int
    interface: int
    time_ns: int
    outgoing: bool
    length: int
    data: memoryview


class PcapngReader:
    """The blocks of one capture file of :class:`PcapngWriter`, in order."""

    def __init__(self, buffer: memoryview) -> None:
        """Reads the section header. Raises :class:`PcapngError`."""
        self._buffer = buffer
        self.interfaces: list[CapturedInterface] = []
        self.dropped: dict[str, int] = {}
        if len(buffer) < 12 or _HEAD.unpack_from(buffer)[0] != _SECTION:
            raise PcapngError("not a pcapng file")
        if struct.unpack_from("<I", buffer, 8)[0] != _BYTE_ORDER:
            raise PcapngError("a pcapng file of the other byte order")

    def packets(self) -> Iterator[CapturedPacket]:
        """Every packet; ``interfaces`` is complete before the first one comes.

        ``dropped`` (label -> segments) is complete after the last one.
        """
        frame, buffer, interfaces = 0, self._buffer, self.interfaces
        head, tail = _PACKET_HEAD.unpack_from, _PACKET_FLAGS.unpack_from
        for kind, start, end in self._blocks():
            if kind == _PACKET:
                # Inlined for speed: a run has millions of packets.
                frame += 1
                _, _, number, high, low, captured, length = head(buffer, start)
                code, flags = tail(buffer, end - _PACKET_TAIL.size)
                if number >= len(interfaces) or code != _EPB_FLAGS:
                    raise PcapngError(f"frame {frame}: not written by resetbed")
                first = start + _PACKET_HEAD.size
                data = buffer[first : first + captured]
                outgoing = flags & 3 == _OUTBOUND
                yield CapturedPacket(
                    frame, number, high << 32 | low, outgoing, length, data
                )
            elif kind == _INTERFACE:
                self.interfaces.append(self._interface(start, end))
            elif kind == _STATISTICS:
                self._count(start, end)

    def _blocks(self) -> Iterator[tuple[int, int, int]]:
        """(kind, start, end) of each block, lengths checked."""
        at, size, unpack = 0, len(self._buffer), _HEAD.unpack_from
        while at < size:
            if size - at < 12:
                raise PcapngError(f"cut short at byte {at}")
            kind, total = unpack(self._buffer, at)
            if total < 12 or total % 4 or at + total > size:
                raise PcapngError(f"cut short at byte {at}")
            yield kind, at, at + total
            at += total

    def _interface(self, start: int, end: int) -> CapturedInterface:
        options = self._options(start + 16, end - 4)
        if options.get(_IF_TSRESOL) != bytes([_NANOSECONDS]):
            raise PcapngError("times are not in nanoseconds")
        return CapturedInterface(
            options.get(_IF_NAME, b"").decode(),
            options.get(_IF_DESCRIPTION, b"").decode(),
            options.get(_IF_FILTER, b"\0")[1:].decode(),
        )

    def _count(self, start: int, end: int) -> None:
        number = _STATISTICS_HEAD.unpack_from(self._buffer, start)[2]
        options = self._options(start + 20, end - 4)
        dropped = int.from_bytes(options.get(_ISB_DROPPED, b""), "little")
        self.dropped[self.interfaces[number].label] = dropped

    def _options(self, at: int, end: int) -> dict[int, bytes]:
        options: dict[int, bytes] = {}
        while at < end:
            code, length = struct.unpack_from("<HH", self._buffer, at)
            options[code] = bytes(self._buffer[at + 4 : at + 4 + length])
            at += 4 + length + -length % 4
        return options


@contextmanager
def open_pcapng(path: str) -> Iterator[PcapngReader]:
    """A reader of the file at ``path``. Its packets are valid inside the ``with`` block.

    Raises :class:`OSError`, or :class:`PcapngError` for a file that
    :class:`PcapngWriter` did not write.
    """
    with open(path, "rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:  # an empty file cannot be mapped
            raise PcapngError("not a pcapng file") from None
    yield PcapngReader(memoryview(mapped))


def _option(code: int, value: bytes) -> bytes:
    """One option (section 3.5), padded to 32 bits."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
