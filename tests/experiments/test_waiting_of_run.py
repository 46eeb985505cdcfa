"""From a capture file to the summary: how long unmoved connections waited in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from experiments.analysis.analysis import analyse, timeline_of
from experiments.analysis.observations import ACK, PSH
from experiments.display.render import FIGURES, comparison, figure
from experiments.record.capture_points import capture_points
from experiments.record.event_record import EventRecord
from experiments.record.pcapng import PcapngWriter
from experiments.record.run_record import RunRecord, Snapshots
from experiments.results.summary import summarise
from experiments.spec.run_spec import RunSpec
from experiments.sweep.figures import FIGURES as COMPARED
from experiments.sweep.figures import LOWER
from nodes.clients.client_report import ClientReport
from tests.experiments.packet_path import CLIENT, MS, START, PacketPath
from tests.experiments.scale_out import EVENT, PORT, SETTLED
from tests.system.documented_keys import DOCUMENT, undocumented
from topologies.datapaths import Datapath
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4

END = 2000 * MS
CLIENT_PORT = "fabric-h1"
SPEC = RunSpec.model_validate(
    {"events": [{"kind": "drain-node", "target": "c1n2"}], "cluster": {"clients": 1}}
)
OLD, NEW = SPEC.states()


def unmoved() -> FourTuple:
    """A connection whose owner stays."""
    ours = (FourTuple(CLIENT.ipv4, port, VIP4, PORT) for port in range(20001, 20999))
    return next(c for c in ours if owner(OLD, c) == owner(NEW, c))


def owner(state: Any, connection: FourTuple) -> str:
    """The node that has it."""
    (found,) = [
        epoch.owner_of(connection)
        for epoch in timeline_of(record(state, None, Path())).epochs
    ]
    assert found is not None
    return found


def record(state: Any, capture: Path | None, sockets: Path, *events: Any) -> RunRecord:
    """A run of which only capture and sockets are examined."""
    return RunRecord(
        initial=OLD if events else state,
        final=state,
        events=events,
        snapshots=Snapshots((START + 100 * MS) / 1e9, (START + END) / 1e9),
        packets={"tier1_copies": 0, "tier2_copies": 0},
        reports={"h1": ClientReport((), None)},
        instruments={"probes": {"lost": 0, "clock_step_ns": 0}},
        capture_file=capture,
        sockets_file=sockets,
        cluster={},
        datapath=Datapath("userspace", "auto", "because"),
    )


def say(path: PacketPath, connection: FourTuple, asked: int, answered: int) -> None:
    """The first request of a connection and its answer, as its client's port sees them."""
    syn = next(one for one in path.segments if one.label == CLIENT_PORT)
    ends = (connection.dst, connection.dport, connection.src, connection.sport)
    seq, back = syn.seq + 1, syn.seq + 8
    path.see(CLIENT_PORT, False, connection, PSH | ACK, seq, back, asked, payload=64)
    last = path.segments[-1]
    answer = last._replace(outgoing=True, time_ns=START + answered, ack=seq + 64)
    src, sport, dst, dport = ends
    path.segments.append(
        answer._replace(src=src, sport=sport, dst=dst, dport=dport, seq=back)
    )


def write_capture(file: Path, path: PacketPath) -> None:
    """The path's segments as a capture file has them."""
    with file.open("wb") as stream:
        writer = PcapngWriter(stream)
        numbers = {
            point.label: writer.add_interface(point.label, point.kind)
            for point in capture_points(OLD.plan)
        }
        for one in path.observations():
            tcp = TCP(
                sport=one.sport,
                dport=one.dport,
                flags=one.flags,
                seq=one.seq,
                ack=one.ack,
            )
            packet = (
                Ether(src=one.eth_src, dst=one.eth_dst)
                / IP(src=one.src, dst=one.dst)
                / tcp
                / bytes(one.payload)
            )
            data = bytes(packet)
            number = numbers[one.label]
            writer.packet(number, one.time_ns, data[:96], len(data), one.outgoing)


def summary_of(tmp_path: Path, *, capture: bool = True) -> dict[str, Any]:
    """Of a run with one unmoved connection, which asked once, 250 ms for the answer."""
    connection, path = unmoved(), PacketPath(OLD.plan)
    path.open(connection, owner(OLD, connection), 0)
    say(path, connection, EVENT + 50 * MS, EVENT + 300 * MS)
    file, sockets = tmp_path / "capture.pcapng", tmp_path / "sockets.jsonl"
    write_capture(file, path)
    sockets.write_text("".join(event.to_line() for event in path.socket_events()))
    requested_s, settled_s = (START + EVENT) / 1e9, (START + SETTLED) / 1e9
    times = (requested_s, requested_s, settled_s)
    event = EventRecord("drain-node", "c1n2", *times, OLD, NEW)
    found = record(NEW, file if capture else None, sockets, event)
    return summarise(SPEC, found, analyse(found), tmp_path)


NONE = {"p50": None, "p99": None, "max": None}
EXPECTED = {"before": NONE, "after": dict.fromkeys(NONE, 250.0), "still_waiting": 0}


def test_the_summary_has_the_waits(tmp_path: Path) -> None:
    summary = summary_of(tmp_path)
    assert summary["waiting_unmoved_ms"] == EXPECTED
    assert undocumented({"waiting_unmoved_ms": EXPECTED}, DOCUMENT.read_text()) == []


def test_without_a_capture_the_waits_are_null_and_the_document_explains_it(
    tmp_path: Path,
) -> None:
    summary = summary_of(tmp_path, capture=False)
    assert "waiting_unmoved_ms" in summary
    assert summary["waiting_unmoved_ms"] is None
    line = next(row for row in DOCUMENT.read_text().splitlines() if "waiting_un" in row)
    assert "capture: false" in line


def test_the_terminal_output_compares_with_the_waits_before(tmp_path: Path) -> None:
    keys = [key for _, key in FIGURES if key.startswith("waiting_unmoved_ms.")]
    assert {"before.max", "after.max"} <= {key.partition(".")[2] for key in keys}
    summary = summary_of(tmp_path)
    assert figure(summary, "waiting_unmoved_ms.after.max") == "250 ms"
    assert figure(summary, "waiting_unmoved_ms.before.max") == "–"
    nothing = summary_of(tmp_path, capture=False)
    assert figure(nothing, "waiting_unmoved_ms.after.max") == "–"
    assert comparison([summary, nothing]).row_count >= len(keys)


@pytest.mark.parametrize("share", ["p50", "p99", "max"])
def test_a_sweep_compares_the_waits_and_less_is_better(share: str) -> None:
    (found,) = [one for one in COMPARED if one.name == f"waiting_{share}"]
    assert (found.better, found.unit) == (LOWER, "ms")
    assert found.of({"waiting_unmoved_ms": EXPECTED}) == 250.0
    assert found.of({"waiting_unmoved_ms": None}) is None
