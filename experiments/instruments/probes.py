"""Sees every change of every TCP socket of a run, to the microsecond, without polling.

``python -m experiments.instruments.probes --output FILE --port P [--port ...]`` puts the
programs of ``sockets.bpf.c`` on the kernel's tracepoints, which fire in every network
namespace. It says ``ready`` in a JSON line on standard output. The line ``{"hosts":
{NAMESPACE: NAME}}`` on standard input, answered by ``named``, tells whose namespaces are
the run's: what happens in others is another cluster's, and is left out. On SIGTERM it
writes the events (:mod:`experiments.record.socket_events`) to FILE, oldest first,
and says ``summary``: how many there are, how many were ``elsewhere``, how many were lost.
The programs select by port, so the machine's other sockets cost next to nothing.

The kernel stamps events with CLOCK_MONOTONIC. Both clocks are turned by the same
oscillator, so their distance is constant until someone sets the time; ``summary`` says
by how much that happened (``clock_step_ns``).
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from experiments.instruments.bpf_ring import BpfRing, records_of
from experiments.record.socket_events import REPORT, SocketEvent, event_of
from nodes.kernel.bpf_build import compile_program
from nodes.kernel.libbpf import BpfError, BpfObject

SOURCE = Path(__file__).with_name("sockets.bpf.c")
PROGRAMS = ("socket_state", "socket_reset_received", "socket_reset_sent")
#: ``max_entries`` of the ring, and how often it is emptied: it has room for as many
#: events as several machines of this size can make in that time.
RING_BYTES = 1 << 24
READ_PERIOD_S = 0.1
#: A smaller step of the clock is one reading's error.
MIN_STEP_NS = 1_000_000

_PORT, _COUNT = struct.Struct("=H"), struct.Struct("=Q")


class Probes:
    """The programs of ``sockets.bpf.c``, for some TCP ports."""

    def __init__(self, spool: IO[bytes], ports: Sequence[int]) -> None:
        """Loads them, attached to nothing yet; what they report waits in ``spool``.

        Raises :class:`~nodes.kernel.libbpf.BpfError` or :class:`OSError`: no clang, no BTF, no
        such tracepoint, or not the right to trace.
        """
        self._spool = spool
        self._object = BpfObject(compile_program(SOURCE))
        self._lost = self._object.map("lost", _COUNT.size)
        wanted = self._object.map("ports", 1)
        for port in ports:
            wanted.set(_PORT.pack(port), b"\1")
        descriptor = self._object.map_descriptor("reports")
        self._ring = BpfRing(descriptor, RING_BYTES, REPORT.size)
        self.offset_ns = 0
        #: Network namespace (inode number) -> the host that is in it; empty: keep all.
        self.hosts: Mapping[int, str] = {}

    def enable(self) -> None:
        """Starts the events."""
        self.offset_ns = realtime_offset_ns()
        for program in PROGRAMS:
            self._object.attach(program)

    def read(self) -> None:
        """Moves what is in the ring to the spool."""
        self._spool.write(self._ring.read())

    def write(self, path: str) -> dict[str, int]:
        """Stops, writes the events to ``path``, and counts them."""
        self.read()
        step = realtime_offset_ns() - self.offset_ns
        seen = sorted(self._events())
        events = [one for one in seen if one.host or not self.hosts]
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(event.to_line() for event in events)
        (lost,) = _COUNT.unpack(self._lost.get(bytes(4)))
        return {
            "events": len(events),
            "elsewhere": len(seen) - len(events),
            "lost": lost,
            "clock_step_ns": step if abs(step) > MIN_STEP_NS else 0,
        }

    def _events(self) -> Iterator[SocketEvent]:
        self._spool.seek(0)
        for report in records_of(self._spool.read(), REPORT):
            yield event_of(report, self.offset_ns, self.hosts)

    def close(self) -> None:
        """Takes the programs away (as the end of the process does)."""
        self._ring.close()
        self._object.close()


def realtime_offset_ns() -> int:
    """CLOCK_REALTIME - CLOCK_MONOTONIC, from the tightest of some readings."""
    readings = []
    for _ in range(50):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        real = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        readings.append((after - before, real - (before + after) // 2))
    return min(readings)[1]


def main(arguments: list[str] | None = None) -> int:
    """Probes until SIGTERM; 0 once the file is complete, 3 where the kernel cannot."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryFile() as spool, selectors.DefaultSelector() as selector:
        try:
            probes = Probes(spool, options.port)
            ending = _ending_signals(selector)
            probes.enable()
        except (BpfError, OSError) as error:
            print(f"probes: {error}", file=sys.stderr)
            return 3
        _register_stdin(selector, probes)
        _write_event("ready", offset_ns=probes.offset_ns)
        while not ending():
            for key, _ in selector.select(READ_PERIOD_S):
                key.data()
            probes.read()
        _write_event("summary", **probes.write(options.output))
        probes.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Record TCP sockets' state changes.")
    parser.add_argument("--output", required=True, help="file for the events")
    parser.add_argument("--port", type=int, action="append", required=True)
    return parser


def _register_stdin(selector: selectors.BaseSelector, probes: Probes) -> None:
    """Makes the selector hear of the hosts on standard input."""
    pending = bytearray()

    def read() -> None:
        data = os.read(0, 1 << 16)
        if not data:
            selector.unregister(0)
        pending.extend(data)
        while b"\n" in pending:
            line, _, rest = bytes(pending).partition(b"\n")
            pending[:] = rest
            hosts = json.loads(line)["hosts"]
            probes.hosts = {int(number): name for number, name in hosts.items()}
            _write_event("named", hosts=len(hosts))

    try:
        selector.register(0, selectors.EVENT_READ, read)
    except (PermissionError, ValueError):
        pass  # epoll_ctl(2), EPERM: a file or /dev/null, on which nothing is ever said


def _ending_signals(selector: selectors.BaseSelector) -> Callable[[], bool]:
    """Makes SIGTERM and SIGINT wake the selector; says whether one has come."""
    came: list[int] = []
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: came.append(signum))
    # The write end lives in this closure: closed, nothing would wake the selector.
    selector.register(woken, selectors.EVENT_READ, lambda: (wake, woken.recv(64)))
    return lambda: bool(came)


def _write_event(event: str, **details: Any) -> None:
    print(json.dumps({"event": event, "t": time.time(), **details}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
