"""The message from the controller to the nodes' guards about a trapped reset.

One datagram of JSON for each reset, to the UNIX socket in the configuration:
``{"client", "client_port", "vip", "vip_port", "seq", "ack"}``, addresses as text. ``seq``
and ``ack`` are the reset's numbers: a guard checks them against its connection.
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
#: By IP version: offset and size of the addresses in the IP header, and its length.
#: Options and extension headers do not occur: guards send none, switches trap none.
_ADDRESSES = {4: (12, 4, 20), 6: (8, 16, 40)}
_TCP = struct.Struct("!HHII")


@dataclass(frozen=True)
class TrappedReset:
    """A "not recognised" reset: its connection and its sequence numbers."""

    client: str
    client_port: int
    vip: str
    vip_port: int
    seq: int
    ack: int

    @classmethod
    def of(cls, frame: bytes) -> TrappedReset:
        """Parse a trapped reset, which goes from the virtual address to a client.

        Raises :class:`ValueError` for a frame that is not IP, or is truncated.
        """
        eth_type = int.from_bytes(frame[_ETHERNET_OCTETS - 2 : _ETHERNET_OCTETS], "big")
        version = {number: v for v, number in ETH_TYPE.items()}.get(eth_type)
        if version is None:
            raise ValueError(f"not IP: Ethernet type {eth_type:#06x}")
        start, size, length = _ADDRESSES[version]
        if len(frame) < _ETHERNET_OCTETS + length + _TCP.size:
            raise ValueError(f"truncated: {len(frame)} octets")
        first = _ETHERNET_OCTETS + start
        vip, client = (
            str(ip_address(frame[at : at + size])) for at in (first, first + size)
        )
        numbers = _TCP.unpack_from(frame, _ETHERNET_OCTETS + length)
        vip_port, client_port, seq, ack = numbers
        return cls(client, client_port, vip, vip_port, seq, ack)

    def to_bytes(self) -> bytes:
        """The datagram's content."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, datagram: bytes) -> TrappedReset:
        """Parse a datagram. Raises :class:`ValueError`, :class:`TypeError`."""
        return cls(**json.loads(datagram))


class TrapSender:
    """Sends trapped resets in order, from its own thread, because sending may block."""

    def __init__(self, path: Path) -> None:
        """``path``: the receiver's socket. It is not opened yet."""
        self._path = str(path)
        self._waiting: Any = hub.Queue()

    def enqueue(self, frame: bytes) -> None:
        """Queue that trapped reset; does not block."""
        self._waiting.put(TrappedReset.of(frame))

    def run(self) -> None:
        """Send queued resets until the process ends."""
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        while True:
            reset = self._waiting.get()
            try:
                sender.sendto(reset.to_bytes(), self._path)
            except OSError as error:
                log.error("%s was not delivered to the guards: %s", reset, error)
