"""Bulk throughput of one connection and of sixteen, through both tiers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from experiments.bench.basis.bench_network import Network, start_local, start_on_host
from experiments.bench.basis.figure import (
    Bound,
    Figure,
    Found,
    Line,
    Results,
    Setting,
    line_with_reference,
    settings_of_kinds,
    values_of,
)
from experiments.bench.basis.size import Size
from experiments.bench.measure.load_generators import receive_reply
from experiments.bench.networks.stock import BRIDGE

BULK_PORT = 9000
FIRST_SOURCE_PORT = 30000
COUNTS = (1, 16)
#: Time for TCP to reach its full rate.
WARM_UP_S = 1.0


def measure(network: Network, size: Size) -> Found:
    """Gbit/s for each number of connections, all of one client."""
    return {
        f"gbit_{count}": _gbit(network, count, size.bulk_seconds) for count in COUNTS
    }


def _gbit(network: Network, count: int, seconds: float) -> float:
    client, targets = network.clients[0], network.targets()
    endpoints = [
        (FIRST_SOURCE_PORT + i, targets[i % len(targets)]) for i in range(count)
    ]
    servers = {network.server_of(client, BULK_PORT, to, port) for port, to in endpoints}
    pids = [f"--pid={network.pid(server)}" for server in sorted(servers)]
    sink = start_local("bulk_sink", f"--port={BULK_PORT}", *pids)
    receive_reply(sink)
    to = [f"--to={port}@{target}" for port, target in endpoints]
    source = start_on_host(network, client, "bulk_source", f"--port={BULK_PORT}", *to)
    try:
        receive_reply(source)
        time.sleep(WARM_UP_S)
        before = _read_counter(sink)
        time.sleep(seconds)
        after = _read_counter(sink)
    finally:
        for program in (source, sink):
            program.kill()
            program.wait()
    octets = after["octets"] - before["octets"]
    return octets * 8 / 1e9 / (after["monotonic_s"] - before["monotonic_s"])


def _read_counter(sink: subprocess.Popen[str]) -> dict[str, float]:
    assert sink.stdin
    sink.stdin.write("\n")
    sink.stdin.flush()
    return receive_reply(sink)


def lines(size: Size, results: Results) -> Sequence[Line]:
    """One line for each number of connections."""
    ours, stock = (Setting.array(kind, size) for kind in ("ours", "stock-tso"))
    return [
        line_with_reference(
            f"bulk throughput, {count} connection{'s' if count > 1 else ''}",
            "Gbit/s",
            values_of(results, ours, f"gbit_{count}"),
            values_of(results, stock, f"gbit_{count}"),
            BRIDGE[size.datapath],
            Bound(0.9, at_least=True),
        )
        for count in COUNTS
    ]


FIGURE = Figure(
    name="bulk",
    title="bulk throughput",
    settings=settings_of_kinds(("ours", "stock-tso")),
    measures={"ours": measure, "stock-tso": measure},
    lines=lines,
)
