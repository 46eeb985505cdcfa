"""Captures many interfaces in many network namespaces into one file, as one process.

``python -m experiments.instruments.capture --config FILE`` reads a JSON object::

    {"output": "run.pcapng", "snaplen": 128, "filter": "full", "ring_bytes": 1048576,
     "interfaces": [{"pid": 7, "interface": "c1n2-eth0", "label": "c1n2",
                     "kind": "node", "filter": "strays"}, ...]}

Only ``output`` and each interface's ``pid``, ``interface`` and ``label`` are required. The
program writes JSON lines to standard output: ``ready`` when every interface is captured,
and ``summary``, with the drops of each interface, when the file is complete after
SIGTERM. If the disk is full, it writes ``failed`` with the reason, and ends. A line
``{"add": {...}}`` on standard input adds an interface; the reply is ``added`` or ``error``.

During the run the program only copies the kernel's blocks to an unnamed file, to disturb
the run as little as possible. At the end it writes the capture file, sorted by time over
all interfaces, so that frame numbers give the order of events.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from experiments.files.disk_full import DiskFullError, disk_full_named
from experiments.instruments import packet_filter
from experiments.instruments.packet_ring import MAX_RETIRE_S, PacketRing, packets_of
from experiments.record.capture_points import FULL
from experiments.record.pcapng import PcapngWriter
from nodes.kernel.network_namespace import enter_netns

DEFAULT_SNAPLEN = 128
DEFAULT_RING_BYTES = 1 << 20


@dataclass(frozen=True)
class Interface:
    """One interface to capture. The fields are the keys of the configuration."""

    pid: int
    interface: str
    label: str
    kind: str = ""
    filter: str = FULL
    snaplen: int = DEFAULT_SNAPLEN
    ring_bytes: int = DEFAULT_RING_BYTES

    def open(self) -> PacketRing:
        """Starts the capture. Raises :class:`OSError` or ``FilterError``."""
        program = packet_filter.program(self.filter, self.snaplen)
        with enter_netns(self.pid):
            return PacketRing(self.interface, program, self.ring_bytes)


@dataclass
class _Tap:
    """A captured interface. ``start`` and ``end`` are CLOCK_REALTIME ns."""

    interface: Interface
    ring: PacketRing
    start: int = field(default_factory=time.time_ns)
    end: int = 0
    received: int = 0
    dropped: int = 0

    def finish(self) -> None:
        """Reads the kernel's counters and stops the capture."""
        self.received, self.dropped = self.ring.read_statistics()
        self.end = time.time_ns()
        self.ring.close()


class _Block(NamedTuple):
    """The position of a tap's block in the spool."""

    tap: int
    offset: int
    length: int


class Capture:
    """Captures segments of every added interface, until :meth:`write`."""

    def __init__(self, spool: IO[bytes]) -> None:
        """An empty capture. ``spool`` is the file for the kernel's blocks."""
        self._taps: list[_Tap] = []
        self._blocks: list[_Block] = []
        self._spool = spool
        self._spooled = 0
        self.selector = selectors.DefaultSelector()

    def add(self, interface: Interface) -> None:
        """Adds an interface. Raises :class:`OSError` or ``FilterError``."""
        tap = _Tap(interface, interface.open())
        self.selector.register(tap.ring, selectors.EVENT_READ, len(self._taps))
        self._taps.append(tap)

    def read(self, index: int) -> None:
        """Copies the ready blocks of tap number ``index`` to the spool."""
        ring = self._taps[index].ring
        ring.clear_error()
        for block in ring.read_blocks():
            self._spool.write(block)
            self._blocks.append(_Block(index, self._spooled, len(block)))
            self._spooled += len(block)

    def drain(self) -> None:
        """Reads everything that was captured before this call."""
        deadline = time.monotonic() + MAX_RETIRE_S
        while (remaining := deadline - time.monotonic()) > 0:
            for key, _ in self.selector.select(remaining):
                if isinstance(key.data, int):
                    self.read(key.data)
        for index in range(len(self._taps)):
            self.read(index)

    def write(self, path: str) -> dict[str, Any]:
        """Ends the capture and writes the file; returns the counts of each interface."""
        for tap in self._taps:
            tap.finish()
        with open(path, "wb") as file:
            count = self._write_packets(file)
        return {
            "packets": count,
            "dropped": sum(tap.dropped for tap in self._taps),
            "interfaces": {
                tap.interface.label: {"received": tap.received, "dropped": tap.dropped}
                for tap in self._taps
            },
        }

    def _write_packets(self, file: IO[bytes]) -> int:
        writer = PcapngWriter(file)
        for tap in self._taps:
            of = tap.interface
            writer.add_interface(of.label, of.kind, of.snaplen, of.filter)
        with self._spooled_bytes() as spool:
            rows = sorted(self._rows(spool))
            for time_ns, tap_number, outgoing, length, start, captured in rows:
                data = spool[start : start + captured]
                writer.packet(tap_number, time_ns, data, length, outgoing)
        for number, tap in enumerate(self._taps):
            writer.statistics(number, tap.start, tap.end, tap.received, tap.dropped)
        return len(rows)

    def _rows(
        self, spool: memoryview
    ) -> Iterator[tuple[int, int, bool, int, int, int]]:
        """Every segment as (time, tap, outgoing, length, position in the spool, bytes)."""
        for tap, offset, length in self._blocks:
            for p in packets_of(spool[offset : offset + length]):
                start = offset + p.offset
                yield p.time_ns, tap, p.outgoing, p.length, start, p.captured

    def _spooled_bytes(self) -> memoryview:
        if not self._spooled:
            return memoryview(b"")
        self._spool.flush()
        return memoryview(
            mmap.mmap(self._spool.fileno(), self._spooled, access=mmap.ACCESS_READ)
        )


