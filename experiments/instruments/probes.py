"""Sees every change of every TCP socket of a run, to the microsecond, without polling.

``python -m experiments.instruments.probes --output FILE --port P [--port ...]`` listens to the
kernel's tracepoints, which fire in every network namespace. It says ``ready`` in a JSON
line on standard output; on SIGTERM it writes the events (:mod:`experiments.instruments.socket_events`)
to FILE, oldest first, and says ``summary`` with how many there are and how many were
lost. The kernel filters by port, so the machine's other sockets cost nothing.

The kernel stamps events with CLOCK_MONOTONIC. Both clocks are turned by the same
oscillator, so their distance is constant until someone sets the time; ``summary`` says
by how much that happened (``clock_step_ns``).
"""

from __future__ import annotations

import argparse
import json
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from experiments.instruments.perf_ring import PerfRing, other_kinds, samples_of
from experiments.instruments.socket_events import TRACEPOINTS, SocketEvent, decoder
from experiments.instruments.tracepoint import Tracepoint

DEFAULT_TRACEFS = "/sys/kernel/tracing"
#: Memory of each CPU's ring: about 80,000 events that were not read yet.
RING_BYTES = 8 << 20


class Probes:
    """The tracepoints of :data:`TRACEPOINTS` on every CPU, for some TCP ports."""

    def __init__(self, spool: IO[bytes], tracefs: Path, ports: Sequence[int]) -> None:
        """Opens them, still disabled; what the kernel records waits in ``spool``.

        ``tracefs`` is a mounted tracefs. Raises :class:`OSError`: it is not mounted, a
        tracepoint is missing, or the right to trace is.
        """
        self._spool = spool
        self._ports = frozenset(ports)
        self.offset_ns = 0
        #: What the kernel wrote beside events, such as that it lost some.
        self._said: Counter[str] = Counter()
        self._tracepoints = [Tracepoint.load(tracefs, name) for name in TRACEPOINTS]
        self._rings: list[PerfRing] = []
        for cpu in sorted(_online_cpus()):
            ring = PerfRing(cpu, RING_BYTES)
            self._rings.append(ring)
            for tracepoint in self._tracepoints:
                ring.add(tracepoint.id, filter_expression(tracepoint, ports))

    def register(self, selector: selectors.BaseSelector) -> None:
        """Lets ``selector`` wake for each ring; ``data`` is the function to call."""
        for ring in self._rings:
            selector.register(ring, selectors.EVENT_READ, self._taker(ring))

    def _taker(self, ring: PerfRing) -> Callable[[], None]:
        return lambda: self._take(ring)

    def _take(self, ring: PerfRing) -> None:
        records = ring.take()
        self._spool.write(len(records).to_bytes(8, "little") + records)

    def enable(self) -> None:
        """Starts the events."""
        self.offset_ns = realtime_offset_ns()
        for ring in self._rings:
            ring.enable()

    def write(self, path: str) -> dict[str, int]:
        """Stops, writes the events to ``path``, and counts them."""
        for ring in self._rings:
            ring.disable()
            self._take(ring)
        step = realtime_offset_ns() - self.offset_ns
        seen = sorted(self._events())
        events = [event for event in seen if self._ours(event)]
        lost = self._lost(Counter(event.kind for event in seen))
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(event.to_line() for event in events)
        return {
            "events": len(events),
            "lost": sum(lost.values()),
            "clock_step_ns": step if abs(step) > 1_000_000 else 0,
        }

    def _lost(self, seen: Counter[str]) -> Counter[str]:
        """How many events of each tracepoint were counted but not recorded."""
        counts = [ring.counted() for ring in self._rings]
        lost: Counter[str] = Counter()
        by_tracepoint = zip(*counts, strict=True)
        for tracepoint, counted in zip(self._tracepoints, by_tracepoint, strict=True):
            lost[tracepoint.name] = sum(counted) - seen[TRACEPOINTS[tracepoint.name]]
            if lost[tracepoint.name]:
                message = f"{tracepoint.name} by CPU: {counted}, not recorded:"
                said = dict(self._said) or "nothing"
                print(
                    f"probes: {message} {lost[tracepoint.name]}; "
                    f"the kernel says of that: {said}",
                    file=sys.stderr,
                )
        return lost

    def _ours(self, event: SocketEvent) -> bool:
        """What the kernel could not filter: see :func:`filter_expression`."""
        return bool(event.connection and event.connection.dport in self._ports)

    def _events(self) -> Iterator[SocketEvent]:
        decoders = {t.id: decoder(t) for t in self._tracepoints}
        self._spool.seek(0)
        while head := self._spool.read(8):
            records = self._spool.read(int.from_bytes(head, "little"))
            self._said.update(other_kinds(records))
            for when, record in samples_of(records):
                decode = decoders[int.from_bytes(record[:2], sys.byteorder)]
                yield decode(when + self.offset_ns, record)

    def close(self) -> None:
        """Switches everything off (as the end of the process does)."""
        for ring in self._rings:
            ring.close()


def filter_expression(tracepoint: Tracepoint, ports: Sequence[int]) -> str:
    """What the kernel keeps of that tracepoint (Documentation/trace/events.rst).

    A tracepoint whose record has no ports (tcp_send_reset since Linux 6.10) is kept
    whole: resets are rare.
    """
    if "sport" not in tracepoint.fields:
        return ""
    either = " || ".join(f"sport == {p} || dport == {p}" for p in ports)
    if "protocol" in tracepoint.fields:
        return f"protocol == {socket.IPPROTO_TCP} && ({either})"
    return either


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
            probes = Probes(spool, Path(options.tracefs), options.port)
        except OSError as error:
            print(f"probes: {error}", file=sys.stderr)
            return 3
        ending = _ending_signals(selector)
        probes.register(selector)
        probes.enable()
        _say("ready", offset_ns=probes.offset_ns)
        while not ending():
            for key, _ in selector.select():
                key.data()
        _say("summary", **probes.write(options.output))
        probes.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Record TCP sockets' state changes.")
    parser.add_argument("--output", required=True, help="file for the events")
    parser.add_argument("--port", type=int, action="append", required=True)
    parser.add_argument(
        "--tracefs", default=DEFAULT_TRACEFS, help="where it is mounted"
    )
    return parser


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


def _online_cpus() -> set[int]:
    """CPUs that are on, from e.g. ``0-3,6``."""
    text = Path("/sys/devices/system/cpu/online").read_text()
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def _say(event: str, **details: Any) -> None:
    print(json.dumps({"event": event, "t": time.time(), **details}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
