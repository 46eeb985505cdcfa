"""Events of a spec that change links: measured, and between membership events.

The bounds follow from how the kernel works (tc-tbf(8), tc-netem(8)): a bucket never passes
more than its rate, and no frame is early.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.observations import read_observations
from tests.system.commands import measured, must
from topologies.shaping import burst_octets

pytestmark = pytest.mark.live

RATE_MBIT, DELAY_MS = 1.0, 60.0
#: Twice what the rate lets pass is only sent without a limit.
TWICE = 2.0


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """The summary of one run that had to be as expected."""
    must(measured(folder, *arguments))
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def bits_from_h1(folder: Path, begin_s: float, end_s: float) -> int:
    """Data that the client h1 sent in that time, as it reached the fabric."""
    return 8 * sum(
        seen.payload
        for seen in read_observations(str(folder / "capture.pcapng"))
        if seen.label == "fabric-h1"
        and not seen.outgoing
        and begin_s <= seen.time_ns / 1e9 <= end_s
    )


def may_pass(seconds: float) -> float:
    """Bits that a link of that rate lets pass in that time, at most."""
    return RATE_MBIT * 1e6 * seconds + burst_octets(RATE_MBIT) * 8


def test_a_rate_holds_from_its_event_until_the_link_recovers(tmp_path: Path) -> None:
    """Large writes want more than the rate at any time. A node leaves meanwhile."""
    spec = tmp_path / "worse.yaml"
    spec.write_text(f"""
workload: {{kind: nbd, pattern: large, connections: 24}}
cluster: {{clients: 1}}
events:
  - {{at: 0, kind: link, target: h1, rate_mbit: {RATE_MBIT}}}
  - {{at: 0.7, kind: drain-node, target: c1n2}}
  - {{at: 0.7, kind: link, target: c1n2, rate_mbit: 100}}
  - {{at: 1.5, kind: link, target: h1}}
""")
    summary = run(tmp_path / "run", str(spec))
    worse, drain, beside, better = summary["events"]
    assert (worse["rate_mbit"], beside["rate_mbit"]) == (RATE_MBIT, 100)
    assert (better["rate_mbit"], better["delay_ms"]) == (None, None)
    assert "rate_mbit" not in drain
    assert drain["requested_s"] == beside["requested_s"]  # one instant
    seen = summary["observation"]
    spans = (
        (seen["steady_s"], worse["requested_s"]),
        (worse["applied_s"], better["requested_s"]),
        (better["applied_s"], seen["end_s"]),
    )
    before, during, after = (bits_from_h1(tmp_path / "run", *span) for span in spans)
    allowed = [may_pass(end - begin) for begin, end in spans]
    assert 0 < during <= allowed[1]
    assert before > TWICE * allowed[0]
    assert after > TWICE * allowed[2]
    assert [one["connections_moved"] for one in summary["balance"]["changes"]] == [
        0,
        summary["connections"]["moved"],
        0,
    ]
    assert summary["connections"]["reset"] == summary["connections"]["moved"] > 0


@pytest.mark.kernel
@pytest.mark.stock("sch_netem")
def test_resets_of_a_slow_node_are_late_until_its_link_recovers(tmp_path: Path) -> None:
    """The shipped scenario. What c1n1 answers at the first drain waits in its queue. With
    this seed each drain moves at least three connections to it that were open all along."""
    few = "workload={kind: echo, connections: 24, interval_ms: 150}"
    slow = f"events.0.delay_ms={DELAY_MS}"
    words = [word for item in (few, slow, "seed=2") for word in ("--set", item)]
    summary = run(tmp_path / "run", "link-degrades", *words)
    worse, first, better, second = summary["events"]
    assert (worse["delay_ms"], worse["loss_percent"]) == (DELAY_MS, 1)
    late = [*latencies_ms(tmp_path / "run", first, better)]
    assert min(late) >= DELAY_MS
    assert min(latencies_ms(tmp_path / "run", second, None)) < DELAY_MS
    assert summary["connections"]["hung"] == summary["half_open"]["at_end"] == 0


def latencies_ms(
    folder: Path, begin: dict[str, Any], end: dict[str, Any] | None
) -> Iterator[float]:
    """Reset latencies of connections that moved to c1n1 between these events."""
    until = end["requested_s"] if end else float("inf")
    for line in (folder / "connections.jsonl").read_text().splitlines():
        row = json.loads(line)
        answered = row["first_stray_at"] == "c1n1" and row["reset_s"] is not None
        if answered and begin["requested_s"] <= row["first_stray_s"] < until:
            yield row["reset_latency_ms"]
