"""Random packets, random knowledge: the kernel's guard does what the table says.

Linux runs the compiled program on each packet (bpf(2), BPF_PROG_TEST_RUN), with real
sockets and real maps. Compared are the action, every byte that leaves, the counters, and
what the guard remembers.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest

from nodes.guard.bare_frame import read_plain
from nodes.guard.scapy_frames import dissect, is_unreadable
from tests.nodes.fuzz import raw_frames
from tests.nodes.fuzz.cases import NODE_MACS, make_case
from tests.nodes.fuzz.fuzz_lab import FuzzProcess
from tests.nodes.fuzz.imagined import imagine
from tests.nodes.fuzz.mutations import MUTATIONS
from tests.nodes.fuzz.oracle import Device

#: How many packets; a nightly run has a million (CONTRIBUTING.md).
PACKETS = int(os.environ.get("RESETBED_PACKETS", "20000"))
#: Packets of one seed, all with the same sockets.
OF_A_SEED = 10_000


@pytest.fixture(scope="module")
def bench() -> Iterator[FuzzProcess]:
    bench = FuzzProcess()
    yield bench
    bench.close()


@pytest.mark.live
@pytest.mark.beside
def test_the_kernels_guard_does_what_the_table_says(bench: FuzzProcess) -> None:
    played = 0
    for seed in range(-(-PACKETS // OF_A_SEED)):
        cases, differences = bench.fuzz(seed, min(OF_A_SEED, PACKETS - played))
        assert differences == [], differences[0]
        played += cases
    assert played == PACKETS


@pytest.mark.live
@pytest.mark.beside
@pytest.mark.parametrize("mutation", [one.name for one in MUTATIONS])
def test_a_guard_with_a_check_less_is_found_out(
    bench: FuzzProcess, mutation: str
) -> None:
    for seed in range(5):
        _, differences = bench.fuzz(seed, OF_A_SEED, mutation)
        if differences:
            return
    raise AssertionError("no packet has shown it")


def test_the_reference_guard_reads_frames_as_the_oracle_does() -> None:
    rng = Random(1)
    peers = imagine(rng)
    devices = [Device(1, raw_frames.packed(NODE_MACS[0]), guarded=True)]
    plain = 0
    for _ in range(2000):
        frame = make_case(rng, peers, devices).frame
        found = read_plain(frame)
        plain += found is not None
        assert found in (None, dissect(frame)), frame.hex()
        segment = raw_frames.read_frame(frame)
        to_vip = segment is None or raw_frames.is_of_vip(segment)
        if to_vip:
            assert dissect(frame) == segment, frame.hex()
        if raw_frames.is_unreadable(frame):
            assert is_unreadable(frame), frame.hex()
    assert plain > 500
