"""Capture files are read back, by us and by other programs."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap

from experiments.record.pcapng import (
    CapturedInterface,
    PcapngError,
    PcapngReader,
    PcapngWriter,
    open_pcapng,
)

FRAME = bytes(Ether() / IP(src="10.0.0.1", dst="10.1.0.1") / TCP(flags="R"))
EPOCH_NS = 1_795_378_416_617_700_123

packets = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 2**63),
        st.binary(max_size=200),
        st.integers(0, 2**32 - 1),
        st.booleans(),
    )
)


@given(packets)
def test_round_trip(written: list[tuple[int, int, bytes, int, bool]]) -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.add_interface("c1n1", "node", 128, "strays")
    writer.add_interface("fabric-c1")
    for packet in written:
        writer.packet(*packet)
    writer.statistics(1, 5, 2**40, received=7, dropped=3)

    reader = PcapngReader(memoryview(stream.getvalue()))
    read = list(reader.packets())

    assert [
        (p.interface, p.time_ns, bytes(p.data), p.length, p.outgoing) for p in read
    ] == written
    assert [p.frame for p in read] == list(range(1, len(written) + 1))
    assert reader.interfaces == [
        CapturedInterface("c1n1", "node", "strays"),
        CapturedInterface("fabric-c1", "", ""),
    ]
    assert reader.dropped == {"fabric-c1": 3}


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "run.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file)
        writer.add_interface("c1n1", "node", 128, "full")
        writer.packet(0, EPOCH_NS, FRAME, len(FRAME), outgoing=False)
        writer.packet(0, EPOCH_NS + 1, FRAME, len(FRAME), outgoing=True)
        writer.statistics(0, EPOCH_NS, EPOCH_NS, 2, 0)
    return path


def test_scapy_reads_it(capture: Path) -> None:
    read = rdpcap(str(capture))
    assert [bytes(packet) for packet in read] == [FRAME, FRAME]
    assert [packet.sniffed_on for packet in read] == ["c1n1", "c1n1"]
    assert [packet.direction for packet in read] == [1, 2]
    assert int(read[0].time) == EPOCH_NS // 10**9


def test_tcpdump_reads_it(capture: Path) -> None:
    done = subprocess.run(
        ["tcpdump", "-nn", "-tt", "--nano", "-r", str(capture)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "1795378416.617700123",
        "1795378416.617700124",
    ]
    assert "Flags [R]" in done.stdout


@pytest.mark.parametrize("size", [0, 3, 40, -1])
def test_a_file_cut_short_is_refused(capture: Path, size: int) -> None:
    data = capture.read_bytes()
    capture.write_bytes(data[:size] if size >= 0 else data[:-4])
    with pytest.raises(PcapngError), open_pcapng(str(capture)) as reader:
        list(reader.packets())


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pcap"
    path.write_bytes(b"\xd4\xc3\xb2\xa1" + bytes(40))
    with pytest.raises(PcapngError, match="not a pcapng file"), open_pcapng(str(path)):
        pass
