"""The capture for eyes, on real frames between two network namespaces."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from experiments.instruments.capture_targets import Site, TargetError
from experiments.instruments.live_capture import (
    FilterSyntaxError,
    Interface,
    compiled,
    interfaces_at,
)
from experiments.record.pcapng import open_pcapng
from nodes.kernel.network_namespace import PROC
from tests.experiments.two_hosts import CLIENT, NODE, TwoHosts, two_hosts
from topologies.domain.plan import VIP4

pytestmark = pytest.mark.live

PORT = 9
#: A capture in a process of its own, because it takes signals. Standard error says when it
#: has begun and how many frames it wrote.
_PROGRAM = """
import os, signal, sys
from experiments.instruments import live_capture
from nodes.kernel.network_namespace import PROC
cluster, count, for_s, filter_ = int(sys.argv[1]), eval(sys.argv[2]), eval(sys.argv[3]), sys.argv[4]
found = [live_capture.Interface(int(pid), name, name) for pid, name in
         (one.split(":") for one in sys.argv[5:])]
woken = live_capture.wake_by_signals((signal.SIGINT, signal.SIGTERM))
rings = live_capture.opened(found, PROC, live_capture.compiled(filter_))
ending = live_capture.Ending(os.pidfd_open(cluster), 1, woken, count, for_s)
print("begun", file=sys.stderr, flush=True)
written = live_capture.capture(found, rings, filter_, sys.stdout.buffer, ending)
print(written, file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as made:
        yield made


@contextmanager
def capturing(
    hosts: TwoHosts,
    output: int,
    count: int | None = None,
    for_s: float | None = None,
    filter_: str = f"udp port {PORT}",
    cluster: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A capture of both ends that has begun; killed at the end of the block."""
    places = f"{hosts.node}:{NODE.interface}", f"{hosts.client}:{CLIENT.interface}"
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _PROGRAM, str(cluster or os.getpid())),
            *(repr(count), repr(for_s), filter_, *places),
        ],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def written(process: subprocess.Popen[str]) -> int:
    """How many frames it says it wrote, when it has ended."""
    _, said = process.communicate(timeout=10)
    assert process.returncode == 0, said
    return int(said)


def datagrams(hosts: TwoHosts, count: int) -> None:
    """That many datagrams from the client, of 1, 2, 3, ... octets."""
    with hosts.at(
        hosts.client, lambda: socket.socket(type=socket.SOCK_DGRAM)
    ) as sender:
        for size in range(1, count + 1):
            sender.sendto(bytes(size), (VIP4, PORT))


def frames(path: Path) -> list[tuple[str, bool, int, int]]:
    """Label, direction, octets on the wire, time."""
    with open_pcapng(str(path)) as reader:
        return [
            (reader.interfaces[p.interface].label, p.outgoing, p.length, p.time_ns)
            for p in reader.packets()
        ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_at_a_signal_all_that_was_sent_is_there_in_its_order(
    hosts: TwoHosts, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "a.pcapng"
    with path.open("wb") as file, capturing(hosts, file.fileno()) as process:
        datagrams(hosts, 50)
        process.send_signal(number)
        assert written(process) == 100
    seen = frames(path)
    assert [when for *_, when in seen] == sorted(when for *_, when in seen)
    for label, outgoing in ((CLIENT.interface, True), (NODE.interface, False)):
        sizes = [size for one, way, size, _ in seen if (one, way) == (label, outgoing)]
        assert sizes == list(range(43, 93))


def test_it_ends_after_its_count(hosts: TwoHosts, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with path.open("wb") as file, capturing(hosts, file.fileno(), count=7) as process:
        datagrams(hosts, 50)
        assert written(process) == 7
    assert len(frames(path)) == 7


def test_it_ends_after_its_time_with_what_came_before(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    path = tmp_path / "a.pcapng"
    with path.open("wb") as file, capturing(hosts, file.fileno(), for_s=1) as process:
        datagrams(hosts, 3)
        assert written(process) == 6


def test_it_ends_with_its_reader_though_nothing_passes(hosts: TwoHosts) -> None:
    read, write = os.pipe()
    with capturing(hosts, write) as process:
        os.close(write)
        os.close(read)
        assert written(process) == 0


def test_it_ends_with_the_cluster(hosts: TwoHosts, tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    with (
        (tmp_path / "a.pcapng").open("wb") as file,
        capturing(hosts, file.fileno(), cluster=other.pid) as process,
    ):
        datagrams(hosts, 2)
        other.kill()
        assert written(process) == 4
    other.wait()


def test_a_filter_is_tcpdumps(hosts: TwoHosts, tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    with pytest.raises(FilterSyntaxError, match="syntax error"):
        compiled("udp prot 9")
    with path.open("wb") as file:
        few = f"udp port {PORT} and greater 60"
        with capturing(hosts, file.fileno(), filter_=few) as process:
            datagrams(hosts, 20)
            process.send_signal(signal.SIGINT)
            assert written(process) == 2 * 3
    assert min(size for _, _, size, _ in frames(path)) == 60


def test_the_interfaces_of_a_host_are_found_and_others_are_refused(
    hosts: TwoHosts,
) -> None:
    pids = {NODE.name: hosts.node}
    expected = [Interface(hosts.node, NODE.interface, NODE.name)]
    assert interfaces_at([Site(NODE.name)], pids, PROC) == expected
    with pytest.raises(TargetError, match=f"it has {NODE.interface}"):
        interfaces_at([Site(NODE.name, "eth7")], pids, PROC)
