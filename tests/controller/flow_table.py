"""The switches' flow tables in memory: where does this frame go, and what becomes of it?

Only what the pipeline emits is understood; anything else is refused, so that a walk
cannot pass by ignoring something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from controller.flows.entries import (
    IN_PORT,
    REGISTERS,
    Action,
    Field,
    FlowEntry,
    GotoTable,
    Learn,
    Masked,
    MaskedMac,
    Meter,
    Move,
    Multipath,
    Output,
    Resubmit,
    SetBit,
    SetField,
    ToController,
    Value,
)
from tests.controller.frames import Frame, number
from topologies.domain.connection import FourTuple
from topologies.domain.hashing import IPPROTO_TCP, symmetric_l4
from topologies.domain.plan import (
    FABRIC,
    LOOP_IN_PORT,
    LOOP_OUT_PORT,
    UPLINK_PORT,
    Plan,
)

#: A switch's own fields of a frame: they exist only while it processes the frame.
_INSIDE = (Field.METADATA, *REGISTERS)
_PORTS = (Field.TCP_SRC, Field.TCP_DST)


#: The port of trapped frames (OFPP_CONTROLLER).
_CONTROLLER = 0xFFFFFFFD


class Sent(NamedTuple):
    """A frame on its way out of a port."""

    port: int
    frame: Frame


class Arrival(NamedTuple):
    """A frame that has arrived at a host or at a switch."""

    place: str
    frame: Frame


class FlowTable:
    """One switch's tables. ``hit`` has every entry that has matched a frame."""

    def __init__(self, entries: Sequence[FlowEntry]) -> None:
        """Tables that hold ``entries``."""
        self._entries: dict[int, list[FlowEntry]] = {}
        for entry in entries:
            self._entries.setdefault(int(entry.table), []).append(entry)
        self.hit: set[FlowEntry] = set()
        #: How many frames each meter has counted. None is dropped in a walk.
        self.metered: Counter[Meter] = Counter()
        #: Entries installed by ``learn``, by match.
        self.learned: dict[object, FlowEntry] = {}

    def process(self, frame: Frame, port: int) -> list[Sent]:
        """The frames sent when ``frame`` arrives at ``port``, in order."""
        packet = {**frame, Field.IN_PORT: port, **dict.fromkeys(_INSIDE, 0)}
        sent: list[Sent] = []
        self._walk(packet, 0, port, sent)
        return sent

    def _walk(
        self, packet: dict[Field, int], start: int, port: int, sent: list[Sent]
    ) -> None:
        """From that table on, until an entry does not continue in another."""
        table: int | None = start
        while table is not None:
            entry = self._matching(packet, table)
            if entry is None:
                break
            self.hit.add(entry)
            table = self._act(entry, packet, port, sent)

    def _matching(self, packet: Frame, table: int) -> FlowEntry | None:
        """The matching entry of the highest priority; two of one priority are an error."""
        learned = (e for e in self.learned.values() if e.table == table)
        entries = (*self._entries.get(int(table), []), *learned)
        found = [entry for entry in entries if _fits(entry, packet)]
        if not found:
            return None
        best = max(entry.priority for entry in found)
        first, *others = [entry for entry in found if entry.priority == best]
        assert not others, f"ambiguous: {first} and {others[0]}"
        return first

    def _act(
        self, entry: FlowEntry, packet: dict[Field, int], port: int, sent: list[Sent]
    ) -> int | None:
        """Execute the entry's actions; returns the table to continue in."""
        for position, action in enumerate(entry.actions):
            if isinstance(action, GotoTable):
                assert action.table > entry.table, f"{entry}: goes back"
                assert position == len(entry.actions) - 1, f"{entry}: goes on too early"
                return action.table
            if isinstance(action, Output):
                sent.extend(_output(action, packet, port))
            elif isinstance(action, Meter):
                assert position == 0, f"{entry}: a meter is executed first"
                self.metered[action] += 1
            elif isinstance(action, Learn):
                learned = _learned(action, packet)
                self.learned[learned.match] = learned
            elif isinstance(action, ToController):
                sent.append(Sent(_CONTROLLER, _outside(packet)))
            elif isinstance(action, Resubmit):
                self._walk(packet, action.table, port, sent)
            else:
                _write(action, packet)
        return None


def _fits(entry: FlowEntry, packet: Frame) -> bool:
    return all(
        field in packet and _equal(packet[field], wanted)
        for field, wanted in entry.match
    )


def _equal(actual: int, wanted: Value) -> bool:
    if isinstance(wanted, Masked):
        return actual & wanted.mask == wanted.value
    if isinstance(wanted, MaskedMac):
        return actual & number(wanted.mask) == number(wanted.value)
    return actual == (number(wanted) if isinstance(wanted, str) else wanted)


