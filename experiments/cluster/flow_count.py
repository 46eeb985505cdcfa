"""How many packets a switch's flows have matched, asked over OpenFlow 1.4.

ovs-ofctl(8) says the same, as a process of its own for each switch and question: 15 ms of a
core. This is three messages of a few dozen bytes (Open vSwitch takes connections at its
bridge's ``.mgmt`` socket). Structures: OpenFlow Switch Specification 1.4.0, 7.3.5.3, A.2.3.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from experiments.cluster.errors import ClusterError
from topologies.switches import OVS_DIRECTORY

_VERSION = 5
_HELLO, _ERROR, _MULTIPART_REQUEST, _MULTIPART_REPLY = 0, 1, 18, 19
_AGGREGATE = 2
_ALL_TABLES, _ANY = 0xFF, 0xFFFFFFFF
_HEADER = struct.Struct("!BBHI")
#: ofp_multipart_request, ofp_aggregate_stats_request without its match.
_MULTIPART = struct.Struct("!HH4x")
_REQUEST = struct.Struct("!B3xII4xQQ")
#: ofp_match of one field, of six bytes: type OXM, length, the field's header, padding.
_MATCH = struct.Struct("!HHI6s2x")
_MATCH_OXM, _MATCH_BYTES = 1, 14
#: OXM_OF_ETH_SRC: class, field 4, six bytes.
_ETH_SRC = 0x80000806
_XID = 1


def count_packets(switch: str, eth_src: str, timeout_s: float) -> int:
    """Packets that matched flows, of any table, that ask for that Ethernet source.

    The counters begin at 0 when a switch is started again. Raises
    :class:`~experiments.cluster.errors.ClusterError` if it does not answer.
    """
    path = f"{OVS_DIRECTORY}/{switch}/{switch}.mgmt"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(timeout_s)
            stream.connect(path)
            stream.sendall(hello() + aggregate_request(eth_src))
            for kind, body in _messages(stream):
                if kind == _ERROR:
                    raise ClusterError(f"switch {switch} refused: {body.hex()}")
                if kind == _MULTIPART_REPLY:
                    return packets_of(body)
    except (OSError, struct.error) as error:
        raise ClusterError(f"switch {switch} did not answer: {error}") from error
    raise ClusterError(f"switch {switch} closed the connection")


def hello() -> bytes:
    """The first message of a connection."""
    return _HEADER.pack(_VERSION, _HELLO, _HEADER.size, _XID)


def aggregate_request(eth_src: str) -> bytes:
    """Asks for the sums of all flows whose match has that Ethernet source."""
    mac = bytes.fromhex(eth_src.replace(":", ""))
    body = (
        _MULTIPART.pack(_AGGREGATE, 0)
        + _REQUEST.pack(_ALL_TABLES, _ANY, _ANY, 0, 0)
        + _MATCH.pack(_MATCH_OXM, _MATCH_BYTES, _ETH_SRC, mac)
    )
    size = _HEADER.size + len(body)
    return _HEADER.pack(_VERSION, _MULTIPART_REQUEST, size, _XID) + body


def packets_of(body: bytes) -> int:
    """The number of packets in the body of a multipart reply."""
    packets: int
    (packets,) = struct.unpack_from("!Q", body, _MULTIPART.size)
    return packets


def _messages(stream: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each message that comes."""
    with stream.makefile("rb") as messages:
        while header := messages.read(_HEADER.size):
            _, kind, size, _ = _HEADER.unpack(header)
            yield kind, messages.read(size - _HEADER.size)
