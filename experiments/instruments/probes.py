"""Records every state change of the TCP sockets of a run, by eBPF programs.

``python -m experiments.instruments.probes --output FILE --port P [--port ...]`` attaches
the programs of ``sockets.bpf.c`` to the kernel's tracepoints, which fire in every network
namespace. It writes JSON lines to standard output, first ``ready``. The line ``{"hosts":
{NAMESPACE: NAME}}`` on standard input names the namespaces of the run; the reply is
``named``. Events in other namespaces belong to other clusters and are left out. On
SIGTERM it writes the events (:mod:`experiments.record.socket_events`) to FILE, oldest
first, then ``summary``: the numbers of events, of those ``elsewhere`` and of those lost.
If the disk is full, it writes ``failed`` with the reason, and ends.
The programs select by port, so other sockets of the machine cost almost nothing.

The kernel's timestamps are CLOCK_MONOTONIC. Both clocks run at the same rate, so their
offset is constant until somebody sets the time. ``clock_step_ns`` in ``summary`` is the
size of such a step.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

from experiments.files.disk_full import DiskFullError, disk_full_named
from experiments.instruments.bpf_ring import records_of
from experiments.instruments.socket_reports import SocketReports, realtime_offset_ns
from experiments.record.socket_events import REPORT, SocketEvent, event_of
from nodes.kernel.libbpf import BpfError

#: How often the ring is read. It holds several times the events that a machine of this size
#: can cause in that period.
READ_PERIOD_S = 0.1
#: Smaller steps of the clock are measurement error.
MIN_STEP_NS = 1_000_000


class Probes(SocketReports):
    """The reports on the given TCP ports, kept in a file until the end."""

    def __init__(self, spool: IO[bytes], ports: Sequence[int]) -> None:
        """Loads the programs without attaching them. ``spool`` is a file for their reports.

        Raises :class:`~nodes.kernel.libbpf.BpfError` or :class:`OSError`: no clang, no BTF, no
        such tracepoint, or no permission to trace.
        """
        super().__init__()
        self._spool = spool
        self.select_ports(ports)
        self.offset_ns = 0
        #: Network namespace (inode number) -> its host. Empty: keep all events.
        self.hosts: Mapping[int, str] = {}

    def enable(self) -> None:
        """Attaches the programs."""
        self.offset_ns = realtime_offset_ns()
        super().enable()

    def read(self) -> None:
        """Moves the reports in the ring to the spool."""
        self._spool.write(self.unread())

    def write(self, path: str) -> dict[str, int]:
        """Writes the events to ``path``; returns their counts."""
        self.read()
        step = realtime_offset_ns() - self.offset_ns
        seen = sorted(self._events())
        events = [event for event in seen if event.host or not self.hosts]
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(event.to_line() for event in events)
        return {
            "events": len(events),
            "elsewhere": len(seen) - len(events),
            "lost": self.lost,
            "clock_step_ns": step if abs(step) > MIN_STEP_NS else 0,
        }

    def _events(self) -> Iterator[SocketEvent]:
        self._spool.seek(0)
        for report in records_of(self._spool.read(), REPORT):
            yield event_of(report, self.offset_ns, self.hosts)


def main(arguments: list[str] | None = None) -> int:
    """Probes until SIGTERM. Returns 0 when the file is complete, 3 if probes cannot run.

    Returns 1 if the disk is full.
    """
    options = _parser().parse_args(arguments)
    output = os.path.abspath(options.output)
    try:
        with disk_full_named(output):
            return _probe(output, options.port)
    except DiskFullError as error:
        _write_event("failed", reason=str(error))
        return 1


def _probe(output: str, ports: Sequence[int]) -> int:
    with (
        tempfile.TemporaryFile(dir=os.path.dirname(output)) as spool,
        selectors.DefaultSelector() as selector,
    ):
        try:
            probes = Probes(spool, ports)
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
        _write_event("summary", **probes.write(output))
        probes.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Record TCP sockets' state changes.")
    parser.add_argument("--output", required=True, help="file for the events")
    parser.add_argument("--port", type=int, action="append", required=True)
    return parser


def _register_stdin(selector: selectors.BaseSelector, probes: Probes) -> None:
    """Registers standard input, which gives the hosts, at the selector."""
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
        pass  # epoll_ctl(2), EPERM: a file or /dev/null; no commands can arrive


def _ending_signals(selector: selectors.BaseSelector) -> Callable[[], bool]:
    """Lets SIGTERM and SIGINT wake the selector. The result tells if one has arrived."""
    received: list[int] = []
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: received.append(signum))
    # The closure keeps the write end open: otherwise nothing would wake the selector.
    selector.register(woken, selectors.EVENT_READ, lambda: (wake, woken.recv(64)))
    return lambda: bool(received)


def _write_event(event: str, **details: Any) -> None:
    print(json.dumps({"event": event, "t": time.time(), **details}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
