"""New connections a second, through both tiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.bench.basis.bench_network import ECHO_PORT, Network, start_on_host
from experiments.bench.basis.figure import (
    Bound,
    Figure,
    Found,
    Line,
    Results,
    Setting,
    each,
    line_with_reference,
    settings_of_kinds,
)
from experiments.bench.basis.size import Size
from experiments.bench.measure.load_generators import (
    LoadGeneratorError,
    load_generators,
    receive_reply,
    send_request,
)
from topologies.datapaths import KERNEL, USERSPACE

#: State in /proc/net/tcp (TCP_ESTABLISHED, net/tcp_states.h).
_ESTABLISHED = "01"


def measure(network: Network, size: Size) -> Found:
    """The best rate over the windows: each network as it likes it."""
    by_window = {
        window: _rate(network, size.openings, window) for window in size.windows
    }
    best = max(by_window.values(), key=lambda one: one["rate"])
    return {"rate": best["rate"], "by_window": by_window}


def measure_beside_loopback(network: Network, size: Size) -> Found:
    """The same, and what the opener and the server reach with no network between."""
    return {**measure(network, size), "loopback_rate": _loopback(network, size)}


def _rate(network: Network, connections: int, window: int) -> Mapping[str, Any]:
    sent_again = _retransmitted(network)
    with load_generators(network, seed=window) as generators:
        opened = generators.open(connections, window)
        mine = {port for _client, port in generators.connections}
        accepted = sum(
            len(_established(network.pid(name)) & mine) for name in network.servers
        )
    if accepted < len(mine):
        raise LoadGeneratorError(
            f"{opened.opened} opened, but servers hold {accepted} of them"
        )
    return {
        "rate": opened.rate,
        "opened": opened.opened,
        "failures": dict(opened.failures),
        "retransmitted": _retransmitted(network) - sent_again,
    }


def _established(pid: int) -> set[int]:
    """Clients' ports of the echo connections that the kernel of that host holds.

    A connection that a client aborted may be there still, if its RST was lost.
    """
    port = f":{ECHO_PORT:04X}"
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as lines:
        next(lines)
        rows = (line.split(None, 4) for line in lines)
        return {
            int(row[2].rpartition(":")[2], 16)
            for row in rows
            if row[1].endswith(port) and row[3] == _ESTABLISHED
        }


def _loopback(network: Network, size: Size) -> float:
    """One opener on a server's own host."""
    options = ["--target=127.0.0.1", f"--port={ECHO_PORT}"]
    program = start_on_host(network, network.servers[0], "load_generator", *options)
    request = {"op": "open", "connections": size.openings, "timeout_s": 60}
    send_request(program, {**request, "window": max(size.windows)})
    reply = receive_reply(program)
    assert program.stdin
    program.stdin.close()
    program.wait()
    return float(reply["opened"] / (reply["last_s"] - reply["first_s"]))


def _retransmitted(network: Network) -> int:
    """Segments that the clients' kernels sent again so far (RFC 4022)."""
    total = 0
    for client in network.clients:
        with open(f"/proc/{network.pid(client)}/net/snmp", encoding="ascii") as lines:
            names, values = (line.split() for line in lines if line.startswith("Tcp:"))
        total += int(values[names.index("RetransSegs")])
    return total


#: In the kernel, a learning bridge needs one cached flow for each pair of hosts and asks
#: nobody about a new connection; our hash needs one flow, and one upcall, for each.
BOUNDS = {KERNEL: None, USERSPACE: Bound(5, at_least=True)}
#: What had to be done to the reference, by datapath.
_OFFLOAD_REMARKS: Mapping[str, Sequence[str]] = {
    KERNEL: (),
    USERSPACE: ("hosts' checksum offload is off with the reference, which else drops",),
}


def lines(size: Size, results: Results) -> Sequence[Line]:
    """Connections that were established and kept."""
    ours, stock = (Setting.array(kind, size) for kind in ("ours", "stock"))
    loopback = max(each(results, stock, "loopback_rate"))
    failed = [
        one["failures"]
        for found in results[ours]
        for one in found["by_window"].values()
        if one["failures"]
    ]
    return [
        line_with_reference(
            "new connections through both tiers",
            "/s",
            each(results, ours, "rate"),
            each(results, stock, "rate"),
            "the same clients and servers on one learning bridge",
            BOUNDS[size.datapath],
            remarks=[
                f"the opener line_alone, over loopback: {loopback:.0f}/s",
                *_OFFLOAD_REMARKS[size.datapath],
                *(f"failed: {one}" for one in failed),
            ],
        )
    ]


FIGURE = Figure(
    name="connections",
    title="new connections a second",
    settings=settings_of_kinds(("ours", "stock")),
    measures={"ours": measure, "stock": measure_beside_loopback},
    lines=lines,
)
