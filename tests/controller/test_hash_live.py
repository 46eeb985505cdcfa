"""Our copy of Open vSwitch's hash against the switch itself, on thousands of tuples."""

from __future__ import annotations

import json
import random
import re
import socket
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.controller.switches import VSwitch
from topologies.domain.connection import FourTuple
from topologies.domain.hashing import IPPROTO_TCP, symmetric_l4

pytestmark = [pytest.mark.live, pytest.mark.beside]

#: Two remainders determine nearly all of 32 bits: modulo 65536 and 65521 (a prime).
MODULI = (65536, 65521)
BASES = (0, 1, 2, 0xFFFF)
TUPLES = 500


def mac(rng: random.Random) -> str:
    """Any unicast MAC."""
    octets = [rng.randrange(256) & 0xFE, *(rng.randrange(256) for _ in range(5))]
    return ":".join(f"{octet:02x}" for octet in octets)


def four_tuple(rng: random.Random, version: int) -> FourTuple:
    """Any TCP connection of that IP version."""
    bits, kind = {4: (32, IPv4Address), 6: (128, IPv6Address)}[version]
    ends = [str(kind(rng.getrandbits(bits))) for _ in range(2)]
    ports = [rng.randrange(1, 65536) for _ in range(2)]
    return FourTuple(ends[0], ports[0], ends[1], ports[1])


def remainders_of_the_switch(switch: VSwitch, flow: str) -> tuple[int, ...]:
    """``reg0`` and ``reg1`` that the switch computes for a flow."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(switch.control_socket)
        params = ["br", flow]
        request = {"id": 0, "method": "ofproto/trace", "params": params}
        stream.sendall(json.dumps(request).encode())
        reply = b""
        while not reply.endswith(b"}"):
            reply += stream.recv(65536)
    text = json.loads(reply)["result"]
    [final] = re.findall(r"^Final flow: (.*)$", text, re.MULTILINE)
    registers = dict(re.findall(r"(reg[01])=(0x[0-9a-f]+)", final))
    return tuple(int(registers.get(name, "0"), 16) for name in ("reg0", "reg1"))


def names_of(version: int, protocol: int) -> tuple[str, str]:
    """ovs-fields(7)'s names of that protocol, and of its addresses."""
    addresses = {4: "nw", 6: "ipv6"}[version]
    if protocol == IPPROTO_TCP:
        return {4: "tcp", 6: "tcp6"}[version], addresses
    return {4: "icmp", 6: "icmp6"}[version], addresses


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize(
    ("version", "protocol"),
    [(4, IPPROTO_TCP), (6, IPPROTO_TCP), (4, 1), (6, 58)],
    ids=["ipv4", "ipv6", "icmp", "icmpv6"],
)
def test_the_switch_hashes_as_we_do(
    switch: VSwitch, version: int, protocol: int, basis: int
) -> None:
    switch.add_bridge("br", 1, [], "dummy")
    actions = ",".join(
        f"multipath(symmetric_l4,{basis},modulo_n,{modulus},0,reg{i}[0..15])"
        for i, modulus in enumerate(MODULI)
    )
    switch.ofctl("add-flow", "br", f"actions={actions}")
    rng = random.Random(f"{version}/{basis}")
    for _ in range(TUPLES):
        connection, eth_src, eth_dst = four_tuple(rng, version), mac(rng), mac(rng)
        name, addresses = names_of(version, protocol)
        flow = (
            f"{name},dl_src={eth_src},dl_dst={eth_dst},"
            f"{addresses}_src={connection.src},{addresses}_dst={connection.dst}"
        )
        if protocol == IPPROTO_TCP:
            flow += f",tp_src={connection.sport},tp_dst={connection.dport}"
        else:
            connection = connection._replace(sport=0, dport=0)
        ours = symmetric_l4(connection, eth_src, eth_dst, basis, protocol)
        expected = tuple(ours % modulus for modulus in MODULI)
        assert remainders_of_the_switch(switch, flow) == expected, flow
