"""A capture of a running cluster, written as it comes, in the order of time.

Unlike :mod:`experiments.instruments.capture`, which keeps a run's segments until its end,
this one is for eyes: the stream can be read while it grows. It is made from outside of the
sandbox, so it gets its signals itself. It ends with the cluster, when its reader has gone,
after a count or a time, or by a signal.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from experiments.instruments.capture_targets import Site, TargetError
from experiments.instruments.packet_ring import MAX_RETIRE_S, PacketRing, packets_of
from experiments.record.pcapng import PcapngWriter
from nodes.kernel.network_namespace import enter_netns

#: The most bytes of a frame that are kept: whole frames, also those of TSO.
SNAPLEN = 65535
#: Memory for unread frames, for each interface.
RING_BYTES = 4 << 20


class FilterSyntaxError(ValueError):
    """A filter that libpcap does not understand; the text is tcpdump's."""


class Interface(NamedTuple):
    """An interface of a running cluster; ``label`` is its name in the file."""

    pid: int
    name: str
    label: str


@dataclass(frozen=True)
class Ending:
    """When a capture ends by itself: after ``count`` frames, after ``for_s`` seconds, when
    the process of the pidfd ``cluster`` has ended, when nobody reads the descriptor
    ``reader`` any more, or when ``woken`` becomes readable."""

    cluster: int
    reader: int
    woken: int
    count: int | None = None
    for_s: float | None = None


class _Frame(NamedTuple):
    """A captured frame; of two with the same time the first one that was read is first."""

    time_ns: int
    serial: int
    interface: int
    outgoing: bool
    length: int
    data: bytes


def compiled(filter_: str) -> bytes:
    """A filter in the syntax of pcap-filter(7) as an array of ``struct sock_filter``.

    tcpdump(8) compiles it. Raises :class:`FilterSyntaxError`.
    """
    command = ["tcpdump", "-y", "EN10MB", "-s", str(SNAPLEN), "-ddd", "--", filter_]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FilterSyntaxError(done.stderr.strip().removeprefix("tcpdump: "))
    rows = [map(int, line.split()) for line in done.stdout.splitlines()[1:]]
    return b"".join(struct.pack("HBBI", *row) for row in rows)


def interfaces_at(
    wanted: Sequence[Site], pids: dict[str, int], proc: Path
) -> list[Interface]:
    """Every interface of those sites. Raises :class:`TargetError` for one that is not there.

    ``pids``: element -> a thread id in its network, as numbered in the procfs at ``proc``.
    """
    found = []
    for site in wanted:
        with enter_netns(pids[site.element], proc):
            names = [name for _, name in socket.if_nameindex()]
        own = [name for name in names if name.startswith(f"{site.element}-")]
        if site.interface is not None and site.interface not in own:
            raise TargetError(
                f"{site.element} has no interface {site.interface!r}; it has {', '.join(own)}"
            )
        for name in own if site.interface is None else [site.interface]:
            label = site.element if name == f"{site.element}-eth0" else name
            found.append(Interface(pids[site.element], name, label))
    return found


def opened(
    interfaces: Sequence[Interface], proc: Path, program: bytes
) -> list[PacketRing]:
    """Starts the captures of all frames that pass ``program`` (:func:`compiled`).

    Raises :class:`OSError`.
    """
    rings = []
    for one in interfaces:
        with enter_netns(one.pid, proc):
            rings.append(PacketRing(one.name, program, RING_BYTES))
    return rings


def capture(
    interfaces: Sequence[Interface],
    rings: Sequence[PacketRing],
    filter_: str,
    output: IO[bytes],
    ending: Ending,
) -> int:
    """Writes what is captured until ``ending``; returns the number of frames.

    ``filter_``: the filter as text, for the file. Raises :class:`BrokenPipeError` if the
    reader has gone while a frame is written.
    """
    try:
        try:
            writer = _begun(interfaces, filter_, output)
        except BrokenPipeError:
            return 0  # its reader had gone before anything was captured
        return _write_until(ending, rings, writer, output)
    finally:
        for ring in rings:
            ring.close()


def _begun(
    interfaces: Sequence[Interface], filter_: str, output: IO[bytes]
) -> PcapngWriter:
    """The file with its header and interfaces, which are written at once."""
    writer = PcapngWriter(output)
    for one in interfaces:
        writer.add_interface(one.label, "", SNAPLEN, filter_)
    output.flush()
    return writer


def _write_until(
    ending: Ending, rings: Sequence[PacketRing], writer: PcapngWriter, output: IO[bytes]
) -> int:
    """The loop. A frame is written when no older one can come any more."""
    waiting: list[_Frame] = []
    serial = itertools.count()
    left = ending.count
    written = 0
    ends = _poll_for(ending)
    deadline = time.monotonic() + (ending.for_s or float("inf"))
    ended_s: float | None = None
    while left != 0 and (ended_s is None or time.monotonic() < ended_s):
        ended_s = _drained_at(ended_s, ends, deadline)
        for frame in _frames_of(rings, serial):
            heapq.heappush(waiting, frame)
        is_last = ended_s is not None and time.monotonic() >= ended_s
        before_ns = time.time_ns() - (0 if is_last else int(MAX_RETIRE_S * 1e9))
        while left != 0 and waiting and waiting[0].time_ns <= before_ns:
            _write(writer, heapq.heappop(waiting))
            written += 1
            left = left and left - 1
        output.flush()
    return written


def _write(writer: PcapngWriter, frame: _Frame) -> None:
    place = frame.interface, frame.time_ns
    writer.packet(*place, frame.data, frame.length, frame.outgoing)


def _drained_at(
    ended_s: float | None, ends: select.poll, deadline: float
) -> float | None:
    """When everything has been read of what came before the end; None before the end.

    Waits for a short time, because the kernel passes its blocks on by time (RETIRE_MS).
    """
    events = ends.poll(1000 * MAX_RETIRE_S / 4)
    if ended_s is None and (events or time.monotonic() >= deadline):
        return time.monotonic() + MAX_RETIRE_S
    if events:
        time.sleep(MAX_RETIRE_S / 4)
    return ended_s


def _poll_for(ending: Ending) -> select.poll:
    """What ends it from outside. Without events, poll(2) tells of a reader's end."""
    ends = select.poll()
    ends.register(ending.cluster, select.POLLIN)
    ends.register(ending.woken, select.POLLIN)
    ends.register(ending.reader, 0)
    return ends


def _frames_of(rings: Sequence[PacketRing], serial: Iterator[int]) -> Iterator[_Frame]:
    for number, ring in enumerate(rings):
        ring.clear_error()
        for block in ring.read_blocks():
            for p in packets_of(block):
                data = block[p.offset : p.offset + p.captured]
                place = p.time_ns, next(serial), number
                yield _Frame(*place, p.outgoing, p.length, data)


def wake_by_signals(numbers: Sequence[int]) -> int:
    """A descriptor that becomes readable at one of those signals."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return woken