def _learned(action: Learn, packet: Frame) -> FlowEntry:
    match: dict[Field, Value] = {
        Field.ETH_TYPE: action.eth_type,
        Field.IP_PROTO: 6,
        **{f: packet[f] for f in (action.address, Field.TCP_SRC, Field.TCP_DST)},
    }
    write = SetField(action.register, packet[action.register])
    return FlowEntry.of(action.table, 0x8000, match, (write,), "learned")


def _output(action: Output, packet: Frame, port: int) -> Iterator[Sent]:
    """OVS never sends a frame back by "output" while its ingress port is set."""
    if action.port == IN_PORT:
        yield Sent(port, _outside(packet))
    elif action.port != packet[Field.IN_PORT]:
        yield Sent(action.port, _outside(packet))


def _outside(packet: Frame) -> Frame:
    """The frame without the switch's own fields."""
    return {f: v for f, v in packet.items() if f not in (Field.IN_PORT, *_INSIDE)}


def _write(action: Action, packet: dict[Field, int]) -> None:
    if isinstance(action, SetField):
        value = action.value
        packet[action.field] = number(value) if isinstance(value, str) else value
    elif isinstance(action, Move):
        mask = (1 << action.bits) - 1
        moved = packet[action.source] >> action.source_bit & mask
        kept = packet.get(action.destination, 0) & ~(mask << action.destination_bit)
        packet[action.destination] = kept | moved << action.destination_bit
    elif isinstance(action, Multipath):
        packet[action.register] = _hash(packet, action.basis) % action.buckets
    elif isinstance(action, SetBit):
        packet[action.register] |= 1 << action.bit
    else:
        raise TypeError(f"not an action of the pipeline: {action!r}")


def _hash(packet: Frame, basis: int) -> int:
    source, destination = _addresses(packet)
    protocol = packet[Field.IP_PROTO]
    ports = [packet[port] if protocol == IPPROTO_TCP else 0 for port in _PORTS]
    connection = FourTuple(source, ports[0], destination, ports[1])
    eth_src, eth_dst = f"{packet[Field.ETH_SRC]:012x}", f"{packet[Field.ETH_DST]:012x}"
    return symmetric_l4(connection, eth_src, eth_dst, basis, protocol)


def _addresses(packet: Frame) -> tuple[str, str]:
    if packet[Field.ETH_TYPE] == 0x0800:
        source, destination = packet[Field.IP_SRC], packet[Field.IP_DST]
        return str(IPv4Address(source)), str(IPv4Address(destination))
    source, destination = packet[Field.IPV6_SRC], packet[Field.IPV6_DST]
    return str(IPv6Address(source)), str(IPv6Address(destination))


class Network:
    """Every switch of a plan, connected as planned."""

    def __init__(self, plan: Plan, tables: Mapping[str, Sequence[FlowEntry]]) -> None:
        """``tables``: what :func:`controller.pipeline.pipeline.pipeline` returns."""
        self.switches = {name: FlowTable(entries) for name, entries in tables.items()}
        self._links = _links(plan)
        self._ports = {
            host: port for port, host in self._links.items() if isinstance(host, str)
        }

    def recall(self, earlier: Network) -> Network:
        """This network, with the entries that the switches of ``earlier`` have learned."""
        for name, switch in self.switches.items():
            if name in earlier.switches:
                switch.learned = dict(earlier.switches[name].learned)
        return self

    def send(self, host: str, frame: Frame) -> list[Arrival]:
        """Everything that arrives anywhere when a host sends ``frame``, in order.

        A frame that crosses to another switch arrives there first (its place is the
        switch's name), then what that switch sends.
        """
        arrivals: list[Arrival] = []
        ways = [(self._ports[host], frame)]
        while ways:
            (switch, port), arrived = ways.pop(0)
            for sent in self.switches[switch].process(arrived, port):
                place = self._links[switch, sent.port]
                if isinstance(place, str):
                    arrivals.append(Arrival(place, sent.frame))
                else:
                    arrivals.append(Arrival(place[0], sent.frame))
                    ways.append((place, sent.frame))
            assert len(arrivals) < 1000, "the frame goes round and round"
        return arrivals

    def delivered(self, host: str, frame: Frame) -> list[Arrival]:
        """The arrivals at hosts."""
        arrivals = self.send(host, frame)
        return [a for a in arrivals if a.place not in self.switches]


def _links(plan: Plan) -> dict[tuple[str, int], str | tuple[str, int]]:
    """What is at the other end of each port: a host, or another switch's port."""
    links: dict[tuple[str, int], str | tuple[str, int]] = {
        (FABRIC, client.fabric_port): client.name for client in plan.clients
    }
    links[FABRIC, _CONTROLLER] = "controller"
    links[FABRIC, LOOP_OUT_PORT] = (FABRIC, LOOP_IN_PORT)
    for chassis in plan.chassis:
        links[FABRIC, chassis.fabric_port] = (chassis.name, UPLINK_PORT)
        links[chassis.name, UPLINK_PORT] = (FABRIC, chassis.fabric_port)
        links |= {(chassis.name, node.port): node.name for node in chassis.nodes}
    return links
