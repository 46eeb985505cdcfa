"""What the controller tells the nodes' guards of a reset that was trapped to it.

One datagram of JSON for each reset, to the UNIX socket that the configuration names:
``{"client", "client_port", "vip", "vip_port", "seq", "ack"}``, addresses as text. The
last two are the reset's numbers: by them a guard tells whether its connection is meant.
"""

from __future__ import annotations

import json
import logging
import socket
import struct
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from controller.switches.framework import hub
from topologies.domain.hashing import ETH_TYPE

log = logging.getLogger("resetbed.controller")

_ETHERNET_OCTETS = 14
#: Offset of the addresses in an IP header, and of TCP behind it: the switches trap
#: nothing with options or extension headers, nor does a guard send any.
_ADDRESSES = {4: (12, 4, 20), 6: (8, 16, 40)}
_TCP = struct.Struct("!HHII")


@dataclass(frozen=True)
class TrappedReset:
    """A "not recognised" reset, named by the connection that it is about."""

    client: str
    client_port: int
    vip: str
    vip_port: int
    seq: int
    ack: int

    @classmethod
    def of(cls, frame: bytes) -> TrappedReset:
        """What a trapped reset says: it goes from the virtual address to its client.

        Raises :class:`ValueError` for a frame that is not IP, or is cut off.
        """
        eth_type = int.from_bytes(frame[_ETHERNET_OCTETS - 2 : _ETHERNET_OCTETS], "big")
        version = {number: v for v, number in ETH_TYPE.items()}.get(eth_type)
        if version is None:
            raise ValueError(f"not IP: Ethernet type {eth_type:#06x}")
        start, size, length = _ADDRESSES[version]
        if len(frame) < _ETHERNET_OCTETS + length + _TCP.size:
            raise ValueError(f"cut off: {len(frame)} octets")
        first = _ETHERNET_OCTETS + start
        vip, client = (
            str(ip_address(frame[at : at + size])) for at in (first, first + size)
        )
        numbers = _TCP.unpack_from(frame, _ETHERNET_OCTETS + length)
        vip_port, client_port, seq, ack = numbers
        return cls(client, client_port, vip, vip_port, seq, ack)

    def to_bytes(self) -> bytes:
        """The datagram."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, datagram: bytes) -> TrappedReset:
        """The notice of a datagram. Raises :class:`ValueError`, :class:`TypeError`."""
        return cls(**json.loads(datagram))


class TrapSender:
    """Sends notices in their order, from a thread of its own: it may have to wait."""

    def __init__(self, path: Path) -> None:
        """``path``: the socket of whoever speaks for the guards; not opened yet."""
        self._path = str(path)
        self._waiting: Any = hub.Queue()

    def enqueue(self, frame: bytes) -> None:
        """Tell of that trapped reset; returns at once."""
        self._waiting.put(TrappedReset.of(frame))

    def run(self) -> None:
        """Send what there is to send, for ever."""
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        while True:
            notice = self._waiting.get()
            try:
                sender.sendto(notice.to_bytes(), self._path)
            except OSError as error:
                log.error("the guards were not told of %s: %s", notice, error)
