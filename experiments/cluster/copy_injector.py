"""Injects fan-out copies at the nodes for resets that the controller trapped.

The controller sends one datagram for each reset that the fabric trapped
(:mod:`controller.service.trapped_resets`). Every live node then gets the copy that the
policy ``flood`` would have sent. The copy goes out on the node's own cable, past the
switch's tables. The guard applies the same sequence check to it, and the node's kernel
frees the connection (US 11,190,580 B2, claims 5 and 6).
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
from nodes.guard.bare_frame import bare_frame
from nodes.guard.segment import Flags, Segment
from nodes.kernel.network_namespace import enter_netns
from topologies.domain.plan import FANOUT_MAC
from topologies.private import bind_private

log = logging.getLogger("resetbed.copy_injector")

_MAC_OCTETS = 6
_DATAGRAM_OCTETS = 1024
#: Receive buffer for the datagrams that wait while copies are sent.
_BACKLOG_OCTETS = 4 << 20
_SO_RCVBUFFORCE = 33  # asm/socket.h


class SwitchPort(NamedTuple):
    """The switch port of a node. ``pid``: a process in the switch's namespace."""

    pid: int
    interface: str
    node_mac: str


class CopyInjector:
    """Listens at ``path``. ``switch_ports`` returns the ports of the live nodes.

    An error with one datagram is recorded in ``faults``; the thread continues with the
    next one.
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
        """Stops listening."""
        self._closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for sock in self._port_sockets.values():
            sock.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._faults.recorded("the copies of a reset were not sent"):
                if datagram := self._socket.recv(_DATAGRAM_OCTETS):
                    self._inject(TrappedReset.from_bytes(datagram))

    def _inject(self, reset: TrappedReset) -> None:
        frame = fan_out_copy(reset)
        for port in self._switch_ports():
            self._send(port, frame)

    def _send(self, port: SwitchPort, frame: bytes) -> None:
        """Sends the frame on that port, addressed to the port's node."""
        addressed = bytes.fromhex(port.node_mac.replace(":", "")) + frame[_MAC_OCTETS:]
        try:
            self._socket_of(port).send(addressed)
        except OSError as error:
            # The node has just lost power: there is nothing to free.
            log.warning("no copy was sent on %s: %s", port.interface, error)
            with suppress(KeyError):
                self._port_sockets.pop(port).close()

    def _socket_of(self, port: SwitchPort) -> socket.socket:
        if port not in self._port_sockets:
            with enter_netns(port.pid):
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.bind((port.interface, 0))
            self._port_sockets[port] = sock
        return self._port_sockets[port]


def fan_out_copy(reset: TrappedReset) -> bytes:
    """The fan-out copy of a trapped reset, not yet addressed to a node."""
    copy = Segment(
        src=reset.client,
        dst=reset.vip,
        sport=reset.client_port,
        dport=reset.vip_port,
        seq=reset.seq,
        ack=reset.ack,
        flags=Flags.RST,
    )
    return bare_frame(copy, FANOUT_MAC, "00:00:00:00:00:00")
