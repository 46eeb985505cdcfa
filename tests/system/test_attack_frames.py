"""Forged frames are what their kinds say; read by code that has not built them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from scapy.compat import raw
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from nodes.guard.segment import Flags, Segment, distance
from tests.nodes.fuzz.raw_frames import is_unreadable, packed, read_frame
from tests.system.attack.forged_segments import KINDS, Attack, Target, exact_reset
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4, VIP6, Plan

VICTIM, ATTACKER = Plan.build().clients
CONNECTIONS = {
    4: FourTuple(VICTIM.ipv4, 20001, VIP4, 7777),
    6: FourTuple(VICTIM.ipv6, 20001, VIP6, 7777),
}
#: Near the end of the sequence numbers, so that they wrap.
RCV_NXT, SND_NXT = 0xFFFFFFF0, 0xFFFFFF00
#: Kinds of which the frame itself is wrong, and kinds that the guard cannot read.
SPOILED = {"wrong checksum", "no TCP header"}
UNREADABLE = {"IP options", "fragment"}
#: Fields that scapy computes where they are missing.
COMPUTED = {"len", "plen", "ihl", "chksum", "cksum"}

both = pytest.mark.parametrize("version", [4, 6])


def attack(seed: int, version: int) -> Attack:
    target = Target(CONNECTIONS[version], RCV_NXT, SND_NXT)
    return Attack(Random(seed), target, VICTIM, ATTACKER)


def frames(name: str, version: int, count: int = 50) -> list[bytes]:
    (kind,) = (one for one in KINDS if one.name == name)
    return [kind.forge(attack(seed, version)) for seed in range(count)]


def segments(name: str, version: int) -> list[Segment]:
    found = [read_frame(frame) for frame in frames(name, version)]
    assert None not in found
    return [one for one in found if one is not None]


@both
@pytest.mark.parametrize("name", [k.name for k in KINDS if k.name not in SPOILED])
def test_lengths_and_checksums_are_right(name: str, version: int) -> None:
    """Or a kind would be dropped for a reason that is not its own."""
    for frame in frames(name, version, 5):
        again = Ether(frame)
        assert (IP if version == 4 else IPv6) in again
        for layer in again.iterpayloads():
            # Neither what an error quotes is whole, nor what is in a fragment.
            if "in ICMP" not in str(layer.name) and name != "fragment":
                for field in COMPUTED & layer.fields.keys():
                    layer.delfieldval(field)
        assert raw(again) == frame


NUMBERS: dict[str, Callable[[Segment], bool]] = {
    "RST, blind": lambda s: s.seq != RCV_NXT,
    "RST, in window": lambda s: 0 < distance(RCV_NXT, s.seq) < 1 << 14,
    "RST, just below": lambda s: -1 << 14 < distance(RCV_NXT, s.seq) < 0,
    "RST|ACK, in window": lambda s: s.ack == SND_NXT and s.seq != RCV_NXT,
    "SYN, exact": lambda s: s.seq == RCV_NXT,
    "data, wrong ACK": lambda s: distance(SND_NXT, s.ack) > 1 << 29,
    "data, out of window": lambda s: distance(RCV_NXT, s.seq) > 1 << 29,
    "FIN, wrong ACK": lambda s: distance(SND_NXT, s.ack) > 1 << 29,
    "mark of a copy": lambda s: s.marked and (s.seq, s.ack) == (SND_NXT, RCV_NXT),
    "mark of a relay": lambda s: s.relayed and (s.seq, s.ack) == (RCV_NXT, SND_NXT),
    "to be probed": lambda s: s.is_request,
    "another client's address": lambda s: s.seq == RCV_NXT,
    "the VIP's address": lambda s: s.seq == SND_NXT and s.src in (VIP4, VIP6),
    "stray ACK": lambda s: s.src in (ATTACKER.ipv4, ATTACKER.ipv6),
}


@both
@pytest.mark.parametrize("name", NUMBERS)
def test_a_kind_has_its_numbers(name: str, version: int) -> None:
    assert all(NUMBERS[name](one) for one in segments(name, version))


@both
def test_no_plain_reset_from_next_door_is_exact(version: int) -> None:
    """Neither now, nor after any even number of octets."""
    for kind in KINDS:
        if kind.next_door and kind.name.startswith("RST") and "blind" not in kind.name:
            for one in segments(kind.name, version):
                assert distance(RCV_NXT, one.seq) % 2 == 1


@both
@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_some_kinds_no_guard_reads(name: str, version: int) -> None:
    assert all(map(is_unreadable, frames(name, version)))


@both
def test_who_sends_what(version: int) -> None:
    """Next door has the victim's MAC or a mark; the attacker never sends the victim's own
    frames, unless with its MAC as well."""
    own = packed(VICTIM.mac)
    plain = [one for one in KINDS if one.next_door and not one.name.startswith("mark")]
    assert all(
        kind.forge(attack(seed, version))[6:12] == own
        for kind in plain
        for seed in range(5)
    )


@both
def test_the_exact_reset_is_exact(version: int) -> None:
    reset = read_frame(exact_reset(attack(1, version)))
    assert reset is not None
    assert (reset.seq, reset.flags) == (RCV_NXT, Flags.RST)