class _ControlInput:
    """Registers standard input, SIGTERM and SIGINT at the capture's selector."""

    def __init__(self, capture: Capture, defaults: dict[str, Any]) -> None:
        """``defaults``: values of an interface for keys that its object does not have."""
        self._capture = capture
        self._defaults = defaults
        self._pending = b""
        self.ending = False
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        self._ends = (wake, woken)  # must stay open while signals can arrive
        signal.set_wakeup_fd(wake.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        capture.selector.register(woken, selectors.EVENT_READ, lambda: woken.recv(64))
        _register_if_possible(capture.selector, 0, self.read_commands)

    def _end(self, *_: object) -> None:
        self.ending = True

    def read_commands(self) -> None:
        """Handles commands on standard input. End of input does not end the capture."""
        data = os.read(0, 65536)
        if not data:
            self._capture.selector.unregister(0)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._handle_command(line)

    def _handle_command(self, line: bytes) -> None:
        try:
            interface = Interface(**self._defaults | json.loads(line)["add"])
            self._capture.add(interface)
        except (OSError, ValueError, KeyError, TypeError) as error:
            _write_event("error", line=line.decode(errors="replace"), error=repr(error))
        else:
            _write_event("added", label=interface.label)


def main(arguments: list[str] | None = None) -> int:
    """Captures until SIGTERM. Returns 0 when the file is complete, 2 for bad input.

    Returns 1 if the disk is full.
    """
    parser = argparse.ArgumentParser(description="Capture many network namespaces.")
    parser.add_argument("--config", required=True, help="the JSON file described above")
    config = _read_config(parser.parse_args(arguments).config)
    interfaces = config.pop("interfaces", [])
    output = os.path.abspath(config.pop("output"))
    try:
        with disk_full_named(output):
            return _capture(output, interfaces, defaults=config)
    except DiskFullError as error:
        _write_event("failed", reason=str(error))
        return 1


def _capture(
    output: str, interfaces: list[dict[str, Any]], defaults: dict[str, Any]
) -> int:
    with tempfile.TemporaryFile(dir=os.path.dirname(output)) as spool:
        capture = Capture(spool)
        control = _ControlInput(capture, defaults=defaults)
        try:
            for keys in interfaces:
                capture.add(Interface(**defaults | keys))
        except (OSError, ValueError, TypeError) as error:
            print(f"capture: {keys}: {error}", file=sys.stderr)
            return 2
        _write_event("ready", interfaces=len(interfaces))
        _run(capture, control)
        capture.drain()
        _write_event("summary", **capture.write(output))
    return 0


def _run(capture: Capture, control: _ControlInput) -> None:
    while not control.ending:
        for key, _ in capture.selector.select():
            if isinstance(key.data, int):
                capture.read(key.data)
            else:
                key.data()


def _register_if_possible(
    selector: selectors.BaseSelector, fd: int, read: object
) -> None:
    """Registers ``fd``, unless it is a regular file or /dev/null."""
    try:
        selector.register(fd, selectors.EVENT_READ, read)
    except (PermissionError, ValueError, OSError):
        pass  # epoll_ctl(2): EPERM; no commands can arrive


def _read_config(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        config: dict[str, Any] = json.load(file)
    return config


def _write_event(event: str, **details: Any) -> None:
    print(json.dumps({"event": event, "t": time.time(), **details}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
