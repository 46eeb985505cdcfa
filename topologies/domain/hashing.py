"""Open vSwitch's ``symmetric_l4`` hash, bit for bit: it selects a connection's bucket.

``multipath(symmetric_l4, basis, modulo_n, n, 0, dst)`` stores ``hash % n`` (ovs-actions
(7)). The hash is ``flow_hash_symmetric_l4`` of OVS's ``lib/flow.c`` over Bob Jenkins's
lookup3 (``lib/jhash.c``), which OVS keeps unchanged because it is "exposed on the wire".
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address

from topologies.domain.connection import FourTuple

ETH_TYPE = {4: 0x0800, 6: 0x86DD}
IPPROTO_TCP = 6

_MASK = 0xFFFFFFFF
_LOOKUP3_SEED = 0xDEADBEEF
#: ``sizeof fields`` in ``flow_hash_symmetric_l4``: 29 bytes of members, aligned to 4.
_FIELDS_SIZE = 32


def symmetric_l4(
    connection: FourTuple,
    eth_src: str,
    eth_dst: str,
    basis: int = 0,
    protocol: int = IPPROTO_TCP,
) -> int:
    """The 32-bit hash of an untagged TCP segment of ``connection``.

    With another ``protocol``, of such a packet between its addresses; its ports are 0.
    The IP version follows from the addresses. Source and destination can be exchanged,
    at each layer independently. Raises :class:`ValueError` for an invalid address, or
    for addresses of two IP versions.
    """
    version, source = _address(connection.src)
    other_version, destination = _address(connection.dst)
    if version != other_version:
        raise ValueError(f"{connection.src} and {connection.dst}: two IP versions")
    addresses = source ^ destination
    fields = struct.pack(
        "!16sHHH6sB3x",
        addresses.to_bytes(4, "big") if version == 4 else addresses.to_bytes(16, "big"),
        ETH_TYPE[version],
        0,
        connection.sport ^ connection.dport,
        (_mac(eth_src) ^ _mac(eth_dst)).to_bytes(6, "big"),
        protocol,
    )
    return _jhash(fields, basis)


@lru_cache(maxsize=4096)
def _address(text: str) -> tuple[int, int]:
    """IP version and numeric value of an address."""
    address = ip_address(text)
    return address.version, int(address)


@lru_cache(maxsize=4096)
def _mac(text: str) -> int:
    return int(text.replace(":", ""), 16)


def _jhash(data: bytes, basis: int) -> int:
    """``jhash_bytes`` for :data:`_FIELDS_SIZE` bytes: two whole blocks and a remainder.

    The words are in the machine's byte order, as the switch reads them.
    """
    word = struct.unpack("=8I", data)
    a = b = c = (_LOOKUP3_SEED + _FIELDS_SIZE + basis) & _MASK
    for i in (0, 3):
        a, b, c = _mix(a + word[i], b + word[i + 1], c + word[i + 2])
    return _final(a + word[6], b + word[7], c)


def _rotate(word: int, bits: int) -> int:
    word &= _MASK
    return (word << bits | word >> 32 - bits) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    """``jhash_mix``; sums are truncated to 32 bits when they are rotated or returned."""
    a = (a - c) ^ _rotate(c, 4)
    c += b
    b = (b - a) ^ _rotate(a, 6)
    a += c
    c = (c - b) ^ _rotate(b, 8)
    b += a
    a = (a - c) ^ _rotate(c, 16)
    c += b
    b = (b - a) ^ _rotate(a, 19)
    a += c
    c = (c - b) ^ _rotate(b, 4)
    b += a
    return a & _MASK, b & _MASK, c & _MASK


def _final(a: int, b: int, c: int) -> int:
    """``jhash_final``: the hash is the final value of ``c``."""
    c = (c ^ b) - _rotate(b, 14)
    a = (a ^ c) - _rotate(c, 11)
    b = (b ^ a) - _rotate(a, 25)
    c = (c ^ b) - _rotate(b, 16)
    a = (a ^ c) - _rotate(c, 4)
    b = (b ^ a) - _rotate(a, 14)
    c = (c ^ b) - _rotate(b, 24)
    return c & _MASK
