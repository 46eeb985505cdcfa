"""The switches' hash of many connections at once: ``symmetric_l4`` over arrays.

The same 32 bits as :func:`topologies.domain.hashing.symmetric_l4`, for the addresses of
the plan. What depends on the client alone is mixed once for each client. The rest is some
forty operations on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

import numpy as np
import numpy.typing as npt

from topologies.domain.hashing import ETH_TYPE, IPPROTO_TCP
from topologies.domain.plan import VIP_MAC, Client, client_address, vip

Words = npt.NDArray[np.uint32]

#: ``JHASH_INITVAL`` of lookup3, and ``sizeof fields`` in ``flow_hash_symmetric_l4``.
_SEED, _SIZE = 0xDEADBEEF, 32
#: Client ``i`` has the address 10.1.0.0 + i: the plan's scheme, continued.
MAX_CLIENTS = (1 << 16) - 1


class Addresses:
    """The addresses of clients 1 to ``clients`` as the hash's words.

    Raises :class:`ValueError` for more than :data:`MAX_CLIENTS`.
    """

    def __init__(self, clients: int, ip: int, port: int) -> None:
        if not 1 <= clients <= MAX_CLIENTS:
            raise ValueError(f"clients: {clients} is not from 1 to {MAX_CLIENTS}")
        self.clients = clients
        first = Client(1)
        base = int(ip_address(client_address(first, ip))) - 1
        numbers = range(1, clients + 1)
        length = 4 if ip == 4 else 16
        vip_number = int(ip_address(vip(ip)))
        addresses = b"".join(
            ((base + i) ^ vip_number).to_bytes(length, "big").ljust(16, b"\0")
            for i in numbers
        )
        self._words = np.frombuffer(addresses, "<u4").reshape(clients, 4)
        mac = int(first.mac.replace(":", ""), 16) - 1
        vip_mac = int(VIP_MAC.replace(":", ""), 16)
        macs = b"".join(((mac + i) ^ vip_mac).to_bytes(6, "big") for i in numbers)
        octets = np.frombuffer(macs, np.uint8).reshape(clients, 6)
        self._mac_high = np.ascontiguousarray(octets[:, :2]).view("<u2").ravel()
        self._mac_low = np.ascontiguousarray(octets[:, 2:]).view("<u4").ravel()
        ether_type = ETH_TYPE[ip].to_bytes(2, "big") + b"\0\0"
        self._ether_type = np.uint32(int.from_bytes(ether_type, "little"))
        self._port = port
        self._mixed: dict[int, tuple[Words, Words, Words, Words]] = {}

    def hashes(
        self, clients: npt.NDArray[np.uint16], ports: npt.NDArray[np.uint16], basis: int
    ) -> Words:
        """The hash of each connection; ``clients``: their numbers less one."""
        a, b, c, high = (table[clients] for table in self._first_block(basis))
        swapped = (ports ^ np.uint16(self._port)).byteswap()
        c += high + swapped
        a, b, c = _mix(a, b, c)
        a += self._mac_low[clients]
        b += np.uint32(IPPROTO_TCP)
        return _final(a, b, c)

    def _first_block(self, basis: int) -> tuple[Words, Words, Words, Words]:
        """Of each client: the state after the first block, the second block's words
        added to it as far as the client determines them; and the MAC's first octets."""
        if basis not in self._mixed:
            start = np.uint32((_SEED + _SIZE + basis) & 0xFFFFFFFF)
            a, b, c = (start + self._words[:, i] for i in range(3))
            a, b, c = _mix(a, b, c)
            a += self._words[:, 3]
            b += self._ether_type
            high = self._mac_high.astype(np.uint32) << np.uint32(16)
            self._mixed[basis] = a, b, c, high
        return self._mixed[basis]


@dataclass
class Hashes:
    """The hashes of some connections, each basis computed once."""

    addresses: Addresses
    clients: npt.NDArray[np.uint16]
    ports: npt.NDArray[np.uint16]
    _known: dict[int, Words] = field(default_factory=dict)

    def of(self, basis: int) -> Words:
        """All of them with that basis."""
        if basis not in self._known:
            found = self.addresses.hashes(self.clients, self.ports, basis)
            self._known[basis] = found
        return self._known[basis]

    def each(
        self, index: npt.NDArray[np.intp] | None, bases: npt.NDArray[np.int32]
    ) -> Words:
        """Those at ``index`` (None: all), each with its own basis."""
        if not len(bases) or (bases == bases[0]).all():
            found = self.of(int(bases[0]) if len(bases) else 0)
            return found if index is None else found[index]
        distinct: Sequence[int] = np.unique(bases).tolist()
        hashes = np.empty(len(bases), np.uint32)
        for basis in distinct:
            chosen = bases == basis
            places = chosen.nonzero()[0] if index is None else index[chosen]
            hashes[chosen] = self.of(basis)[places]
        return hashes


def _rotate(word: Words, bits: int) -> Words:
    return (word << np.uint32(bits)) | (word >> np.uint32(32 - bits))


def _mix(a: Words, b: Words, c: Words) -> tuple[Words, Words, Words]:
    """``jhash_mix``; the arrays are overwritten."""
    for left, right in ((4, 6), (8, 16), (19, 4)):
        a -= c
        a ^= _rotate(c, left)
        c += b
        b -= a
        b ^= _rotate(a, right)
        a += c
        a, b, c = c, a, b
    return a, b, c


def _final(a: Words, b: Words, c: Words) -> Words:
    """``jhash_final``; the arrays are overwritten."""
    for left, right, bits in (
        (c, b, 14),
        (a, c, 11),
        (b, a, 25),
        (c, b, 16),
        (a, c, 4),
        (b, a, 14),
        (c, b, 24),
    ):
        np.bitwise_xor(left, right, out=left)
        np.subtract(left, _rotate(right, bits), out=left)
    return c
