"""A trapped reset is sent to the guards, under either framework."""

from __future__ import annotations

import socket

import pytest
from scapy.packet import Packet

from controller.service.trapped_resets import TrappedReset
from tests.controller.clusters import H1, PLAN, state
from tests.controller.controllers import ControllerProcess
from tests.controller.dummy_ports import received, segment, send
from tests.controller.frames import connection
from tests.controller.switches import VSwitch
from topologies.domain.connection import FourTuple
from topologies.domain.plan import GATEWAY_MAC

C1N1 = next(iter(PLAN.nodes))

both_versions = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


def packet(version: int, sport: int = 40001) -> Packet:
    """A "not recognised" reset as c1n1 sends it to h1."""
    one = connection(H1, sport, version)
    back = FourTuple(one.dst, one.dport, one.src, one.sport)
    return segment(back, C1N1.mac, GATEWAY_MAC, "R", seq=0xFEEDBEEF)


def reset(version: int, sport: int = 40001) -> bytes:
    """The same as octets."""
    return bytes(packet(version, sport))


@both_versions
def test_a_trapped_reset_has_connection_and_numbers(version: int) -> None:
    one = connection(H1, 40001, version)
    trapped = TrappedReset.of(reset(version))
    assert trapped == TrappedReset(one.src, 40001, one.dst, one.dport, 0xFEEDBEEF, 0)
    assert TrappedReset.from_bytes(trapped.to_bytes()) == trapped


@both_versions
def test_an_invalid_frame_is_refused(version: int) -> None:
    with pytest.raises(ValueError, match="truncated: 40 octets"):
        TrappedReset.of(reset(version)[:40])
    with pytest.raises(ValueError, match="0x0806"):
        TrappedReset.of(reset(version)[:12] + b"\x08\x06" + bytes(50))


@pytest.mark.live
def test_each_reset_is_sent_once_to_the_guards_and_to_its_client(
    controller: ControllerProcess, cluster: VSwitch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as guards:
        guards.bind(str(controller.guards))
        guards.settimeout(10)
        controller.serve(state(policy="out-of-band"))
        ones = [(version, port) for version in (4, 6) for port in (40001, 40002)]
        for one in ones:
            send(cluster, "c1n1", packet(*one))
        sent = [reset(*one) for one in ones]
        told = [TrappedReset.from_bytes(guards.recv(1024)) for _ in sent]
        assert sorted(map(repr, told)) == sorted(repr(TrappedReset.of(f)) for f in sent)
        assert len(received(cluster, "h1")) == len(sent)
        guards.settimeout(0.2)
        with pytest.raises(TimeoutError):
            guards.recv(1024)
