"""Speaks for the nodes' guards: takes the controller's notices and hands them out.

The controller sends one datagram for each reset that the fabric trapped to it
(:mod:`controller.service.trapped_resets`). For each, every live node is handed the copy that flood
would have sent it, by its own cable and not through any switch's tables. So the guard
judges it by the same sequence check, whichever guard it is, and its kernel frees the
connection (US 11,190,580 B2, claims 5 and 6).
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from controller.service.trapped_resets import TrappedReset
from experiments.cluster.faults import Faults
from nodes.guard.scapy_frames import build_frame
from nodes.guard.segment import Flags, Segment
from nodes.kernel.network_namespace import inside_network_of
from topologies.domain.plan import FANOUT_MAC
from topologies.private import bind_private

log = logging.getLogger("resetbed.copy_injector")

_MAC_OCTETS = 6
_NOTICE_OCTETS = 1024
#: As many notices as may wait while copies of one are handed out.
_BACKLOG_OCTETS = 4 << 20
_SO_RCVBUFFORCE = 33  # asm/socket.h


class SwitchPort(NamedTuple):
    """The switch's end of a node's cable: ``pid`` is a process in the switch."""

    pid: int
    interface: str
    node_mac: str


class CopyInjector:
    """Listens at ``path`` from now on; ``switch_ports`` tells which nodes are alive.

    What goes wrong with one notice is noted under ``faults``; the next ones are heard.
    """

    def __init__(
        self,
        path: Path,
        switch_ports: Callable[[], Sequence[SwitchPort]],
        faults: Faults,
    ) -> None:
        self._switch_ports = switch_ports
        self._faults = faults
        self._closing = threading.Event()
        self._port_sockets: dict[SwitchPort, socket.socket] = {}
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BACKLOG_OCTETS)
        bind_private(self._socket, path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no longer."""
        self._closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for sock in self._port_sockets.values():
            sock.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._faults.noted("nodes were not told of a reset"):
                if datagram := self._socket.recv(_NOTICE_OCTETS):
                    self._inject(TrappedReset.from_bytes(datagram))

    def _inject(self, notice: TrappedReset) -> None:
        frame = fan_out_copy(notice)
        for end in self._switch_ports():
            self._send(end, frame)

    def _send(self, end: SwitchPort, frame: bytes) -> None:
        """Put the frame on that cable, as what its node is to receive."""
        own = bytes.fromhex(end.node_mac.replace(":", "")) + frame[_MAC_OCTETS:]
        try:
            self._socket_of(end).send(own)
        except OSError as error:
            # The node has just lost power: it has nothing that could be freed.
            log.warning("%s was not told: %s", end.interface, error)
            with suppress(KeyError):
                self._port_sockets.pop(end).close()

    def _socket_of(self, end: SwitchPort) -> socket.socket:
        if end not in self._port_sockets:
            with inside_network_of(end.pid):
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.bind((end.interface, 0))
            self._port_sockets[end] = sock
        return self._port_sockets[end]


def fan_out_copy(notice: TrappedReset) -> bytes:
    """The fan-out copy of the reset that a notice tells of, for no node yet."""
    copy = Segment(
        src=notice.client,
        dst=notice.vip,
        sport=notice.client_port,
        dport=notice.vip_port,
        seq=notice.seq,
        ack=notice.ack,
        flags=Flags.RST,
    )
    return build_frame(copy, FANOUT_MAC, "00:00:00:00:00:00")
