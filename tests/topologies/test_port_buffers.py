"""The receive buffers of a process's packet sockets (needs root)."""

from __future__ import annotations

import os
import socket

import pytest

from topologies.port_buffers import (
    PORT_BUFFER_OCTETS,
    count_dropped,
    enlarge_port_buffers,
)

pytestmark = pytest.mark.live


@pytest.fixture
def port() -> socket.socket:
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)


def test_every_packet_socket_gets_the_buffer_of_a_real_switch(
    port: socket.socket,
) -> None:
    with port, socket.socket() as other:
        before = other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert enlarge_port_buffers(os.getpid()) >= 1
        size = port.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert size == PORT_BUFFER_OCTETS
        assert other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before
        assert count_dropped(os.getpid()) == 0


def test_a_descriptor_that_is_closed_meanwhile_is_left_out(
    port: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open vSwitch opens and closes sockets all the time."""
    real, gone = os.readlink, socket.socket()
    name = str(gone.fileno())

    def closed_after_the_look(path: str) -> str:
        found = real(path)
        if path.endswith(f"/{name}"):
            gone.close()
        return found

    monkeypatch.setattr(os, "readlink", closed_after_the_look)
    with port:
        assert enlarge_port_buffers(os.getpid()) >= 1
    assert gone.fileno() == -1
