"""Plays packet tests on a node with a real kernel and a real guard.

Lives in a process of its own (:mod:`tests.nodes.lab_process`), whose namespaces are its
to fill; the tests call its methods and judge what they return.
"""

from __future__ import annotations

import errno
import itertools
import socket
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from nodes.guard.budget import UNLIMITED, Budget
from nodes.guard.guard import Guard, GuardCounters, GuardSettings
from nodes.guard.guards import open_guard
from nodes.guard.segment import Segment
from nodes.guard.verdict import Mode
from tests.nodes.namespace import MARKERS, VIPS, Node, run, wait_for
from tests.nodes.packet_states import ACK, RST
from tests.nodes.packet_table import ROWS, SUPERPACKETS, Effect, Row
from tests.nodes.peer import Peer
from tests.nodes.wire import Caught, Deadline, Offload, Wire

_ROWS = {row.name: row for row in (*ROWS, *SUPERPACKETS)}
_MARKER_PORT = 9
#: Covered by a file system of the lab's own.
_WORKDIR = Path("/mnt")


@dataclass
class Observation:
    """What came of a packet: the node's resets for it, its kernel's view, the counters.

    ``error``: name of the error that the server's socket reports; ``received``: how
    many octets it could read.
    """

    packet: Segment
    rcv_nxt: int
    resets: list[Caught] = field(default_factory=list)
    #: Segments of the packet's own direction that left the node.
    passed_on: list[Caught] = field(default_factory=list)
    state_before: str | None = None
    state_after: str | None = None
    error: str | None = None
    received: int = 0
    counts: dict[str, int] = field(default_factory=dict)


class Lab:
    """A node, a wire to it, and the guard of the last call."""

    def __init__(self) -> None:
        run("mount -t bpf bpf /sys/fs/bpf")
        run(f"mount -t tmpfs tmpfs {_WORKDIR}")
        self.node = Node(3)
        self.node.open_to_real_clients()
        self.wire = Wire(self.node.client_end, self.node.mac)
        self.guard: Guard | None = None
        self._settings: GuardSettings | None = None
        self._ports = itertools.count(20000)

    def play(
        self, guard: str, ip: int, row_name: str, offload: Offload = Offload.NONE
    ) -> Observation:
        """Bring a new connection to the row's state, send its packet, and observe."""
        row = _ROWS[row_name]
        self.use(guard, row.mode, healing=row.healing)
        peer = self.peer(ip)
        try:
            return self._play(peer, row, ip, offload)
        finally:
            peer.close()

    def peer(self, ip: int) -> Peer:
        """A client that has not connected yet, and a server for it."""
        return Peer(self.node, self.wire, ip, next(self._ports))

    def close_guard(self) -> None:
        """Close the guard, as after a run."""
        if self.guard:
            self.guard.close()
        self.guard = None

    def use(
        self,
        name: str,
        mode: Mode,
        healing: bool = False,
        budget: Budget = UNLIMITED,
    ) -> Guard:
        """The guard of that name, attached to the node with these settings."""
        settings = GuardSettings(mode, healing, budget)
        if self.guard is None or self.guard.name != name:
            self.close_guard()
            self.guard = open_guard(name, _WORKDIR)
            self.guard.attach([self.node.site], settings)
        elif settings != self._settings:
            self.guard.attach([], settings)
        self._settings = settings
        return self.guard

    @property
    def _mode(self) -> Mode | None:
        return self._settings.mode if self._settings else None

    def _play(self, peer: Peer, row: Row, ip: int, offload: Offload) -> Observation:
        connection = peer.bring_to(row.state)
        self.mark(ip)
        before = self.counters()
        packet = row.packet(connection)
        seen = Observation(packet, connection.rcv_nxt)
        seen.state_before = self.node.state_of(peer.tuple)
        self.wire.send(packet, offload)
        caught = self.mark(ip)
        seen.counts = _difference(before, self.counters(), self._mode)
        self._await_effect(peer, row, seen)
        mine = [one for one in caught if one.segment.egress_connection == peer.tuple]
        seen.resets = [one for one in mine if one.segment.flags & RST]
        seen.passed_on = [
            one for one in caught if one.segment.ingress_connection == peer.tuple
        ]
        return seen

    def _await_effect(self, peer: Peer, row: Row, seen: Observation) -> None:
        try:
            if row.effect is Effect.FREED:
                wait_for(lambda: self.node.state_of(peer.tuple) is None, "its end")
            if row.effect is Effect.DELIVERED:
                self._read(peer, seen)
        except (Deadline, TimeoutError):
            pass  # the observation tells, and the test says what was wanted
        seen.state_after = self.node.state_of(peer.tuple)
        if peer.server and peer.server.fileno() >= 0:
            code = peer.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            seen.error = errno.errorcode[code] if code else None

    def _read(self, peer: Peer, seen: Observation) -> None:
        if peer.server is None:
            peer.server, _ = peer.listener.accept()
        while seen.received < seen.packet.length:
            data = peer.server.recv(1 << 16)
            assert data, "the connection has ended"
            seen.received += len(data)

    def mark(self, ip: int) -> list[Caught]:
        """Wait until the guard has handled all that was sent. Returns what the node has sent.

        A segment of another client marks the instant, for guards take segments in
        order: a stray, or where those get no answer, a copy, which at least counts.
        """
        port = next(self._ports)
        marker = Segment(MARKERS[ip], VIPS[ip], port, _MARKER_PORT, 1, 2, ACK)
        marker = replace(marker, passed_on=self._mode is Mode.PASS_ON)
        if self._mode is Mode.SILENT:
            copies = self.counters().copies_received
            self.wire.send(replace(marker, flags=RST, marked=True))
            wait_for(lambda: self._copies_since(copies) > 0, "the marker to be counted")
            return self.wire.catch_at_once()
        self.wire.send(marker)
        return self.wire.catch_until(
            lambda caught: any(
                c.segment.egress_connection == marker.ingress_connection for c in caught
            )
        )

    def _copies_since(self, before: int) -> int:
        return self.counters().copies_received - before

    def counters(self) -> GuardCounters:
        """The node's counters."""
        assert self.guard
        return self.guard.counters()[self.node.site.name]


def _difference(
    before: GuardCounters, after: GuardCounters, mode: Mode | None
) -> dict[str, int]:
    """What was counted in between, without the marker's part."""
    marks = {"strays": 1, "resets": 1}
    if mode is Mode.SILENT:
        marks = {"copies_received": 1}
    old = asdict(before)
    grown = {k: v - old[k] - marks.get(k, 0) for k, v in asdict(after).items()}
    return {name: count for name, count in grown.items() if count}
