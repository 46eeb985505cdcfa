"""The Wireshark dissector, run by tshark(1): on made frames, and on captures of real runs."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from experiments.record.pcapng import PcapngWriter
from tests.experiments.golden_runs import FOLDER, GoldenRun
from tests.needed_programs import need_program
from topologies.domain import plan
from topologies.domain.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
    VIP4,
    VIP6,
    VIP_MAC,
    Client,
    Node,
)

DISSECTOR = Path(__file__).resolve().parents[2] / "wireshark" / "resetbed.lua"
H1, C1N1, C1N2 = Client(1), Node(1, 1), Node(1, 2)
SEQ, ACK = 3_000_000_001, 2_000_000_002


@pytest.fixture(autouse=True)
def need_tshark() -> None:
    """Skips the test without tshark; in continuous integration fails it."""
    need_program("tshark")


def dissected(path: Path) -> list[list[str]]:
    """Interface, kind, and both numbers with their meaning, of every frame."""
    fields = ("frame.interface_name", "resetbed.kind")
    numbers = ("resetbed.seq_means", "resetbed.ack_means")
    command = ["tshark", "-X", f"lua_script:{DISSECTOR}", "-r", str(path), "-Tfields"]
    command += [word for field in (*fields, *numbers) for word in ("-e", field)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Lua" not in done.stderr, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def to_vip(eth_src: str, eth_dst: str, flags: str, version: int = 4) -> Packet:
    addresses = {4: IP(src=H1.ipv4, dst=VIP4), 6: IPv6(src=H1.ipv6, dst=VIP6)}
    segment = TCP(sport=40001, dport=7, seq=SEQ, ack=ACK, flags=flags)
    return Ether(src=eth_src, dst=eth_dst) / addresses[version] / segment


def from_vip(flags: str, version: int = 4) -> Packet:
    addresses = {4: IP(src=VIP4, dst=H1.ipv4), 6: IPv6(src=VIP6, dst=H1.ipv6)}
    segment = TCP(sport=7, dport=40001, seq=SEQ, ack=ACK, flags=flags)
    return Ether(src=C1N1.mac, dst=GATEWAY_MAC) / addresses[version] / segment


#: Interface, frame, kind, and what the two numbers are said to be ("" for nothing).
MADE = [
    ("c1n1", from_vip("R"), "not-recognised reset", "SEG.ACK of the stray", "SEG.SEQ of"),
    ("c1n1", from_vip("R", 6), "not-recognised reset", "SEG.ACK of the", "SEG.SEQ of"),
    ("h1", from_vip("RA"), "reset without fan-out", "the client's RCV.NXT", "what the"),
    ("c1n1", from_vip("A"), "", "", ""),
    ("h1", to_vip(H1.mac, VIP_MAC, "R"), "", "", ""),
    ("c1-up", to_vip(FANOUT_MAC, VIP_MAC, "R"), "tier-1 copy", "what the client", "the"),
    # flood-others: a tier-1 copy's destination is a node's MAC.
    ("fabric-c1", to_vip(FANOUT_MAC, C1N1.mac, "R", 6), "tier-1 copy", "what the", "the"),
    ("c1n2", to_vip(FANOUT_MAC, C1N2.mac, "R"), "tier-2 copy", "what the client", "the"),
    ("c1-n2", to_vip(FANOUT_MAC, C1N2.mac, "R"), "tier-2 copy", "what the client", "the"),
    ("", to_vip(FANOUT_MAC, C1N2.mac, "R"), "tier-2 copy", "what the client", "the"),
    ("", to_vip(FANOUT_MAC, VIP_MAC, "R"), "tier-1 copy", "what the client had", "the"),
    ("c1n1", to_vip(C1N1.mac, RELAY_MAC, "R"), "relay", "must equal the owner's", ""),
    ("c1n2", to_vip(RELAY_MAC, C1N2.mac, "RA"), "relay", "the client's own", "lies"),
    ("c1n1", to_vip(C1N1.mac, SECOND_CHANCE_MAC, "A"), "second chance", "", ""),
    ("c1n1", to_vip(C1N1.mac, "02:00:00:07:00:0e", "A"), "second chance", "", ""),
    ("c1-up", to_vip("02:0e:00:00:00:03", "00:01:00:00:00:00", "A"), "second chance", "", ""),
    ("c1n2", to_vip("02:00:00:07:00:0e", C1N2.mac, "PA", 6), "second chance", "", ""),
    ("h1", Ether(src=H1.mac, dst=VIP_MAC, type=0x88B5) / bytes(50), "", "", ""),
]  # fmt: skip


def test_each_frame_is_named_and_its_numbers_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "made.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file)
        names = {name: writer.add_interface(name, "", 65535, "") for name, *_ in MADE}
        for number, (name, frame, *_) in enumerate(MADE):
            data = bytes(frame)
            writer.packet(names[name], number, data, len(data), outgoing=False)
    for (name, frame, *expected), row in zip(MADE, dissected(path), strict=True):
        [kind, seq, ack] = [*row, "", "", ""][1:4]
        assert kind == expected[0], (name, frame.summary())
        for said, value, begin in ((seq, SEQ, expected[1]), (ack, ACK, expected[2])):
            assert said.startswith(f"{value}: {begin}") if begin else not said


@pytest.mark.parametrize("name", sorted(folder.name for folder in FOLDER.iterdir()))
def test_in_a_runs_capture_as_many_are_named_as_the_run_has_counted(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "capture.pcapng"
    path.write_bytes(
        gzip.decompress((FOLDER / name / "capture.pcapng.gz").read_bytes())
    )
    seen: Counter[tuple[str, str]] = Counter()
    for interface, kind, *_ in dissected(path):
        at = "node" if re.fullmatch(r"c\d+n\d+", interface) else interface[-3:]
        seen[at, kind] += 1
    packets = GoldenRun.load(name).summary(tmp_path)["packets"]
    assert seen["node", "not-recognised reset"] == packets["node_resets"]
    assert seen["-up", "tier-1 copy"] == packets["tier1_copies"]
    assert seen["node", "tier-2 copy"] == packets["tier2_copies"]
    assert seen["node", "tier-1 copy"] == seen["-up", "tier-2 copy"] == 0


@pytest.mark.parametrize("name", ["VIP4", "VIP6", "FANOUT_MAC", "RELAY_MAC"])
def test_the_marks_are_those_of_the_plan(name: str) -> None:
    lua = DISSECTOR.read_text()
    assert re.search(rf'\b{name}\b.* = .*"{re.escape(getattr(plan, name))}"', lua)
