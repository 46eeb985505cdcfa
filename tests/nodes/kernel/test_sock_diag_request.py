"""The messages to sock_diag(7), read with the kernel's offsets (linux/inet_diag.h)."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.kernel.sock_diag import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG,
    MessageType,
    request,
)
from topologies.domain.connection import FourTuple

ports = st.integers(0, 65535)
pairs = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
#: struct nlmsghdr and the first fields of struct inet_diag_req_v2, before the socket's id.
_ID = 16 + 8


@given(pairs, ports, ports)
def test_the_socket_is_the_nodes_end_of_the_connection(
    addresses: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...],
    sport: int,
    dport: int,
) -> None:
    client, vip = addresses
    connection = FourTuple(str(client), sport, str(vip), dport)
    message = request(MessageType.LOOK_UP, connection)
    assert struct.unpack_from("!HH", message, _ID) == (dport, sport)
    size = len(vip.packed)
    assert message[_ID + 4 :][:16] == vip.packed + bytes(16 - size)
    assert message[_ID + 20 :][:16] == client.packed + bytes(16 - size)
    family = socket.AF_INET if vip.version == 4 else socket.AF_INET6
    assert tuple(message[16:18]) == (family, socket.IPPROTO_TCP)


@pytest.mark.parametrize("kind", MessageType)
def test_the_header_says_what_is_asked_and_how_long_it_is(kind: MessageType) -> None:
    connection = FourTuple("10.1.0.1", 20001, "10.0.0.1", 10809)
    message = request(kind, connection, NLM_F_REQUEST | NLM_F_ACK)
    length, said, flags, _sequence, _port = NLMSG.unpack_from(message)
    assert (length, said, flags) == (len(message), kind, 5)
    assert len(message) == 16 + 56, "sizeof(struct inet_diag_req_v2) is 56"


def test_sockets_of_every_state_are_meant_and_of_any_cookie() -> None:
    message = request(MessageType.DESTROY, FourTuple("::1", 1, "::2", 2))
    assert message[20:24] == b"\xff" * 4
    assert message[-8:] == b"\xff" * 8
