"""A tiny model of the claim's packet path: what taps and kernels would report.

It knows nothing of the code under test: it writes down observations and socket events
as the description of the path says, and lets a test leave out, add or delay any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from experiments.analysis.observations import ACK, PSH, RST, SYN, Observation
from experiments.record.socket_events import RESET_RECEIVED, STATE, SocketEvent
from topologies.domain.connection import FourTuple
from topologies.domain.plan import FANOUT_MAC, GATEWAY_MAC, VIP_MAC, Client, Plan

US = 1_000
MS = 1_000_000
START = 1_795_378_416 * 10**9
CLIENT = Client(1)
#: Numbers of a stray: near the top, so that diagrams must fit ten digits. Segments in
#: flight at once differ in SEQ alone: their client has received nothing in between.
SEQ, ACKNOWLEDGED = 4_000_000_000, 4_100_000_000


@dataclass
class PacketPath:
    """Records what happens in a cluster of ``plan``; times are ns from START."""

    plan: Plan
    segments: list[Observation] = field(default_factory=list)
    events: list[SocketEvent] = field(default_factory=list)
    _sockets: dict[tuple[FourTuple, str], int] = field(default_factory=dict)
    _next_socket: int = 0xFFFF_8880_0000_0000

    def open(self, connection: FourTuple, node: str, at: int) -> None:
        """The three segments of a handshake, and both sockets."""
        syn = connection.sport * 1000 + at % 997
        self.state(connection, "client", "CLOSE", "SYN_SENT", at)
        self.see("fabric-h1", False, connection, SYN, syn, 0, at + 10 * US)
        self.see(node, False, connection, SYN, syn, 0, at + 60 * US)
        back = (SYN | ACK, syn + 7, syn + 1)
        self.see_back(node, True, connection, *back, at + 70 * US)
        self.see_back("fabric-h1", True, connection, *back, at + 120 * US)
        self.state(connection, "client", "SYN_SENT", "ESTABLISHED", at + 130 * US)
        self.state(connection, node, "LISTEN", "SYN_RECV", at + 200 * US)
        self.state(connection, node, "SYN_RECV", "ESTABLISHED", at + 201 * US)

    def data(self, connection: FourTuple, node: str, at: int, seq: int = SEQ) -> None:
        """A request of 64 bytes that comes to ``node``."""
        self.see(node, False, connection, PSH | ACK, seq, ACKNOWLEDGED, at, payload=64)

    def reset(
        self,
        connection: FourTuple,
        node: str,
        at: int,
        reachable: dict[str, frozenset[str]],
        seq: int = SEQ,
    ) -> None:
        """A stray segment at ``node`` and all segments that follow from it by the claim.

        ``reachable``: chassis -> nodes that get copies; empty: client-only.
        """
        self.data(connection, node, at, seq)
        chassis = node.split("n")[0]
        back = (RST, ACKNOWLEDGED, seq)
        self.see_back(node, True, connection, *back, at + 20 * US)
        self.see_back(f"fabric-{chassis}", False, connection, *back, at + 60 * US)
        self.see_back("fabric-h1", True, connection, *back, at + 80 * US)
        for number, (name, nodes) in enumerate(sorted(reachable.items())):
            then = at + (90 + 7 * number) * US
            self.copy(f"fabric-{name}", True, connection, *back, then)
            self.copy(f"{name}-up", False, connection, *back, then + 3 * US)
            for place, member in enumerate(sorted(nodes)):
                arrival = then + (40 + 5 * place) * US
                self.copy(member, False, connection, *back, arrival)
        self.freed(connection, "client", at + 110 * US)

    def freed(self, connection: FourTuple, host: str, at: int) -> None:
        """The kernel of ``host`` accepts a RST for the connection's socket."""
        self._event(connection, host, RESET_RECEIVED, "", "", at)
        self.state(connection, host, "ESTABLISHED", "CLOSE", at + US)

    def state(
        self, connection: FourTuple, host: str, old: str, new: str, at: int
    ) -> None:
        """A change of a socket's state; a new socket gets an address of its own."""
        if old in ("CLOSE", "LISTEN"):
            self._next_socket += 64
            self._sockets[connection, host] = self._next_socket
        self._event(connection, host, STATE, old, new, at)

    def reuse_address(self, of: tuple[FourTuple, str]) -> None:
        """The next new socket gets the address of that one."""
        self._next_socket = self._sockets[of] - 64

    def _event(
        self, of: FourTuple, host: str, kind: str, old: str, new: str, at: int
    ) -> None:
        client, vip = (of.src, of.sport), (of.dst, of.dport)
        local, remote = (client, vip) if host == "client" else (vip, client)
        number = self._sockets[of, host]
        self.events.append(
            SocketEvent(
                START + at, kind, number, local, remote, old, new, self._host(host)
            )
        )

    @staticmethod
    def _host(host: str) -> str:
        """Whose namespace it is: ``client`` is the model's only one."""
        return CLIENT.name if host == "client" else host

    def see(
        self,
        label: str,
        outgoing: bool,
        of: FourTuple,
        flags: int,
        seq: int,
        ack: int,
        at: int,
        eth_src: str = CLIENT.mac,
        payload: int = 0,
    ) -> None:
        """A segment from the client (or as if from it)."""
        macs = (eth_src, VIP_MAC)
        head = (0, START + at, label, outgoing, *macs, *of, seq, ack, flags, payload)
        self.segments.append(Observation(*head))

    def see_back(
        self,
        label: str,
        outgoing: bool,
        of: FourTuple,
        flags: int,
        seq: int,
        ack: int,
        at: int,
    ) -> None:
        """A segment from a node to the client."""
        macs = (self.plan.chassis[0].nodes[0].mac, GATEWAY_MAC)
        ends = (of.dst, of.dport, of.src, of.sport)
        self.segments.append(
            Observation(
                0, START + at, label, outgoing, *macs, *ends, seq, ack, flags, 0
            )
        )

    def copy(
        self,
        label: str,
        outgoing: bool,
        of: FourTuple,
        flags: int,
        seq: int,
        ack: int,
        at: int,
    ) -> None:
        """A switch's copy of a reset."""
        self.see(label, outgoing, of, flags, seq, ack, at, FANOUT_MAC)

    def observations(
        self, wanted: Callable[[Observation], bool] = lambda _: True
    ) -> list[Observation]:
        """What a capture file would hold of the ``wanted``: sorted, frames numbered."""
        ordered = sorted(filter(wanted, self.segments), key=lambda one: one.time_ns)
        return [one._replace(frame=n) for n, one in enumerate(ordered, start=1)]

    def socket_events(self) -> Iterable[SocketEvent]:
        """What the probes would report, oldest first."""
        return sorted(self.events)
