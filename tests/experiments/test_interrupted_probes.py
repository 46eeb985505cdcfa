"""A softirq interrupts a program of the probes, and changes the states of other sockets.

The kernel does not run the program for those; its stand-in reports them. So the states of
each socket must follow from one another, however many connections open and close at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from experiments.instruments.bpf_ring import records_of
from experiments.instruments.socket_reports import PROGRAMS, SocketReports
from experiments.record.socket_events import REPORT, STATE, SocketEvent, event_of
from tests.needed_programs import cannot_run

pytestmark = [pytest.mark.live, pytest.mark.beside]

#: Since then the kernel leaves out a program that is running on that processor.
LEAVES_OUT = (6, 1)
CLIENTS = 4
#: Each second some ten of 200,000 changes interrupt a program, on two busy processors.
INTERRUPTIONS = 5
LONGEST_S = 60.0

SERVER = """\
import socket
listener = socket.create_server(("127.0.0.1", 0), backlog=512)
print(listener.getsockname()[1], flush=True)
while True:
    listener.accept()[0].close()
"""
CLIENT = """\
import socket, sys
while True:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
        client.recv(1)
"""


@contextmanager
def connections_that_open_and_close() -> Iterator[int]:
    """As many as the machine can, on the loopback of a network namespace of their own."""
    prefix = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    with ExitStack() as stack:

        def start(command: Sequence[str]) -> subprocess.Popen[str]:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        server = start([*prefix, sys.executable, "-c", SERVER])
        assert server.stdout
        port = server.stdout.readline().strip()
        inside = ["nsenter", f"--net=/proc/{server.pid}/ns/net", sys.executable, "-c"]
        for _ in range(CLIENTS):
            start([*inside, CLIENT, port])
        yield int(port)


def broken_chains(events: Sequence[SocketEvent]) -> list[tuple[SocketEvent, str]]:
    """Changes from another state than the one that the socket had by the change before."""
    broken, state = [], dict[int, str]()
    for event in events:
        if event.kind != STATE or "LISTEN" in (event.old, event.new):
            continue
        known = state.get(event.socket, event.old)
        # A socket that was freed makes room for another one, which begins anew.
        if known not in (event.old, "CLOSE"):
            broken.append((event, known))
        state[event.socket] = event.new
    return broken


def reported(reports: SocketReports) -> list[SocketEvent]:
    """What they saw until programs were interrupted often enough."""
    data, until = bytearray(), time.monotonic() + LONGEST_S
    while reports.interrupting < INTERRUPTIONS:
        if time.monotonic() > until:
            cannot_run(f"{reports.interrupting} interruptions in {LONGEST_S:.0f} s")
        time.sleep(0.05)
        data += reports.unread()
    time.sleep(0.05)
    data += reports.unread()
    return sorted(event_of(one, 0, {}) for one in records_of(bytes(data), REPORT))


@pytest.mark.skipif(
    tuple(map(int, os.uname().release.split(".")[:2])) < LEAVES_OUT,
    reason="this kernel runs a program within itself",
)
def test_no_change_is_missed_by_a_program_that_is_interrupted() -> None:
    reports = SocketReports()
    try:
        with connections_that_open_and_close() as port:
            reports.select_ports([port])
            reports.enable()
            events = reported(reports)
            interrupting, stood_in = reports.interrupting, reports.stood_in
    finally:
        reports.close()
    assert len(events) > 1000
    assert len(PROGRAMS) == 3
    assert stood_in >= INTERRUPTIONS
    assert interrupting - stood_in <= 0, "none was missed by both"
    assert broken_chains(events) == []
